//! Errors of a storage.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_archive::{PackError, UnpackError};
use larder_backend::InvalidKey;
use larder_hashing::{ContentHash, HashError, OutputPath};
use larder_records::InvalidRecord;
use larder_tree::StateDirectoryError;

use crate::outcome::Incomparable;
use crate::remote::{InvalidRemote, OpenError};

/// The result of an operation on a storage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a storage failed. `Display` says what failed and what to do; `source()` says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing in the remote matches.
    #[error("nothing in {remote} matches {}{}", list(outputs), if *narrowed { " with the given hashes" } else { "" })]
    NotFound {
        /// The remote.
        remote: String,
        /// The outputs without a match.
        outputs: Vec<OutputPath>,
        /// Whether hashes were given.
        narrowed: bool,
    },
    /// Each output is in the remote, but there is no command hash under which all of them are.
    #[error(
        "no command hash in {remote} has all of {}: pull them one by one, or push them together",
        list(outputs)
    )]
    NoCommonCommand {
        /// The remote.
        remote: String,
        /// The outputs.
        outputs: Vec<OutputPath>,
    },
    /// The source of a push is missing.
    #[error("failed to push {}: there is no such file or directory; check the path, or create it first", path.display())]
    MissingSource {
        /// The path.
        path: PathBuf,
    },
    /// The output does not have the given content hash.
    #[error(
        "{output} does not have the given content hash {expected}: it is {actual}; nothing was published"
    )]
    ContentMismatch {
        /// The output.
        output: OutputPath,
        /// The given hash.
        expected: ContentHash,
        /// The hash of the output.
        actual: ContentHash,
    },
    /// The content of an object does not have the hash in its name, or is not an archive of the output.
    #[error("{url} {}", if holds_refused(&**source) {
        "holds an entry that larder does not restore: pull another version, or push it again with `larder push --force`"
    } else {
        "is damaged: pull another version, or repair it with `larder push --force`"
    })]
    Damaged {
        /// The object.
        url: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object of a later format.
    #[error("{url} needs a newer larder")]
    NeedsNewerLarder {
        /// The object.
        url: String,
    },
    /// Several outputs were to be restored, and one exists and differs.
    #[error("nothing was restored: {} exists and differs from {url}; `--force` replaces it", destination.display())]
    Differs {
        /// The existing output.
        destination: PathBuf,
        /// The URL of the remote's object.
        url: String,
    },
    /// Several outputs were to be restored, and one exists and cannot be compared.
    #[error(
        "nothing was restored: {} exists, and {}",
        destination.display(),
        reason.sentence(url)
    )]
    Incomparable {
        /// The existing output.
        destination: PathBuf,
        /// The URL of the remote's object.
        url: String,
        /// Why it cannot be compared.
        reason: Incomparable,
    },
    /// Another process created and removed the destination again and again while an output was being put there.
    #[error(
        "failed to put {} into place: another process keeps creating and removing it; pull again when that process has ended",
        destination.display()
    )]
    Contended {
        /// The destination.
        destination: PathBuf,
    },
    /// Something above the destination is not a directory.
    #[error(
        "failed to restore {}: {} is in the way and is not a directory; move it away, and pull again",
        destination.display(),
        obstacle.display()
    )]
    Obstructed {
        /// The destination.
        destination: PathBuf,
        /// The file or link that is not a directory.
        obstacle: PathBuf,
    },
    /// A mount point is at or below an output that was to be replaced.
    #[error(
        "failed to replace {}: {} is a mount point or on another device; unmount it, or restore to another place with `--to`",
        destination.display(),
        mount.display()
    )]
    MountWithin {
        /// The destination.
        destination: PathBuf,
        /// The mount point, or the directory on another device.
        mount: PathBuf,
    },
    /// A command succeeded and did not make an output.
    #[error("the command did not create its output {}", path.display())]
    NotMade {
        /// The output.
        path: PathBuf,
    },
    /// A command made an output as a symlink.
    #[error("the command created its output {} as a symlink, and a restored copy would not be one: let it create a file or directory", path.display())]
    MadeSymlink {
        /// The output.
        path: PathBuf,
    },
    /// The remote did not answer a look-up in time.
    #[error("{remote} did not answer within {} s", timeout.as_secs_f64())]
    NoAnswer {
        /// The remote.
        remote: String,
        /// The time that it had.
        timeout: Duration,
    },
    /// A command that larder runs has started another larder, which wants an output of that command.
    #[error(
        "{path} is an output of the command that runs this one: make it in the outer command, or name other outputs"
    )]
    HeldByAncestor {
        /// The output, or a directory above outputs.
        path: String,
    },
    /// A command that larder runs has started this larder, which wants an output of another command. That command has in turn
    /// started a larder that waits for the first command.
    #[error(
        "{path} is an output of a command that waits for this one: let the commands that larder runs take outputs in one order"
    )]
    WaitsForItself {
        /// The output, or a directory above outputs.
        path: String,
    },
    /// A directory of larder's own is a symlink.
    #[error("failed to use {}: it is a symlink; remove it, and larder creates a directory", path.display())]
    StateIsSymlink {
        /// The symlink.
        path: PathBuf,
    },
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(String),
    /// The remote cannot be used.
    #[error(transparent)]
    Remote(#[from] InvalidRemote),
    /// The encoded path does not fit into the names of the remote.
    #[error(
        "the name of {output} is too long for {remote}: encoded it has {len} bytes, and the limit is {max}"
    )]
    NameTooLong {
        /// The output.
        output: OutputPath,
        /// The remote.
        remote: String,
        /// The length of the name, in bytes.
        len: usize,
        /// The greatest possible length, in bytes.
        max: usize,
    },
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The output could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The output could not be packed.
    #[error(transparent)]
    Pack(PackError),
    /// The output could not be restored.
    #[error(transparent)]
    Unpack(UnpackError),
    /// The remote failed.
    #[error(transparent)]
    Backend(#[from] larder_backend::Error),
    /// The project's file system failed.
    #[error("failed to {action} {}{}", path.display(), hint(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Outputs were published, and their run record could not be written.
    #[error(
        "failed to write the run record of {}, which {} published: push again, so that other commands find the right version",
        list(published),
        if published.len() == 1 { "was" } else { "were" }
    )]
    Record {
        /// The outputs.
        published: Vec<OutputPath>,
        /// Why the record could not be written.
        source: Box<Error>,
    },
    /// Several hashes begin with a text.
    #[error("`{text}` begins several hashes: {}{}", candidates.join(", "), and_more(*more))]
    AmbiguousHash {
        /// The text.
        text: String,
        /// Some of the hashes.
        candidates: Vec<String>,
        /// How many other hashes begin so.
        more: usize,
    },
    /// No hash in the remote begins with a text.
    #[error("no hash in {remote} begins with `{text}`")]
    UnknownHash {
        /// The text.
        text: String,
        /// The remote.
        remote: String,
    },
    /// A run record has invalid content.
    #[error(transparent)]
    RecordContent(InvalidRecord),
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// Why an operation failed, for code that branches and for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Nothing in the remote matches.
    NotFound,
    /// Bytes do not have the expected hash.
    Integrity,
    /// The arguments, the URL or the configuration are invalid.
    Usage,
    /// The remote cannot be reached, denies access, or does not exist.
    Remote,
    /// The object is of a later format.
    Unsupported,
    /// The caller asked to stop.
    Cancelled,
    /// Anything else: a missing source, a full disk, no permission in the project.
    Failed,
}

