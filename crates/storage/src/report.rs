//! Progress and warnings of a storage.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_hashing::OutputPath;
use larder_tree::Observer;
use tokio_util::sync::CancellationToken;

/// Observes a [`crate::RemoteStorage`]. It is called from several threads, and often, so it must be quick.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn report(&self, event: Event<'_>);
}

/// A [`Reporter`] that ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event<'_>) {}
}

/// An event during an operation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase of an output begins.
    Started {
        /// The output.
        output: &'a OutputPath,
        /// The phase.
        phase: Phase,
        /// The sum of the bytes that the phase will report, if it is known.
        total: Option<u64>,
    },
    /// A phase made progress.
    Advanced {
        /// The output.
        output: &'a OutputPath,
        /// The phase.
        phase: Phase,
        /// The bytes since the last event of this phase.
        bytes: u64,
    },
    /// A phase ended, successfully or not.
    Finished {
        /// The output.
        output: &'a OutputPath,
        /// The phase.
        phase: Phase,
    },
    /// Something that the user should know, and that is not a failure.
    Warning(&'a Warning),
}

/// A part of the work on one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Hashing a file or directory of the project. In bytes of content.
    Hash,
    /// Waiting for the remote before an upload. Without a count of bytes.
    Ask,
    /// Uploading the output. In bytes of content.
    Upload,
    /// Downloading and unpacking the output. In bytes of the object.
    Download,
    /// Moving a restored output into place, and removing what it replaces. Without a count of bytes.
    Place,
}

