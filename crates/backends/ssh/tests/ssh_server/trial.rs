//! The tests outside the suite. They need the server.

use std::time::Duration;

use larder_testkit::ignore_without_server;
use libtest_mimic::{Completion, Failed, Trial};

use crate::server::Server;

/// The result of a test.
pub(crate) type Outcome = Result<Completion, Failed>;

/// The end of a test that ran.
pub(crate) const DONE: Outcome = Ok(Completion::Completed);

/// The time after which a test counts as hanging.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Turns an async function into a test.
pub(crate) fn trial<F, Fut>(theme: &str, name: &str, test: F) -> Trial
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Outcome>,
{
    let run = move || {
        if Server::from_env().is_none() {
            return ignore_without_server("ssh");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(async {
            let ended = tokio::time::timeout(TIMEOUT, test()).await;
            ended.unwrap_or_else(|_| Err(format!("no end after {TIMEOUT:?}").into()))
        });
        // A hanging test is reported, not joined.
        runtime.shutdown_background();
        outcome
    };
    Trial::ignorable_test(format!("{theme}::{name}"), run).with_kind("ssh")
}

/// Turns functions into tests of the same name.
macro_rules! trials {
    ($($module:ident :: { $($test:ident),* $(,)? }),* $(,)?) => {
        vec![$($($crate::trial::trial(
            stringify!($module),
            stringify!($test),
            || $crate::$module::$test(),
        )),*),*]
    };
}
pub(crate) use trials;
