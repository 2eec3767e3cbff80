//! Tests with requirements that not every machine meets.

use std::env;

use libtest_mimic::{Completion, Failed};

/// A requirement of a test, present or missing on this machine.
///
/// If it is missing, the test is ignored with the reason. With `LARDER_REQUIRE_ALL=1` in the environment the test fails,
/// so that an incomplete run never passes silently.
///
/// ```
/// use larder_testkit::{Required, ignore};
///
/// fn a_test() -> Result<libtest_mimic::Completion, libtest_mimic::Failed> {
///     let Required::Present = Required::program("strace") else {
///         return ignore("strace is not installed");
///     };
///     // …
///     Ok(libtest_mimic::Completion::Completed)
/// }
/// # a_test().ok();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// The machine has it.
    Present,
    /// The machine does not have it.
    Missing,
}

impl Required {
    /// Looks for a program on `PATH`.
    pub fn program(name: &str) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::from(env::split_paths(&path).any(|directory| directory.join(name).is_file()))
    }
}

impl From<bool> for Required {
    fn from(present: bool) -> Self {
        if present { Self::Present } else { Self::Missing }
    }
}

/// Ends a test that cannot run on this machine: ignored with the reason, or failed if `LARDER_REQUIRE_ALL=1` is set.
///
/// # Errors
///
/// Fails if all tests are required.
pub fn ignore(reason: impl Into<String>) -> Result<Completion, Failed> {
    let reason = reason.into();
    if env::var_os("LARDER_REQUIRE_ALL").is_some_and(|value| value == "1") {
        return Err(format!("{reason}, and LARDER_REQUIRE_ALL=1 requires all tests").into());
    }
    Ok(Completion::ignored_with(reason))
}

/// Ends a test that needs a server if the environment names none. The test is ignored with the command that starts one.
/// If `LARDER_TEST_SERVERS_REQUIRED=1` is set, as it is by that command, the test fails.
///
/// # Errors
///
/// Fails if the server is required.
pub fn ignore_without_server(backend: &str) -> Result<Completion, Failed> {
    let reason = format!("needs a server: `cargo xtask integration --backend {backend}` starts one");
    if env::var_os("LARDER_TEST_SERVERS_REQUIRED").is_some_and(|value| value == "1") {
        return Err(format!("{reason}, and LARDER_TEST_SERVERS_REQUIRED=1 requires one").into());
    }
    Ok(Completion::ignored_with(reason))
}
