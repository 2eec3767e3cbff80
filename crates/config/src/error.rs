//! Errors of the configuration.

use std::io;
use std::path::PathBuf;

use crate::origin::{Origin, Place};

/// The result of reading the configuration.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The configuration cannot be used. `Display` is one sentence that names the file and the line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file exists and cannot be read.
    #[error("failed to read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// What has the name of a configuration file is something else.
    #[error("the configuration file {} {problem}: make it a file, or remove it", path.display())]
    NotAFile {
        /// What has the name.
        path: PathBuf,
        /// What it is, as a part of a sentence.
        problem: &'static str,
    },
    /// A file is no TOML.
    #[error("{place}: not valid TOML: {problem}")]
    Syntax {
        /// Where it stops to be TOML.
        place: Place,
        /// What is wrong there.
        problem: String,
    },
    /// A key that larder does not know.
    #[error("{place}: unknown key `{key}`: {expected}")]
    UnknownKey {
        /// Where the key stands.
        place: Place,
        /// The key, with the names of its tables.
        key: String,
        /// What is known instead.
        expected: &'static str,
    },
    /// A key has a value that it cannot have.
    #[error("{place}: `{key}` {problem}")]
    Value {
        /// Where the value stands.
        place: Place,
        /// The key, with the names of its tables.
        key: String,
        /// What it must be, as the end of a sentence.
        problem: String,
    },
    /// The text of a setting means nothing.
    #[error("{origin}: {problem}")]
    Setting {
        /// Who gave it.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is no remote's.
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
        /// Who gave the name.
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
    /// Remotes that are other names for each other.
    #[error("{origin}: the remote `{name}` is only another name for itself")]
    Circular {
        /// The name.
        name: String,
        /// Who defined it.
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
