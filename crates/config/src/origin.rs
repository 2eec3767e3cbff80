//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// Who decided a value.
///
/// Files of a project come with a clone, from people whom the user may not know: what weakens verification, host
/// keys or limits, or sends credentials somewhere, may come from anywhere but from there. See
/// [`Origin::is_project_file`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, such as `--hash`.
    Flag(&'static str),
    /// An environment variable, such as `LARDER_HASH`.
    Environment(&'static str),
    /// A line of the project's `larder.toml`.
    ProjectFile(Place),
    /// A line of the user's own configuration.
    UserConfig(Place),
    /// Nobody: it is the default.
    Default,
}

impl Origin {
    /// Whether a file of the project decided, and not the user.
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

/// A value, and who decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who decided it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// A value that was given by the flag `name`.
    pub fn flag(name: &'static str, value: T) -> Self {
        Self { value, origin: Origin::Flag(name) }
    }

    /// A value of the environment variable `name`.
    pub fn environment(name: &'static str, value: T) -> Self {
        Self { value, origin: Origin::Environment(name) }
    }
}

impl Setting<String> {
    /// Reads the text as a `T`.
    ///
    /// # Errors
    ///
    /// The text is none; the error says where it stands.
    pub fn parse<T>(&self) -> Result<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.value.parse().map_err(|error: T::Err| Error::Setting {
            origin: self.origin.clone(),
            problem: error.to_string(),
        })
    }
}
