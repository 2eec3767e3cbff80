//! One source of settings.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::document;
use crate::error::{Error, Result};
use crate::origin::{Origin, Place, Setting};
use crate::remote::RemoteDefinition;

/// The greatest number of threads that can be asked for: more than any machine of today has cores, and less than
/// what a typing error would start.
pub const MAX_JOBS: usize = 1024;

/// Whose configuration file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `larder.toml` at the root of a project.
    Project,
    /// The user's own, `$XDG_CONFIG_HOME/larder/config.toml`.
    User,
}

impl FileKind {
    pub(crate) fn origin(self, place: Place) -> Origin {
        match self {
            Self::Project => Origin::ProjectFile(place),
            Self::User => Origin::UserConfig(place),
        }
    }
}

/// What one source says: the flags, the environment, or a file. Each of them may leave anything out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The file, if it is one.
    pub file: Option<PathBuf>,
    /// The hash scheme, as text.
    pub hash: Option<Setting<String>>,
    /// The compression of pushed archives, as text.
    pub compression: Option<Setting<String>>,
    /// The threads of the process, at most [`MAX_JOBS`].
    pub jobs: Option<Setting<NonZeroUsize>>,
    /// After how long without progress a remote is given up.
    pub stall_timeout: Option<Setting<Duration>>,
    /// The chosen remote: a name, a path or a URL. Not in files: a file calls a remote `default`.
    pub remote: Option<Setting<String>>,
    /// The remotes that are defined, by name. Only in files.
    pub remotes: BTreeMap<String, RemoteDefinition>,
}

impl Layer {
    /// Reads a configuration file; `None` where it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not valid.
    pub fn read(path: &Path, kind: FileKind) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, path, kind).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        }
    }

    /// Takes the text of the configuration file at `path`.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or has a key or value that larder does not know. The error names file, line and key.
    pub fn from_toml(text: &str, path: &Path, kind: FileKind) -> Result<Self> {
        document::parse(text, path, kind)
    }
}

/// Takes a number of seconds as a stall timeout. `None` where it is not above 0, or beyond what a clock can count.
pub fn stall_timeout(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}