/// Something that the user should know, and that is not a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// An object in the remote is not one of larder's. It is never used.
    ForeignObject {
        /// Where it is.
        url: String,
        /// Why it is not one of larder's.
        reason: &'static str,
    },
    /// An object among the run records is not a record, or a later version wrote it. It is never used.
    ForeignRecord {
        /// Where it is.
        url: String,
        /// Why it is not a record.
        reason: String,
    },
    /// The remote cannot hold a key that is long enough for the run record of an output.
    NotRecorded {
        /// The output.
        output: OutputPath,
    },
    /// The clock of this machine, or the newest record, is more than a day ahead of the remote's clock. Other machines ignore
    /// the record of this push.
    ClockAhead {
        /// The remote.
        remote: String,
    },
    /// There are more foreign objects than are named.
    MoreForeignObjects {
        /// How many.
        count: u64,
    },
    /// Names at the top of the remote have no object of larder's below them, so they are no outputs.
    ForeignNames {
        /// How many.
        count: usize,
    },
    /// An object is damaged, so an older one is tried.
    DamagedObject {
        /// The object.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More objects are damaged than are named.
    MoreDamagedObjects {
        /// How many.
        count: u64,
    },
    /// What a dead process left behind could not be cleaned up; the next command tries again.
    Sweep {
        /// What failed.
        reason: String,
    },
    /// The remote has no exclusive create: pushers of one key may overwrite each other, with the same content.
    NotExclusive {
        /// The remote.
        remote: String,
    },
    /// A push created the directory of the remote.
    CreatedRemote {
        /// The remote.
        remote: String,
        /// Nothing else is in the directory above it, where a file system may have to be mounted.
        is_parent_empty: bool,
    },
    /// A push that is not a dry run would create the directory of the remote.
    WouldCreateRemote {
        /// The remote.
        remote: String,
    },
    /// Files in larder's own directory are not journals of this project. They are left alone.
    ForeignJournals {
        /// Their names, in quotes.
        names: String,
        /// The directory.
        directory: String,
    },
    /// Another command uses an output, so this one waits.
    Waiting {
        /// The output, or a directory above outputs.
        path: String,
        /// The larder process that locked the output, if it is known.
        process: Option<u32>,
        /// Whether that process does not run any more here, so that the command that it started holds the lock.
        is_orphaned: bool,
    },
    /// An output was edited while a pull replaced it. That version is kept.
    Edited {
        /// The output.
        output: OutputPath,
        /// Where that version is.
        place: PathBuf,
    },
    /// An output is outside of the project, because a directory above it is a symlink. Other projects are not excluded.
    OutputOutside {
        /// The output.
        output: OutputPath,
        /// Where it is.
        place: PathBuf,
    },
    /// The file system of the project grants every lock, so that two commands may change an output at once.
    NoLocks {
        /// The project.
        project: String,
    },
    /// What an interrupted command had begun was completed or undone.
    Recovered {
        /// What was done.
        action: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignObject { url, reason } => write!(f, "ignoring {url}: {reason}"),
            Self::ForeignRecord { url, reason } => {
                write!(f, "ignoring {url} and other objects like it: {reason}")
            }
            Self::NotRecorded { output } => write!(
                f,
                "no run record was written for {output}: its name is too long; the time of its object decides which version is the newest"
            ),
            Self::ClockAhead { remote } => write!(
                f,
                "the clock of this machine is more than a day ahead of {remote}, so other machines do not take this push for the newest: set the clock, and push again"
            ),
            Self::MoreForeignObjects { count } => write!(f, "ignoring {count} more foreign objects"),
            Self::ForeignNames { count: 1 } => {
                f.write_str("1 name is not listed: there is no object of larder's below it")
            }
            Self::ForeignNames { count } => {
                write!(f, "{count} names are not listed: there is no object of larder's below them")
            }
            Self::DamagedObject { url, reason } => {
                write!(
                    f,
                    "{url} is damaged ({reason}), so another is tried; a push with `--force` repairs it"
                )
            }
            Self::MoreDamagedObjects { count } => write!(f, "{count} more objects are damaged"),
            Self::Sweep { reason } => write!(f, "failed to clean up after an interrupted command: {reason}"),
            Self::NotExclusive { remote } => write!(
                f,
                "the file system of {remote} has no exclusive rename: if several push the same object, each reports an upload"
            ),
            Self::CreatedRemote { remote, is_parent_empty } => {
                write!(f, "created the directory {remote}")?;
                if *is_parent_empty {
                    f.write_str(
                        "; the directory above it is empty: check whether a share has to be mounted there",
                    )?;
                }
                Ok(())
            }
            Self::WouldCreateRemote { remote } => write!(f, "would create the directory {remote}"),
            Self::ForeignJournals { names, directory } => {
                write!(f, "larder ignores {names} in {directory}: not a journal of this project; remove it")
            }
            Self::Waiting { path, process: Some(process), is_orphaned: true } => write!(
                f,
                "waiting for a command that uses {path}: the larder that started it (process {process}) was interrupted, or runs in another container"
            ),
            Self::Waiting { path, process, .. } => {
                write!(f, "waiting for another larder command that uses {path}")?;
                process.map_or(Ok(()), |process| write!(f, " (process {process})"))
            }
            Self::Edited { output, place } => write!(
                f,
                "{output} was edited while it was replaced: the edited version is in {}",
                place.display()
            ),
            Self::OutputOutside { output, place } => write!(
                f,
                "{output} is at {}, outside of the project: do not make it from another project at the same time",
                place.display()
            ),
            Self::NoLocks { project } => write!(
                f,
                "the file system of {project} does not lock files: do not change one output with two commands at once"
            ),
            Self::Recovered { action } => write!(f, "an earlier command was interrupted: {action}"),
        }
    }
}

/// Joins a reporter and a cancellation token for the threads that read and write.
pub(crate) struct PhaseReport {
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
    output: OutputPath,
    phase: Phase,
    is_finished: AtomicBool,
}

impl PhaseReport {
    pub(crate) fn start(
        reporter: &Arc<dyn Reporter>,
        cancel: &CancellationToken,
        output: &OutputPath,
        phase: Phase,
        total: Option<u64>,
    ) -> Arc<Self> {
        reporter.report(Event::Started { output, phase, total });
        Arc::new(Self {
            reporter: Arc::clone(reporter),
            cancel: cancel.clone(),
            output: output.clone(),
            phase,
            is_finished: AtomicBool::new(false),
        })
    }

    /// Ends the phase. Dropping the report ends it too.
    pub(crate) fn finish(&self) {
        if !self.is_finished.swap(true, Ordering::Relaxed) {
            self.reporter.report(Event::Finished { output: &self.output, phase: self.phase });
        }
    }
}

impl Observer for PhaseReport {
    fn bytes(&self, count: u64) {
        self.reporter.report(Event::Advanced { output: &self.output, phase: self.phase, bytes: count });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl Drop for PhaseReport {
    fn drop(&mut self) {
        self.finish();
    }
}
