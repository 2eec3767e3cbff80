//! Shows the progress and the warnings of a storage.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_storage::{Event, OutputPath, Phase, Reporter, Warning};
use larder_tree::Observer as _;

use crate::output::console::Console;
use crate::progress::ProgressTask;

/// Passes the events of a storage on to the console.
pub(crate) struct ConsoleReporter {
    console: Console,
    /// There are only a few entries, so a list is fast enough.
    open: Mutex<Vec<(OutputPath, Phase, ProgressTask)>>,
}

impl ConsoleReporter {
    pub(crate) fn new(console: Console) -> Self {
        Self { console, open: Mutex::new(Vec::new()) }
    }

    fn open(&self) -> MutexGuard<'_, Vec<(OutputPath, Phase, ProgressTask)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for ConsoleReporter {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Started { output, phase, total } => {
                let label = match phase {
                    Phase::Hash => format!("hashing {output}"),
                    Phase::Ask => format!("asking the remote about {output}"),
                    Phase::Upload => format!("uploading {output}"),
                    Phase::Download => format!("downloading {output}"),
                    Phase::Place => format!("moving {output} into place"),
                    _ => format!("working on {output}"),
                };
                let task = self.console.progress().begin(&label, total);
                self.open().push((output.clone(), phase, task));
            }
            Event::Advanced { output, phase, bytes } => {
                let open = self.open();
                if let Some((.., task)) = open.iter().find(|(of, what, _)| *what == phase && of == output) {
                    task.bytes(bytes);
                }
            }
            Event::Finished { output, phase } => {
                self.open().retain(|(of, what, _)| *what != phase || of != output);
            }
            // A new directory needs no warning, except where the user may have forgotten to mount a share.
            Event::Warning(
                note @ (Warning::CreatedRemote { is_parent_empty: false, .. }
                | Warning::WouldCreateRemote { .. }),
            ) => {
                self.console.note(note);
            }
            Event::Warning(warning) => self.console.warn(warning),
            _ => {}
        }
    }
}

impl fmt::Debug for ConsoleReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleReporter").finish_non_exhaustive()
    }
}
