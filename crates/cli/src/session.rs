//! An open remote, and waiting for it until it is done or a signal says to stop.

use std::future::Future;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_storage::{CancellationToken, RemoteStorage};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::runtime;
use crate::signals::Signals;

/// How long a stopped command may clean up behind itself. What it has not removed by then, the next command does.
const CLEAN_UP: Duration = Duration::from_millis(1_500);

/// A storage, and how to stop it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) storage: RemoteStorage,
    /// The remote as people know it: its name, else its URL.
    pub(crate) label: String,
    /// Whether the remote is the store in the project, which nobody else sees.
    pub(crate) is_embedded: bool,
    /// Whether the remote is a directory of this machine.
    pub(crate) is_local: bool,
    pub(crate) cancel: CancellationToken,
}

impl Session {
    /// Where an object is, for people: `--verbose` shows its URL, and otherwise the remote is enough.
    pub(crate) fn place<'a>(&'a self, url: &'a str, output: &Output) -> &'a str {
        if output.console().is_verbose() { url } else { &self.label }
    }

    /// Runs `work` to its end, and closes the storage.
    ///
    /// At the first SIGINT or SIGTERM the storage is told to stop, and the work ends as soon as it has cleaned up. A
    /// second one ends the process at once.
    pub(crate) fn run<T>(&self, output: &mut Output, work: impl Future<Output = T>) -> Result<T> {
        self.run_saying(output, async |_| work.await)
    }

    /// Runs work that says something before it is done.
    pub(crate) fn run_saying<T>(
        &self,
        output: &mut Output,
        work: impl AsyncFnOnce(&mut Output) -> T,
    ) -> Result<T> {
        let runtime = runtime::start().map_err(Failure::Runtime)?;
        let progress = Arc::clone(output.console().progress());
        let ended = runtime.block_on(self.until_stopped(progress, work(output)));
        // A blocking call that never returns must not keep the process.
        runtime.shutdown_background();
        let Ended { value, closed, stopped } = ended?;
        match stopped {
            Some(exit) => output.stop(exit),
            None => {
                // After a stop, that it was stopped says enough.
                if let Err(error) = closed {
                    output.fail(error);
                }
            }
        }
        Ok(value)
    }

    async fn until_stopped<T>(
        &self,
        progress: Arc<Progress>,
        work: impl Future<Output = T>,
    ) -> Result<Ended<T>> {
        let stopped = Arc::new(OnceLock::new());
        let watch = watch(Signals::listen()?, progress, self.cancel.clone(), Arc::clone(&stopped));
        // A task of its own: it must be heard where the work blocks its thread.
        let watch = tokio::spawn(watch);
        let value = work.await;
        let closed = self.storage.close().await;
        watch.abort();
        Ok(Ended { value, closed, stopped: stopped.get().copied() })
    }
}

struct Ended<T> {
    value: T,
    closed: larder_storage::Result<()>,
    stopped: Option<Exit>,
}

/// Waits for a signal, asks the work to stop, and ends the process where that takes too long.
async fn watch(
    mut signals: Signals,
    progress: Arc<Progress>,
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

#[expect(clippy::exit, reason = "the command line is what may end the process")]
fn end_at_once(exit: Exit) -> ! {
    process::exit(exit.code().into())
}
