//! Tests beside the suite.

use std::time::Duration;

use libtest_mimic::{Failed, Trial};

/// How a test ends.
pub(crate) type Outcome = Result<(), Failed>;

/// How long a test may take before it counts as hanging.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Makes a test of an async function.
pub(crate) fn trial<F, Fut>(theme: &str, name: &str, test: F) -> Trial
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Outcome>,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(async {
            let ended = tokio::time::timeout(TIMEOUT, test()).await;
            ended.unwrap_or_else(|_| Err(format!("no end after {TIMEOUT:?}").into()))
        });
        // A test that hangs is told, not joined.
        runtime.shutdown_background();
        outcome
    };
    Trial::test(format!("{theme}::{name}"), run).with_kind("gcs")
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
