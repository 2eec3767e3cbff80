//! What can go wrong while an archive is unpacked.

use std::collections::TryReserveError;
use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use larder_hashing::HashError;

/// The source of an error, of any type.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// An archive could not be unpacked. Files that were created until then are left where they are: whoever called made
/// the directory for them, and removes it.
///
/// `Display` says what failed and on which path, and [`StdError::source`] says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The stream of the archive failed, before the archive was at its end.
    #[error("failed to receive the archive")]
    Source(#[source] BoxError),
    /// The archive is damaged.
    #[error("the archive is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
        /// What the codec, or the parser, says.
        source: Option<BoxError>,
    },
    /// The bytes end before the archive does. A damaged one may look so too, where its bytes promise more than there is.
    #[error("the archive ends early: {place}")]
    Truncated {
        /// Where in it that is.
        place: &'static str,
    },
    /// The archive holds what no archive of this output may hold.
    #[error("the archive holds `{entry}`, {why}")]
    Refused {
        /// The name of the entry.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The archive is that of another output.
    #[error("the archive holds `{entry}`, which is not part of the output {output}")]
    OtherOutput {
        /// The name of the entry.
        entry: String,
        /// The output that it was to be.
        output: String,
    },
    /// The archive is of a format that a later version writes.
    #[error("the archive needs a newer larder")]
    NewerLarder,
    /// A file could not be created or written.
    #[error("failed to {operation} `{}`{}", path.display(), hint(source))]
    Io {
        /// What was tried, as a verb: `create`, `write`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What was unpacked could not be hashed.
    #[error(transparent)]
    Hash(HashError),
    /// There is no memory for a buffer or for a codec.
    #[error("there is not enough memory to unpack the archive: free some, or raise its limit (`ulimit -v`)")]
    Memory(#[source] io::Error),
    /// The system gave no thread to unpack on.
    #[error("failed to start a thread that unpacks")]
    Thread(#[source] io::Error),
    /// The [`Observer`](larder_tree::Observer) asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A thread that unpacks panicked: a defect of this crate. The panic itself went to standard error.
    #[error("a thread that unpacks failed unexpectedly")]
    Panicked,
}

impl From<TryReserveError> for UnpackError {
    fn from(error: TryReserveError) -> Self {
        Self::Memory(error.into())
    }
}

/// Why unpacking failed, for code that branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnpackErrorKind {
    /// The stream failed: see [`UnpackError::into_source`].
    Source,
    /// The archive is damaged, or holds what it must not.
    Integrity,
    /// The archive is of a later format.
    Unsupported,
    /// The local file system, or the system, failed.
    Local,
    /// Someone asked to stop.
    Cancelled,
}

impl UnpackError {
    /// Why it failed, for code.
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

    /// The error of the stream, where it was the stream that failed.
    ///
    /// # Errors
    ///
    /// This error itself, where it was something else, or an error of another type.
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
