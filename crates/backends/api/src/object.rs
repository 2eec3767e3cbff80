//! What a backend says about an object.

use std::fmt;
use std::time::SystemTime;

use crate::key::Key;

/// Identifies the bytes of an object: another write gives another version. The text is the backend's own (an `ETag`, a
/// generation, a file's identity and times) and means nothing outside it.
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

/// An object, or in a listing with a delimiter a common prefix, as the remote describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// The name of the object.
    pub key: Key,
    /// The size of the object, in bytes.
    pub size: u64,
    /// When the object was published, by the remote's clock.
    pub last_modified: SystemTime,
    /// Which bytes these are, where the remote tells.
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
