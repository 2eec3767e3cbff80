//! Tests that need what not every machine has.

use std::env;

use libtest_mimic::{Completion, Failed};

/// What a test needs of the machine: it is there, or it is not and here is why.
///
/// Where it is missing the test is ignored with the reason; with `LARDER_REQUIRE_ALL=1` in the environment it fails, so
/// that a run that was meant to be complete never passes in silence.
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
    /// It is there.
    Present,
    /// It is not.
    Missing,
}

impl Required {
    /// A program on `PATH`.
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

/// Ends a test that cannot run here: ignored with the reason, or failed where `LARDER_REQUIRE_ALL=1` is set.
///
/// # Errors
///
/// All tests are required.
pub fn ignore(reason: impl Into<String>) -> Result<Completion, Failed> {
    let reason = reason.into();
    if env::var_os("LARDER_REQUIRE_ALL").is_some_and(|value| value == "1") {
        return Err(format!("{reason}, and LARDER_REQUIRE_ALL=1 asks for all tests").into());
    }
    Ok(Completion::ignored_with(reason))
}

/// Ends a test that needs a server which the environment does not name: ignored with how to start it, or failed where
/// `LARDER_TEST_SERVERS_REQUIRED=1` is set, as it is where one was started.
///
/// # Errors
///
/// The server is required.
pub fn ignore_without_server(backend: &str) -> Result<Completion, Failed> {
    let reason = format!("needs a server: `cargo xtask integration --backend {backend}` starts one");
    if env::var_os("LARDER_TEST_SERVERS_REQUIRED").is_some_and(|value| value == "1") {
        return Err(format!("{reason}, and LARDER_TEST_SERVERS_REQUIRED=1 says that there is one").into());
    }
    Ok(Completion::ignored_with(reason))
}
