//! Errors of unpacking.

use std::collections::TryReserveError;
use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use larder_hashing::HashError;

/// The source of an error, of any type.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// An archive could not be unpacked. The files created so far stay, and the caller removes their directory.
///
/// `Display` says what failed and on which path, and [`StdError::source`] says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The stream of the archive failed before its end.
    #[error("failed to receive the archive")]
    Source(#[source] BoxError),
    /// The archive is damaged.
    #[error("the archive is damaged: {what}")]
    Damaged {
        /// The problem.
        what: String,
        /// The error of the codec or the parser.
        source: Option<BoxError>,
    },
    /// The archive is truncated. A damaged archive may look the same, if its bytes announce more than there is.
    #[error("the archive ends early: {place}")]
    Truncated {
        /// Where the bytes end.
        place: &'static str,
    },
    /// The archive has an entry that is not allowed.
    #[error("the archive holds `{entry}`, {why}")]
    Refused {
        /// The name of the entry.
        entry: String,
        /// The problem.
        why: String,
    },
    /// The archive belongs to another output.
    #[error("the archive holds `{entry}`, which is not part of the output {output}")]
    OtherOutput {
        /// The name of the entry.
        entry: String,
        /// The expected output.
        output: String,
    },
    /// A later version of larder wrote the archive.
    #[error("the archive needs a newer larder")]
    NewerLarder,
    /// A file could not be created or written.
    #[error("failed to {operation} `{}`{}", path.display(), hint(source))]
    Io {
        /// The failed action, as a verb: `create`, `write`.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The unpacked output could not be hashed.
    #[error(transparent)]
    Hash(HashError),
    /// There is no memory for a buffer or for a codec.
    #[error("there is not enough memory to unpack the archive: free some, or raise its limit (`ulimit -v`)")]
    Memory(#[source] io::Error),
    /// The system refused a thread.
    #[error("failed to start a thread that unpacks")]
    Thread(#[source] io::Error),
    /// The [`Observer`](larder_tree::Observer) asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A thread panicked, which is a bug in this crate. The panic message went to standard error.
    #[error("a thread that unpacks failed unexpectedly")]
    Panicked,
}

impl From<TryReserveError> for UnpackError {
    fn from(error: TryReserveError) -> Self {
        Self::Memory(error.into())
    }
}

/// The kind of an error, for code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnpackErrorKind {
    /// The stream failed: see [`UnpackError::into_source`].
    Source,
    /// The archive is damaged, or has an entry that is not allowed.
    Integrity,
    /// A later version of larder wrote the archive.
    Unsupported,
    /// The local file system or the system failed.
    Local,
    /// The operation was canceled.
    Cancelled,
}

impl UnpackError {
    /// Returns the kind of the error.
    pub const fn kind(&self) -> UnpackErrorKind {
        match self {
            Self::Source(_) => UnpackErrorKind::Source,
            Self::Damaged { .. }
            | Self::Truncated { .. }
            | Self::Refused { .. }
            | Self::OtherOutput { .. } => UnpackErrorKind::Integrity,
            Self::NewerLarder => UnpackErrorKind::Unsupported,
            Self::Io { .. } | Self::Hash(_) | Self::Memory(_) | Self::Thread(_) | Self::Panicked => {
                UnpackErrorKind::Local
            }
            Self::Cancelled => UnpackErrorKind::Cancelled,
        }
    }

    /// Returns the error of the stream, if the stream failed.
    ///
    /// # Errors
    ///
    /// This error itself, if it has another kind or another type.
    pub fn into_source<E: StdError + 'static>(self) -> Result<E, Self> {
        match self {
            Self::Source(source) => source.downcast().map(|source| *source).map_err(Self::Source),
            other => Err(other),
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), source: None }
    }

    pub(super) fn refused(entry: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { entry: String::from_utf8_lossy(entry).into_owned(), why: why.into() }
    }

    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": there is no space left on its file system; free some, and try again"
        }
        io::ErrorKind::PermissionDenied => ": permission denied, check who may write there",
        _ => "",
    }
}
