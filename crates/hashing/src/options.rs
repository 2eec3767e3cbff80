//! How to hash.

use std::fmt;
use std::sync::Arc;

use larder_tree::{Ignore, Observer, TreeLimits, TreeOptions, Workers};

use crate::digest::Scheme;
use crate::weasel;

/// How to hash an output: under which scheme, on which threads, within which limits.
#[derive(Clone)]
#[non_exhaustive]
pub struct HashOptions {
    /// The scheme. BLAKE3 by default.
    pub scheme: Scheme,
    /// Whether to follow symbolic links. Off by default.
    pub dereference: bool,
    /// The limits of the tree.
    pub limits: TreeLimits,
    /// The threads. By default new ones: give all operations of a process clones of the same.
    pub workers: Workers,
    /// Follows the progress, and may cancel. Nobody by default.
    pub observer: Arc<dyn Observer>,
}

impl HashOptions {
    /// Creates options for `scheme`, with the defaults for everything else.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            dereference: false,
            limits: TreeLimits::default(),
            workers: Workers::default(),
            observer: Arc::new(Ignore),
        }
    }

    /// Follows symbolic links, or not.
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

    /// How to read the tree that is hashed: in the order that the scheme needs.
    pub fn tree_options(&self) -> TreeOptions {
        let options = TreeOptions::default()
            .with_dereference(self.dereference)
            .with_limits(self.limits)
            .with_workers(self.workers.clone())
            .with_observer(Arc::clone(&self.observer));
        if self.scheme.has_manifests() { options } else { options.with_order(weasel::compare_names) }
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
