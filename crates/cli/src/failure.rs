//! What can go wrong in a command, and what that means for the exit code.

use std::io;
use std::path::PathBuf;

use larder_config::Origin;
use larder_hashing::{CommandError, HashError, InvalidOutputPath, SiteError};
use larder_storage::{ErrorKind, InvalidRemote, PackError};

use crate::exit::Exit;

/// The result of a part of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A command, or its work on one output, failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] larder_config::Error),
    #[error(transparent)]
    Path(#[from] InvalidOutputPath),
    /// A remote that a file or the environment defines, and where it does.
    #[error("{origin}: {error}")]
    Remote { origin: Origin, error: InvalidRemote },
    #[error(transparent)]
    GivenRemote(#[from] InvalidRemote),
    #[error(transparent)]
    Storage(#[from] larder_storage::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    CommandHash(#[from] CommandError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("failed to change to the directory {}", path.display())]
    ChangeDirectory { path: PathBuf, source: io::Error },
    #[error("failed to find the working directory")]
    WorkingDirectory(#[source] io::Error),
    #[error("failed to start the threads that wait for the remote")]
    Runtime(#[source] io::Error),
    #[error("failed to write the results to standard output")]
    Stdout(#[source] io::Error),
}

impl Failure {
    /// The name of the kind in machine-readable output. Those of the storage are the model.
    pub(crate) fn kind(&self) -> &'static str {
        self.error_kind().name()
    }

    /// What it means for the exit code. A cancelled operation is the signal's to decide.
    pub(crate) fn exit(&self) -> Exit {
        match self.error_kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Integrity => Exit::Integrity,
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::Remote => Exit::Remote,
            ErrorKind::Cancelled => Exit::Interrupted,
            // Unsupported, failed, and what a later storage adds.
            _ => Exit::Failed,
        }
    }

    /// Whether a signal was the cause.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.error_kind() == ErrorKind::Cancelled
    }

    /// What the user can do, where the message does not say it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Storage(larder_storage::Error::NotFound { narrowed: true, .. }) => {
                Some("without the hashes, `larder ls PATH` shows what the remote has of it")
            }
            Self::Storage(larder_storage::Error::NotFound { narrowed: false, .. }) => {
                Some("`larder ls` shows what the remote has")
            }
            Self::Storage(larder_storage::Error::Pack(PackError::Link { .. })) => {
                Some("`--dereference` stores what links point at")
            }
            _ => None,
        }
    }

    fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::CommandHash(CommandError::NotUnderWeasel { .. })
            | Self::Usage(_)
            | Self::Path(_)
            | Self::Remote { .. }
            | Self::GivenRemote(_)
            | Self::ChangeDirectory { .. } => ErrorKind::Usage,
            Self::Config(larder_config::Error::Read { .. })
            | Self::CommandHash(_)
            | Self::Hash(_)
            | Self::Site(_)
            | Self::WorkingDirectory(_)
            | Self::Runtime(_)
            | Self::Stdout(_) => ErrorKind::Failed,
            Self::Config(_) => ErrorKind::Usage,
        }
    }
}

/// The causes of an error that say more than what stands above them, outermost first.
pub(crate) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut said = error.to_string().to_lowercase();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // The system's number adds nothing where its words stand above.
        let words = text.split(" (os error ").next().unwrap_or(&text).to_lowercase();
        if !said.contains(&words) {
            said.push_str(&words);
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_those_that_add_something() {
        let denied = || io::Error::from_raw_os_error(13);
        let outer = Failure::Stdout(denied());
        assert_eq!(causes(&outer), ["Permission denied (os error 13)"]);
        let read = larder_config::Error::Read { path: "permission denied".into(), source: denied() };
        assert!(causes(&Failure::Config(read)).is_empty());
    }
}
