//! An open remote. Runs work on it until a signal stops the work.

use std::future::Future;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_storage::{CancellationToken, RemoteStorage};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::foreground::ForegroundCommand;
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
        self.close_after(output, Supervisor::new(self.cancel.clone()), work)
    }

    /// Runs work that starts a command of the user. While that runs, it decides about signals.
    pub(crate) fn run_command<T>(
        &self,
        output: &mut CommandOutput,
        foreground: &ForegroundCommand,
        work: impl AsyncFnOnce(&mut CommandOutput) -> T,
    ) -> Result<T> {
        let supervisor = Supervisor::new(self.cancel.clone()).with_foreground(foreground);
        self.close_after(output, supervisor, work)
    }

    fn close_after<T>(
        &self,
        output: &mut CommandOutput,
        supervisor: Supervisor,
        work: impl AsyncFnOnce(&mut CommandOutput) -> T,
    ) -> Result<T> {
        let is_of_command = supervisor.foreground.is_some();
        let (value, closed) = supervisor.run(output, async |output| {
            let value = work(output).await;
            let closed = if is_of_command {
                // A connection that was given up may still wait for an answer.
                tokio::time::timeout(CLEAN_UP, self.storage.close()).await.unwrap_or(Ok(()))
            } else {
                self.storage.close().await
            };
            (value, closed)
        })?;
        // A stopped command reports only the cancellation.
        if let (Err(error), false) = (closed, output.is_stopped()) {
            output.fail(error);
        }
        Ok(value)
    }
}

/// Runs asynchronous work until a signal stops it.
pub(crate) struct Supervisor {
    cancel: CancellationToken,
    foreground: Option<ForegroundCommand>,
}

impl Supervisor {
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self { cancel, foreground: None }
    }

    /// Lets a command of the user decide about signals while it runs.
    pub(crate) fn with_foreground(self, foreground: &ForegroundCommand) -> Self {
        Self { foreground: Some(foreground.clone()), ..self }
    }

    /// Runs work to its end. Notes in `output` if a signal came.
    pub(crate) fn run<T>(
        self,
        output: &mut CommandOutput,
        work: impl AsyncFnOnce(&mut CommandOutput) -> T,
    ) -> Result<T> {
        let runtime = runtime::start().map_err(Failure::Runtime)?;
        let progress = Arc::clone(output.console().progress());
        let stopped = Arc::new(OnceLock::new());
        let ended = runtime.block_on(async {
            let signals =
                if self.foreground.is_some() { Signals::listen_with_command()? } else { Signals::listen()? };
            // A separate task receives signals even if the work blocks its thread.
            let watch = tokio::spawn(self.watch(signals, progress, Arc::clone(&stopped)));
            let value = work(output).await;
            watch.abort();
            Ok(value)
        });
        // A blocking call that never returns must not keep the process alive.
        runtime.shutdown_background();
        if let Some(exit) = stopped.get() {
            output.stop(*exit);
        }
        ended
    }

    /// Waits for a signal, asks the work to stop, and ends the process if that takes too long.
    async fn watch(self, mut signals: Signals, progress: Arc<ProgressDisplay>, stopped: Arc<OnceLock<Exit>>) {
        let exit = loop {
            let exit = signals.next().await;
            let is_first = stopped.set(exit).is_ok();
            match &self.foreground {
                Some(foreground) if foreground.takes(exit) => {}
                // The first signal came while the command of the user ran.
                Some(_) if !is_first => {
                    progress.clear();
                    end_at_once(exit)
                }
                _ => break exit,
            }
        };
        progress.clear();
        self.cancel.cancel();
        tokio::select! {
            _ = signals.next() => {}
            () = tokio::time::sleep(CLEAN_UP) => {}
        }
        end_at_once(exit)
    }
}

#[expect(clippy::exit, reason = "only the command line may end the process")]
fn end_at_once(exit: Exit) -> ! {
    process::exit(exit.code().into())
}
