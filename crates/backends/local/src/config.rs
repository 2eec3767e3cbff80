//! Where the remote is.

use std::path::PathBuf;
use std::time::Duration;

/// How to open a [`crate::LocalBackend`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalConfig {
    /// The directory that is the remote. Relative to the working directory where it is not absolute.
    pub root: PathBuf,
    /// What the first upload may create.
    pub create: CreateRoot,
    /// After how long without an answer an operation fails, as one on a share does whose server is gone. By default
    /// it waits for ever. Publishing has no such limit: what is flushed to a disk then may take its time.
    pub stall_timeout: Option<Duration>,
}

/// What an upload may create where the root of the remote is missing. Nothing else ever creates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreateRoot {
    /// Nothing: the root has to be there.
    Never,
    /// The root, but not its parents: a share that is not mounted, or a typo in a path, is then an error.
    #[default]
    LastComponent,
    /// The root and its parents.
    All,
}

impl LocalConfig {
    /// The remote in the directory `root`, of which an upload creates at most the last component.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), create: CreateRoot::default(), stall_timeout: None }
    }

    /// Says what the first upload may create.
    #[must_use]
    pub fn with_create(mut self, create: CreateRoot) -> Self {
        self.create = create;
        self
    }

    /// Says after how long without an answer an operation fails.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout;
        self
    }
}
