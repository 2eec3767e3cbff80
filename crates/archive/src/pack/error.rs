//! Errors of packing.

use std::collections::TryReserveError;
use std::io;
use std::path::PathBuf;

use larder_tree::TreeError;

use crate::frames::FrameError;

/// An output could not be packed. The bytes of the stream so far are not an archive.
///
/// `Display` says what failed and on which path, and [`std::error::Error::source`] says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The output does not exist.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The output changed while it was packed, or between hashing and packing.
    #[error("`{}` changed while it was packed: wait until nothing writes to it, and try again", path.display())]
    Changed {
        /// The file that changed, if it is known, or the output.
        path: PathBuf,
    },
    /// A link would have another target, or none, after unpacking.
    #[error(
        "the link `{}` points at `{target}`, which {why}: replace it by what it points at, or remove it",
        path.display()
    )]
    Link {
        /// The path of the link.
        path: PathBuf,
        /// The text of the link.
        target: String,
        /// The problem.
        why: &'static str,
    },
    /// The name and the target of an entry exceed the limit.
    #[error("`{}` needs a header of more than {limit} bytes, which is the limit", path.display())]
    Header {
        /// The path of the entry.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The names in the output exceed the memory for names during unpacking.
    #[error("the names and links up to `{}` are too long, all together: split the output", path.display())]
    Names {
        /// The path of the first entry beyond the limit.
        path: PathBuf,
    },
    /// The output cannot be read, or has an entry that cannot be archived.
    #[error(transparent)]
    Read(TreeError),
    /// A codec failed.
    #[error("failed to compress the archive")]
    Compress(#[source] io::Error),
    /// There is no memory for a buffer.
    #[error("there is not enough memory to pack the output: free some, or raise its limit (`ulimit -v`)")]
    Memory(#[source] io::Error),
    /// The system refused a thread.
    #[error("failed to start a thread that packs")]
    Thread(#[source] io::Error),
    /// The [`Observer`](larder_tree::Observer) asked to stop, or the receiver of the archive is gone.
    #[error("cancelled")]
    Cancelled,
    /// The result was requested before the end of the stream, or after a failure.
    #[error("the archive was not read to its end")]
    Unfinished,
    /// The thread panicked, which is a bug in this crate. The panic message went to standard error.
    #[error("the thread that packs failed unexpectedly")]
    Panicked,
}

impl PackError {
    /// Whether the operation was canceled.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

impl From<TreeError> for PackError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Missing { path } => Self::Missing { path },
            TreeError::Changed { path } => Self::Changed { path },
            TreeError::Cancelled => Self::Cancelled,
            other => Self::Read(other),
        }
    }
}

impl From<TryReserveError> for PackError {
    fn from(error: TryReserveError) -> Self {
        Self::Memory(error.into())
    }
}

impl From<FrameError> for PackError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Closed => Self::Cancelled,
            FrameError::Codec(source) => Self::Compress(source),
            FrameError::Memory(source) => Self::Memory(source),
            FrameError::Thread(source) => Self::Thread(source),
        }
    }
}