impl ErrorKind {
    /// The name of the kind in machine-readable output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Integrity => "integrity",
            Self::Usage => "usage",
            Self::Remote => "remote",
            Self::Unsupported => "unsupported",
            Self::Cancelled => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Invalid(error) => Self::Remote(error),
            OpenError::Backend(error) => Self::Backend(error),
        }
    }
}

impl Error {
    /// Why it failed, for code.
    pub fn kind(&self) -> ErrorKind {
        use larder_backend::ErrorKind as Backend;
        match self {
            Self::NotFound { .. } | Self::NoCommonCommand { .. } | Self::UnknownHash { .. } => {
                ErrorKind::NotFound
            }
            Self::ContentMismatch { .. } | Self::Damaged { .. } => ErrorKind::Integrity,
            Self::NeedsNewerLarder { .. } => ErrorKind::Unsupported,
            Self::Usage(_)
            | Self::HeldByAncestor { .. }
            | Self::WaitsForItself { .. }
            | Self::AmbiguousHash { .. }
            | Self::Remote(_)
            | Self::NameTooLong { .. }
            | Self::Key(_) => ErrorKind::Usage,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Record { .. } | Self::NoAnswer { .. } => ErrorKind::Remote,
            Self::Hash(error) if error.is_cancelled() => ErrorKind::Cancelled,
            Self::Pack(error) if error.is_cancelled() => ErrorKind::Cancelled,
            Self::Backend(error) => match error.kind() {
                Backend::NotFound => ErrorKind::NotFound,
                Backend::Integrity => ErrorKind::Integrity,
                Backend::Cancelled => ErrorKind::Cancelled,
                Backend::InvalidInput => ErrorKind::Usage,
                Backend::NoSpace => ErrorKind::Failed,
                _ => ErrorKind::Remote,
            },
            Self::MissingSource { .. }
            | Self::NotMade { .. }
            | Self::MadeSymlink { .. }
            | Self::Differs { .. }
            | Self::Incomparable { .. }
            | Self::Contended { .. }
            | Self::Obstructed { .. }
            | Self::MountWithin { .. }
            | Self::StateIsSymlink { .. }
            | Self::RecordContent(_)
            | Self::Hash(_)
            | Self::Pack(_)
            | Self::Unpack(_)
            | Self::Io { .. } => ErrorKind::Failed,
        }
    }

    /// Whether the project's file system is read-only.
    pub(crate) fn is_read_only_file_system(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Whether this user cannot write in the project.
    pub(crate) fn is_of_unwritable_project(&self) -> bool {
        self.is_read_only_file_system()
            || matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }
}

impl From<StateDirectoryError> for Error {
    fn from(error: StateDirectoryError) -> Self {
        match error {
            StateDirectoryError::Symlink { path } => Self::StateIsSymlink { path },
            StateDirectoryError::Io { operation, path, source } => {
                Self::Io { action: operation, path, source }
            }
        }
    }
}

fn list(outputs: &[OutputPath]) -> String {
    let names: Vec<String> = outputs.iter().map(|output| format!("`{output}`")).collect();
    names.join(", ")
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

/// Returns whether an object is whole but holds an entry that larder does not restore, as other programs may write it.
pub fn holds_refused(damage: &(dyn std::error::Error + 'static)) -> bool {
    matches!(damage.downcast_ref(), Some(UnpackError::Refused { .. }))
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full; free some space, and try again"
        }
        io::ErrorKind::PermissionDenied => ": permission denied; check the permissions of the directory",
        io::ErrorKind::ReadOnlyFilesystem => ": the file system is read-only",
        _ => "",
    }
}
