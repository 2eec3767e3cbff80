//! How to read and hash.

use std::fmt;
use std::sync::Arc;

use crate::digest::Scheme;
use crate::workers::{Ignore, Observer, Workers};

/// What a tree may be at the most. The defaults are those that archives have when they are unpacked, so what was
/// packed under them can be unpacked under them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeLimits {
    /// Files, directories and links, the output itself included.
    pub entries: u64,
    /// Components of a path, those of the output's own path not counted.
    pub depth: usize,
    /// The length of a path relative to the output, in bytes.
    pub path_bytes: usize,
}

impl TreeLimits {
    /// Sets the number of entries.
    #[must_use]
    pub const fn with_entries(mut self, entries: u64) -> Self {
        self.entries = entries;
        self
    }

    /// Sets the number of components of a path.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets the length of a path, in bytes.
    #[must_use]
    pub const fn with_path_bytes(mut self, bytes: usize) -> Self {
        self.path_bytes = bytes;
        self
    }
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { entries: 50_000_000, depth: 256, path_bytes: 4095 }
    }
}

/// How to hash an output: under which scheme, on which threads, watched by whom.
#[derive(Clone)]
#[non_exhaustive]
pub struct HashOptions {
    /// The scheme. BLAKE3 by default.
    pub scheme: Scheme,
    /// Whether links are replaced by what they point at. Not so by default.
    pub dereference: bool,
    /// What is refused for its size.
    pub limits: TreeLimits,
    /// The threads. Two sets of their own, one per core each, by default: give all operations of a process the same.
    pub workers: Workers,
    /// Who learns how far it has come. Nobody by default.
    pub observer: Arc<dyn Observer>,
}

impl HashOptions {
    /// Hashes under `scheme`, with the defaults for everything else.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            dereference: false,
            limits: TreeLimits::default(),
            workers: Workers::default(),
            observer: Arc::new(Ignore),
        }
    }

    /// Replaces links by what they point at, or not.
    #[must_use]
    pub fn with_dereference(mut self, dereference: bool) -> Self {
        self.dereference = dereference;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: TreeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Works on these threads.
    #[must_use]
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Tells `observer` how far it has come, and stops when it says so.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }
}

impl Default for HashOptions {
    fn default() -> Self {
        Self::new(Scheme::default())
    }
}

impl fmt::Debug for HashOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashOptions")
            .field("scheme", &self.scheme)
            .field("dereference", &self.dereference)
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
