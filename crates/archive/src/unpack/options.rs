//! How to unpack.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use larder_hashing::Scheme;
use larder_tree::{Ignore, Observer, StatCache, Workers};

use crate::limits::Limits;

/// Options for unpacking an archive.
#[derive(Clone)]
#[non_exhaustive]
pub struct UnpackOptions {
    /// The scheme of the content hash to compute. By default nothing is hashed.
    pub scheme: Option<Scheme>,
    /// The limits of the archive.
    pub limits: Limits,
    /// The threads. By default new ones: give all operations of a process clones of the same.
    pub workers: Workers,
    /// Follows the progress in bytes of the archive, and may cancel. Nobody by default.
    pub observer: Arc<dyn Observer>,
    /// A guard of the destination, such as one that removes it on drop. Every thread holds it until it has stopped writing,
    /// which may be a moment after [`crate::unpack`] has returned an error. None by default.
    pub keep_alive: Option<Arc<dyn Any + Send + Sync>>,
    /// The cache that records the digests of the unpacked files, and the path where the output will be. None by default.
    pub remember: Option<(StatCache, PathBuf)>,
}

impl UnpackOptions {
    /// Computes a content hash, or none.
    #[must_use]
    pub fn with_scheme(mut self, scheme: Option<Scheme>) -> Self {
        self.scheme = scheme;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the threads.
    #[must_use]
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the observer.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Records the digests of the unpacked files for an output at `destination`, where the caller moves the unpacked directory.
    /// Nobody else may write to it before. An output that is a file is not recorded.
    #[must_use]
    pub fn with_remember(mut self, cache: StatCache, destination: PathBuf) -> Self {
        self.remember = Some((cache, destination));
        self
    }

    /// Sets a guard, which is held as long as a thread may write.
    #[must_use]
    pub fn with_keep_alive(mut self, guard: Arc<dyn Any + Send + Sync>) -> Self {
        self.keep_alive = Some(guard);
        self
    }
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            scheme: None,
            limits: Limits::default(),
            workers: Workers::default(),
            observer: Arc::new(Ignore),
            keep_alive: None,
            remember: None,
        }
    }
}

impl fmt::Debug for UnpackOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnpackOptions")
            .field("scheme", &self.scheme)
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
