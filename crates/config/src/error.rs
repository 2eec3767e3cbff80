//! Errors of the configuration.

use std::io;
use std::path::PathBuf;

use crate::origin::{FilePlace, Origin};

/// The result of reading the configuration.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The configuration cannot be used. `Display` is one sentence that names the file and the line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file exists but cannot be read.
    #[error("failed to read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A configuration file is not a regular file, or too large.
    #[error("the configuration file {} {problem}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is wrong and what to do, as the end of a sentence.
        problem: &'static str,
    },
    /// A file is not valid TOML.
    #[error("{place}: not valid TOML: {problem}")]
    Syntax {
        /// The line of the problem.
        place: FilePlace,
        /// The problem.
        problem: String,
    },
    /// A file has a key that larder does not know.
    #[error("{place}: unknown key `{key}`: {expected}")]
    UnknownKey {
        /// The line of the key.
        place: FilePlace,
        /// The key, with the names of its tables.
        key: String,
        /// The known keys.
        expected: &'static str,
    },
    /// A key has a wrong value.
    #[error("{place}: `{key}` {problem}")]
    Value {
        /// The line of the value.
        place: FilePlace,
        /// The key, with the names of its tables.
        key: String,
        /// The expected value, as the end of a sentence.
        problem: String,
    },
    /// The text of a setting cannot be read.
    #[error("{origin}: {problem}")]
    Setting {
        /// Where it comes from.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// No remote has the name.
    #[error(
        "{}there is no remote named `{name}`: {}; for a directory write `./{name}`",
        named_by(origin),
        known_remotes(known)
    )]
    UnknownRemote {
        /// The name.
        name: String,
        /// The names that are configured.
        known: Vec<String>,
        /// Where the name comes from.
        origin: Origin,
    },
    /// Several remotes are configured, and none is chosen.
    #[error(
        "several remotes are configured, and none is called `default`: choose one of {} with `-r`",
        quoted(known)
    )]
    SeveralRemotes {
        /// The names that are configured.
        known: Vec<String>,
    },
    /// Remotes name each other in a circle.
    #[error("{origin}: the remote `{name}` is only another name for itself")]
    Circular {
        /// The name.
        name: String,
        /// Where it is defined.
        origin: Origin,
    },
}

fn named_by(origin: &Origin) -> String {
    match origin {
        Origin::Flag(_) | Origin::Default => String::new(),
        origin => format!("{origin}: "),
    }
}

fn known_remotes(known: &[String]) -> String {
    match known {
        [] => "none is configured".to_owned(),
        [only] => format!("the only one is `{only}`"),
        known => format!("there are {}", quoted(known)),
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
