//! The origin of a value.

use std::fmt;
use std::path::PathBuf;

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// The source of a value.
///
/// The files of a project come with a clone, from people whom the user may not know. So a project file must
/// not weaken verification, host keys or limits, or send credentials to a server. See
/// [`Origin::is_project_file`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, such as `--hash`.
    Flag(&'static str),
    /// An environment variable, such as `LARDER_HASH`.
    Environment(&'static str),
    /// A line of the project's `larder.toml`.
    ProjectFile(FilePlace),
    /// A line of the user's own configuration.
    UserConfig(FilePlace),
    /// The default.
    Default,
}

impl Origin {
    /// Returns whether the value comes from a file of the project, not from the user.
    pub fn is_project_file(&self) -> bool {
        matches!(self, Self::ProjectFile(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::ProjectFile(place) | Self::UserConfig(place) => place.fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}
