//! What a storage tells while it works.

use std::fmt;
use std::sync::Arc;

use larder_hashing::{Observer, OutputPath};
use tokio_util::sync::CancellationToken;

/// Learns what a [`crate::RemoteStorage`] is doing. Called from several threads, and often: it must be quick.
pub trait Reporter: Send + Sync {
    /// Something happened.
    fn report(&self, event: Event<'_>);
}

/// A [`Reporter`] that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event<'_>) {}
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase of the work on an output begins.
    Started {
        /// The output.
        output: &'a OutputPath,
        /// What begins.
        phase: Phase,
        /// How many bytes the phase will report in all, where that is known.
        total: Option<u64>,
    },
    /// The phase has come this much further.
    Advanced {
        /// The output.
        output: &'a OutputPath,
        /// What goes on.
        phase: Phase,
        /// How many more bytes are done.
        bytes: u64,
    },
    /// The phase is over, well or not.
    Finished {
        /// The output.
        output: &'a OutputPath,
        /// What is over.
        phase: Phase,
    },
    /// Something that a person should know, and that is no failure.
    Warning(&'a Warning),
}

/// A part of the work on one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reading what is in the project, to know its hash. In bytes of content.
    Hash,
    /// Sending the output. In bytes of content.
    Upload,
    /// Fetching and restoring the output. In bytes of the object.
    Download,
}

/// Something that a person should know, and that is no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// There is something in the remote that is no object of larder's; it is never used.
    ForeignObject {
        /// Where it is.
        url: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// There are more foreign objects than are worth naming.
    MoreForeignObjects {
        /// How many.
        count: u64,
    },
    /// An object is damaged, so an older one is tried.
    DamagedObject {
        /// The object.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a dead process left behind could not be cleaned up; the next command tries again.
    Sweep {
        /// What failed.
        reason: String,
    },
    /// The remote cannot keep several pushers of one key apart: they may overwrite each other, with the same.
    NotExclusive {
        /// The remote.
        remote: String,
    },
    /// What an interrupted pull had begun was completed or undone.
    Recovered {
        /// What was done.
        action: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignObject { url, reason } => write!(f, "ignoring {url}: {reason}"),
            Self::MoreForeignObjects { count } => write!(f, "ignoring {count} more foreign objects"),
            Self::DamagedObject { url, reason } => {
                write!(f, "{url} is damaged ({reason}), so another is tried; a push with `--force` mends it")
            }
            Self::Sweep { reason } => write!(f, "failed to clean up after an interrupted command: {reason}"),
            Self::NotExclusive { remote } => write!(
                f,
                "{remote} cannot refuse what exists already: of several pushes at once each may say that it uploaded"
            ),
            Self::Recovered { action } => write!(f, "an earlier pull was interrupted: {action}"),
        }
    }
}

/// Joins a reporter and a cancellation token into what the reading and writing threads look at.
#[derive(Clone)]
pub(crate) struct PhaseReport {
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
    output: OutputPath,
    phase: Phase,
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
        })
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
        self.reporter.report(Event::Finished { output: &self.output, phase: self.phase });
    }
}
