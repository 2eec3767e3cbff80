//! What can go wrong while an output is read.

use std::io;
use std::path::PathBuf;

/// A file or a directory could not be hashed.
///
/// `Display` says what failed and on which path, and [`std::error::Error::source`] says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// There is nothing at the path.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// Where something was expected.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("failed to {operation} `{}`", path.display())]
    Io {
        /// What was tried, as a verb: `open`, `read`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Only files, directories and links can be kept. Nothing was read from it: it was not opened.
    #[error("`{}` is {what}, which cannot be kept: remove it, or move it out of the output", path.display())]
    Special {
        /// The path of it.
        path: PathBuf,
        /// What it is, with an article.
        what: &'static str,
    },
    /// A file was written to, or went away, while it was read.
    #[error("`{}` changed while it was read: wait until nothing writes to it, and try again", path.display())]
    Changed {
        /// The path of the file.
        path: PathBuf,
    },
    /// Links lead back to a directory above them, so that following them has no end.
    #[error("`{}` is part of a loop of links: following it has no end", path.display())]
    Loop {
        /// Where the loop closes.
        path: PathBuf,
    },
    /// A link that should be followed points at nothing.
    #[error("the link `{}` points at nothing, so it cannot be followed", path.display())]
    Dangling {
        /// The path of the link.
        path: PathBuf,
    },
    /// A link in a dependency points out of it, at what the hash of the dependency would not cover.
    #[error(
        "the link `{}` leaves the dependency that it is in: name what it points at as a dependency of its own",
        path.display()
    )]
    LeavesDependency {
        /// The path of the link.
        path: PathBuf,
    },
    /// A pull stages its output here, or did before it was killed.
    #[error(
        "`{}` is the staging of a pull: wait for that pull, or remove this if none is running",
        path.display()
    )]
    Staging {
        /// The path of the staging directory.
        path: PathBuf,
    },
    /// Directories are nested deeper than the limit.
    #[error("`{}` lies deeper than {limit} directories, which is the limit", path.display())]
    TooDeep {
        /// The path of the first directory that is too deep.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A path is longer than the limit.
    #[error("`{}` is a path of more than {limit} bytes, which is the limit", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// There are more entries than the limit.
    #[error("`{}` holds more than {limit} entries, which is the limit", path.display())]
    TooManyEntries {
        /// The path of the output.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A manifest could not be written to where the caller wants it.
    #[error("failed to write the manifest")]
    Manifest(#[source] io::Error),
    /// The [`Observer`](crate::Observer) asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A worker thread panicked: a defect of this crate. The panic itself went to standard error.
    #[error("a worker thread failed unexpectedly while it read `{}`", path.display())]
    Worker {
        /// What was being read.
        path: PathBuf,
    },
}

impl HashError {
    /// Whether the [`Observer`](crate::Observer) asked to stop.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}
