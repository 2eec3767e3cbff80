//! An open remote. Runs work on it until a signal stops the work.

use std::future::Future;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_storage::{CancellationToken, RemoteStorage};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::progress::ProgressDisplay;
use crate::runtime;
use crate::signals::Signals;

/// The time that a stopped command has to clean up. The next command removes the rest.
const CLEAN_UP: Duration = Duration::from_millis(1_500);

/// A storage and its cancellation.
#[derive(Debug)]
pub(crate) struct RemoteSession {
    pub(crate) storage: RemoteStorage,
    /// The name of the remote for people, or else its URL.
    pub(crate) label: String,
    /// Whether the remote is the local store in the project.
    pub(crate) is_embedded: bool,
    /// Whether the remote is a directory on this machine.
    pub(crate) is_local: bool,
    pub(crate) cancel: CancellationToken,
}

impl RemoteSession {
    /// Returns the place of an object for people. It is the URL with `--verbose`, and otherwise the remote.
    pub(crate) fn place<'a>(&'a self, url: &'a str, output: &CommandOutput) -> &'a str {
        if output.console().is_verbose() { url } else { &self.label }
    }

    /// Runs `work` to its end, and closes the storage.
    ///
    /// The first SIGINT or SIGTERM stops the storage. The work then ends after its cleanup. A second signal
    /// ends the process immediately.
    pub(crate) fn run<T>(&self, output: &mut CommandOutput, work: impl Future<Output = T>) -> Result<T> {
        self.run_saying(output, async |_| work.await)
    }

    /// Runs work that prints before it ends.
    pub(crate) fn run_saying<T>(
        &self,
        output: &mut CommandOutput,
        work: impl AsyncFnOnce(&mut CommandOutput) -> T,
    ) -> Result<T> {
        let runtime = runtime::start().map_err(Failure::Runtime)?;
        let progress = Arc::clone(output.console().progress());
        let ended = runtime.block_on(self.until_stopped(progress, work(output)));
        // A blocking call that never returns must not keep the process alive.
        runtime.shutdown_background();
        let FinishedWork { value, closed, stopped } = ended?;
        match stopped {
            Some(exit) => output.stop(exit),
            None => {
                // A stopped command reports only the cancellation.
                if let Err(error) = closed {
                    output.fail(error);
                }
            }
        }
        Ok(value)
    }

    async fn until_stopped<T>(
        &self,
        progress: Arc<ProgressDisplay>,
        work: impl Future<Output = T>,
    ) -> Result<FinishedWork<T>> {
        let stopped = Arc::new(OnceLock::new());
        let watch = watch(Signals::listen()?, progress, self.cancel.clone(), Arc::clone(&stopped));
        // A separate task receives signals even if the work blocks its thread.
        let watch = tokio::spawn(watch);
        let value = work.await;
        let closed = self.storage.close().await;
        watch.abort();
        Ok(FinishedWork { value, closed, stopped: stopped.get().copied() })
    }
}

struct FinishedWork<T> {
    value: T,
    closed: larder_storage::Result<()>,
    stopped: Option<Exit>,
}

/// Waits for a signal, asks the work to stop, and ends the process if that takes too long.
async fn watch(
    mut signals: Signals,
    progress: Arc<ProgressDisplay>,
    cancel: CancellationToken,
    stopped: Arc<OnceLock<Exit>>,
) {
    let exit = signals.next().await;
    progress.clear();
    stopped.get_or_init(|| exit);
    cancel.cancel();
    tokio::select! {
        _ = signals.next() => {}
        () = tokio::time::sleep(CLEAN_UP) => {}
    }
    end_at_once(exit)
}

#[expect(clippy::exit, reason = "only the command line may end the process")]
fn end_at_once(exit: Exit) -> ! {
    process::exit(exit.code().into())
}
