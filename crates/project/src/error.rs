//! Errors of a project.

use std::fmt;
use std::io;
use std::path::PathBuf;

use larder_hashing::{CommandError, HashError, InvalidOutputPath};
use larder_storage::ErrorKind;

/// The result of an operation on a project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// An operation on a project failed. `Display` says what failed and what to do; `source()` says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no project.
    #[error("there is no {}: name the directory of a project, or run this in one", path.display())]
    NoProject {
        /// The missing file.
        path: PathBuf,
    },
    /// Something else than a file, or a far too large file, is in the place of `project.yml`.
    #[error("failed to read {}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is, and what to do.
        source: io::Error,
    },
    /// A file of the project cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file of the project, or a directory that it names, cannot be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not the YAML that weasel reads.
    #[error("{place}: not valid YAML: {problem}")]
    Yaml {
        /// The line of the problem.
        place: SourceLine,
        /// The problem.
        problem: String,
    },
    /// A value of a file is invalid.
    #[error("{place}: `{key}` {problem}")]
    Invalid {
        /// Its line.
        place: SourceLine,
        /// Its path of keys.
        key: String,
        /// What it must be, as the end of a sentence.
        problem: String,
    },
    /// A variable cannot be replaced by its value.
    #[error("{place}: the variable `{variable}` {problem}")]
    Variable {
        /// Its line, if it is known.
        place: SourceLine,
        /// Its name.
        variable: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// An argument is not an override.
    #[error("{origin}: `{word}` overrides nothing: {problem}")]
    Override {
        /// Its source.
        origin: &'static str,
        /// The argument.
        word: String,
        /// What it must be.
        problem: String,
    },
    /// No command or workflow of the project has this name.
    #[error("{} has no command `{name}`: {}", path.display(), known_commands(known))]
    UnknownCommand {
        /// The project file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The names of the commands and the workflows.
        known: Vec<String>,
    },
    /// The path cannot be an output.
    #[error(transparent)]
    Path(#[from] InvalidOutputPath),
    /// A file of the project could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// A command could not be hashed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The content of an object does not have the hash in its name, or is not an archive of the output.
    #[error("{url} {}", if larder_storage::holds_refused(&**source) {
        "holds an entry that larder does not restore: run the command again"
    } else {
        "is damaged: `larder project push --force` repairs it where the output is whole"
    })]
    Damaged {
        /// The object.
        url: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(larder_storage::Error),
}

impl From<larder_storage::Error> for Error {
    fn from(error: larder_storage::Error) -> Self {
        match error {
            larder_storage::Error::Damaged { url, source } => Self::Damaged { url, source },
            error => Self::Storage(error),
        }
    }
}

impl Error {
    /// Returns whether no other output can succeed, because the remote cannot be used or the user interrupted
    /// the command.
    pub(crate) fn ends_everything(&self) -> bool {
        matches!(self.kind(), ErrorKind::Remote | ErrorKind::Cancelled)
    }

    /// Returns the kind of the failure, for code.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProject { .. }
            | Self::NotAFile { .. }
            | Self::Yaml { .. }
            | Self::Invalid { .. }
            | Self::Variable { .. }
            | Self::Override { .. }
            | Self::UnknownCommand { .. }
            | Self::Path(_) => ErrorKind::Usage,
            Self::Hash(error) if error.is_cancelled() => ErrorKind::Cancelled,
            Self::Command(CommandError::Dependency { source, .. }) if source.is_cancelled() => {
                ErrorKind::Cancelled
            }
            Self::Damaged { .. } => ErrorKind::Integrity,
            Self::Storage(error) => error.kind(),
            Self::Read { .. } | Self::Write { .. } | Self::Hash(_) | Self::Command(_) => ErrorKind::Failed,
        }
    }
}

fn known_commands(known: &[String]) -> String {
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("there are {}", names.join(", "))
}
