//! The description of an object.

use std::fmt;
use std::time::SystemTime;

use crate::key::Key;

/// Identifies the bytes of an object: every write gives another version. The text (an `ETag`, a generation, the identity and
/// times of a file) has a meaning for the backend only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// Wraps the backend's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The backend's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An object as the remote describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// The name of the object.
    pub key: Key,
    /// The size of the object, in bytes.
    pub size: u64,
    /// When the object was published, by the remote's clock.
    pub last_modified: SystemTime,
    /// The version of the bytes, if the remote reports it.
    pub version: Option<Version>,
}

impl ObjectMeta {
    /// Describes an object whose version is not known.
    pub fn new(key: Key, size: u64, last_modified: SystemTime) -> Self {
        Self { key, size, last_modified, version: None }
    }

    /// Adds the version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }
}
