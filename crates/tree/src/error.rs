//! The errors of reading a tree.

use std::io;
use std::path::PathBuf;

/// A file or a directory could not be read.
///
/// `Display` says what failed and on which path, and [`std::error::Error::source`] says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is nothing at the path.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The path that does not exist.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("failed to {operation} `{}`", path.display())]
    Io {
        /// The operation, as a verb: `open`, `read`.
        operation: &'static str,
        /// The path of the file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A socket, a FIFO or a device. It was not opened.
    #[error("`{}` is {what}; larder stores files, directories and links", path.display())]
    Special {
        /// Its path.
        path: PathBuf,
        /// Its kind, with an article.
        what: &'static str,
    },
    /// A file was changed or removed while it was read.
    #[error("`{}` changed while it was read: wait until nothing writes to it, and try again", path.display())]
    Changed {
        /// The path of the file.
        path: PathBuf,
    },
    /// Links form a loop.
    #[error("`{}` is part of a loop of links: remove the loop", path.display())]
    Loop {
        /// Where the loop closes.
        path: PathBuf,
    },
    /// The reader follows links, and the target of this link does not exist.
    #[error("failed to follow the link `{}`: its target does not exist", path.display())]
    Dangling {
        /// The path of the link.
        path: PathBuf,
    },
    /// The directory is the staging directory of a pull that is running or was killed.
    #[error(
        "`{}` is the staging of a pull: wait for that pull, or remove this if none is running",
        path.display()
    )]
    Staging {
        /// The path of the staging directory.
        path: PathBuf,
    },
    /// A directory contains what a failed command left of an output.
    #[error("`{}` is what a failed command left: look at it, and remove it", path.display())]
    Failed {
        /// The path of the failed output.
        path: PathBuf,
    },
    /// Directories are nested deeper than the limit.
    #[error("`{}` is nested deeper than the limit of {limit} directories", path.display())]
    TooDeep {
        /// The path of the first directory that is too deep.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A path is longer than the limit.
    #[error("`{}` is a path longer than the limit of {limit} bytes", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The tree has more entries than the limit.
    #[error("`{}` has more entries than the limit of {limit}", path.display())]
    TooManyEntries {
        /// The root of the tree.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// An ignore file is not a regular file, is too large, cannot be read, or has a line that is no pattern.
    #[error("failed to read the ignore file `{}`", path.display())]
    IgnoreFile {
        /// The path of the ignore file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The [`Observer`](crate::Observer) asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A worker thread panicked, which is a bug in this crate. The panic itself went to standard error.
    #[error("a worker thread failed unexpectedly while it read `{}`", path.display())]
    Worker {
        /// The path of the file or directory that was read.
        path: PathBuf,
    },
}

impl TreeError {
    /// Returns whether the [`Observer`](crate::Observer) asked to stop.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}
