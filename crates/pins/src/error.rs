//! Errors of the pins of a project.

use std::io;
use std::path::PathBuf;

use larder_tree::StateDirectoryError;

use crate::clash::PinClash;

/// The result of work on pins.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The pins of a project cannot be read or changed. `Display` is one sentence that names the file and, where there is one,
/// the line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not valid TOML.
    #[error("{}:{line}: not valid TOML: {problem}: repair the line, or restore the file from git", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The problem.
        problem: String,
    },
    /// The file has a version that this larder does not know.
    #[error("{}:{line}: the version of the format is {version}, and this larder knows only version 1: install a newer larder", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The version.
        version: String,
    },
    /// The file has a key that larder does not know.
    #[error("{}:{line}: unknown key `{key}`: {expected}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// The known keys.
        expected: &'static str,
    },
    /// A key is missing or has a wrong value.
    #[error("{}:{line}: `{key}` {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// The problem and what to do, as the end of a sentence.
        problem: String,
    },
    /// Two pins of the file clash.
    #[error("{}:{line}: {clash}", path.display())]
    Clash {
        /// The file.
        path: PathBuf,
        /// The line of the second pin, counted from 1.
        line: usize,
        /// The clash.
        clash: PinClash,
    },
    /// The pins of both sides of a merge clash.
    #[error("the merge of {} has pins that clash: {clash}", path.display())]
    MergedClash {
        /// The file.
        path: PathBuf,
        /// The clash.
        clash: PinClash,
    },
    /// The conflict markers of git are not in order.
    #[error("{}:{line}: {problem}: restore the conflict with `git checkout --merge -- larder.lock`, or repair the markers", path.display())]
    Markers {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The problem.
        problem: &'static str,
    },
    /// Both sides of a merge changed the same pins.
    #[error(
        "{} has conflicts of a merge in {}: `larder pin PATH` pins the version on disk, and `larder pin --ours` or `--theirs` takes the pins of one side",
        path.display(),
        listed(conflicts)
    )]
    Conflicts {
        /// The file.
        path: PathBuf,
        /// The paths of the outputs.
        conflicts: Vec<String>,
    },
    /// A file of the project cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file of the project cannot be written.
    #[error("failed to write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The files of the project cannot be changed.
    #[error("failed to change files of the project {}, because its directory cannot be written", root.display())]
    NotWritable {
        /// The project root.
        root: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file cannot be locked.
    #[error("failed to lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process keeps the file locked.
    #[error("{} is locked by another larder for more than {seconds} s: wait for it, or end it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// The time of the wait.
        seconds: u64,
    },
    /// The directory of larder's own state cannot be used.
    #[error(transparent)]
    State(#[from] StateDirectoryError),
}

impl Error {
    /// Returns whether the content of a file is the cause, which the user must change. Otherwise the system refused an
    /// operation.
    pub fn is_content(&self) -> bool {
        !matches!(
            self,
            Self::Read { .. }
                | Self::Write { .. }
                | Self::NotWritable { .. }
                | Self::Lock { .. }
                | Self::Busy { .. }
                | Self::State(StateDirectoryError::Io { .. })
        )
    }
}

/// The number of paths that an error lists.
const MAX_LISTED: usize = 10;

fn listed(paths: &[String]) -> String {
    let mut names: Vec<String> = paths.iter().take(MAX_LISTED).map(|path| format!("`{path}`")).collect();
    match paths.len() - names.len() {
        0 => {}
        1 => names.push("1 more".to_owned()),
        more => names.push(format!("{more} more")),
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
