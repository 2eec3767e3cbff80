//! Tests that need the server, beside the suite.

use std::time::Duration;

use larder_testkit::ignore_without_server;
use libtest_mimic::{Completion, Failed, Trial};

use crate::server::{NO_PROXY, Server};

/// How a test ends.
pub(crate) type Outcome = Result<(), Failed>;

/// How long a test may take before it counts as hanging.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Makes a test of an async function.
pub(crate) fn trial<F, Fut>(theme: &str, name: &str, test: F) -> Trial
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Outcome>,
{
    let run = move || {
        if Server::from_env().is_none() {
            return ignore_without_server("s3");
        }
        if Server::address().is_err() {
            return Ok(Completion::ignored_with(NO_PROXY));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(async {
            let ended = tokio::time::timeout(TIMEOUT, test()).await;
            ended.unwrap_or_else(|_| Err(format!("no end after {TIMEOUT:?}").into()))
        });
        // A test that hangs is told, not joined.
        runtime.shutdown_background();
        outcome.map(|()| Completion::Completed)
    };
    Trial::ignorable_test(format!("{theme}::{name}"), run).with_kind("s3")
}

/// Makes tests of functions, under their names.
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
