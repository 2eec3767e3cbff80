//! One source of settings.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::origin::{FilePlace, Origin};
use crate::remote::RemoteDefinition;
use crate::setting::Setting;

/// The maximum number of threads. It exceeds the number of cores of any machine, and is small enough to catch
/// typos.
pub const MAX_JOBS: usize = 1024;

/// The owner of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `larder.toml` at the root of a project.
    Project,
    /// The user's own, `$XDG_CONFIG_HOME/larder/config.toml`.
    User,
}

impl FileKind {
    pub(crate) fn origin(self, place: FilePlace) -> Origin {
        match self {
            Self::Project => Origin::ProjectFile(place),
            Self::User => Origin::UserConfig(place),
        }
    }
}

/// The settings of one source: the flags, the environment, or a file. Every setting is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The file, if the source is a file.
    pub file: Option<PathBuf>,
    /// The hash scheme, as text.
    pub hash: Option<Setting<String>>,
    /// The compression of pushed archives, as text.
    pub compression: Option<Setting<String>>,
    /// The number of threads of the process, at most [`MAX_JOBS`].
    pub jobs: Option<Setting<NonZeroUsize>>,
    /// How long a remote may make no progress before larder gives up on it.
    pub stall_timeout: Option<Setting<Duration>>,
    /// How long a run waits for an answer when it looks for its outputs in the remote.
    pub run_lookup_timeout: Option<Setting<Duration>>,
    /// Whether run records name the user and the machine.
    pub record_identity: Option<Setting<bool>>,
    /// Whether digests of files are remembered, so that unchanged files are not read again.
    pub stat_cache: Option<Setting<bool>>,
    /// The chosen remote: a name, a path or a URL. Never set by a file: a file names its remote `default`
    /// instead.
    pub remote: Option<Setting<String>>,
    /// The defined remotes, by name. Only files define remotes.
    pub remotes: BTreeMap<String, RemoteDefinition>,
}

/// Converts seconds to a stall timeout. Returns `None` unless the number is above 0 and fits into a `Duration`.
pub fn stall_timeout(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}
