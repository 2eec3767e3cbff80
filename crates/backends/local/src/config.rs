//! The configuration of a remote.

use std::path::PathBuf;
use std::time::Duration;

/// How to open a [`crate::LocalBackend`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalConfig {
    /// The directory of the remote. A relative path starts at the working directory.
    pub root: PathBuf,
    /// The directories that the first upload may create.
    pub create: CreateRoot,
    /// The time without an answer after which an operation fails, for example because the server of a share is gone. By
    /// default there is no limit. Publishing has none either, because a flush to the disk may take any time.
    pub stall_timeout: Option<Duration>,
}

/// The directories that an upload may create if the root of the remote is missing. Other operations create none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateRoot {
    /// None: the root must exist.
    Never,
    /// The root, but not its parents. A share that is not mounted, or a typo in the path, is then an error.
    #[default]
    LastComponent,
    /// The root and its parents.
    All,
}

impl LocalConfig {
    /// Configures a remote in the directory `root`. An upload creates at most the last component of the path.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), create: CreateRoot::default(), stall_timeout: None }
    }

    /// Sets the directories that the first upload may create.
    #[must_use]
    pub fn with_create(mut self, create: CreateRoot) -> Self {
        self.create = create;
        self
    }

    /// Sets the time without an answer after which an operation fails.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout;
        self
    }
}
