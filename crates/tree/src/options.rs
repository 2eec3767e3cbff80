//! The options for reading a tree.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::ignore_rules::IgnoreRules;
use crate::limits::TreeLimits;
use crate::observer::{Ignore, Observer};
use crate::stat_cache::StatCache;
use crate::workers::Workers;

/// Compares the names of two children of a directory.
pub type NameOrder = fn(&[u8], &[u8]) -> Ordering;

/// The handling of sockets, FIFOs and devices in a tree. They are never opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpecialFiles {
    /// Fails.
    #[default]
    Refuse,
    /// Skips them. A directory with nothing else in it counts as empty.
    Skip,
}

/// The options for reading a tree, such as the order, the threads and the limits.
#[derive(Clone)]
#[non_exhaustive]
pub struct TreeOptions {
    /// Whether to follow symbolic links. Off by default.
    pub dereference: bool,
    /// What to do about sockets, FIFOs and devices.
    pub special_files: SpecialFiles,
    /// The order of the children of a directory: by the bytes of their names by default.
    pub order: NameOrder,
    /// The ignore files whose patterns leave out entries. None by default.
    pub ignore: Option<IgnoreRules>,
    /// The cache of digests. None by default. Only digests are taken from it, never bytes.
    pub stat_cache: Option<StatCache>,
    /// The limits of the tree.
    pub limits: TreeLimits,
    /// The threads, new ones by default. All operations of a process should share clones of the same workers.
    pub workers: Workers,
    /// The observer, which follows the progress and may cancel. None by default.
    pub observer: Arc<dyn Observer>,
}

impl TreeOptions {
    /// Sets whether to follow symbolic links.
    #[must_use]
    pub fn with_dereference(mut self, dereference: bool) -> Self {
        self.dereference = dereference;
        self
    }

    /// Sets what to do about sockets, FIFOs and devices.
    #[must_use]
    pub fn with_special_files(mut self, special_files: SpecialFiles) -> Self {
        self.special_files = special_files;
        self
    }

    /// Sets the order of the children of a directory.
    #[must_use]
    pub fn with_order(mut self, order: NameOrder) -> Self {
        self.order = order;
        self
    }

    /// Sets the ignore files.
    #[must_use]
    pub fn with_ignore(mut self, rules: IgnoreRules) -> Self {
        self.ignore = Some(rules);
        self
    }

    /// Sets the cache of digests, or none.
    #[must_use]
    pub fn with_stat_cache(mut self, cache: Option<StatCache>) -> Self {
        self.stat_cache = cache;
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
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            dereference: false,
            special_files: SpecialFiles::default(),
            order: Ord::cmp,
            ignore: None,
            stat_cache: None,
            limits: TreeLimits::default(),
            workers: Workers::default(),
            observer: Arc::new(Ignore),
        }
    }
}

impl fmt::Debug for TreeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeOptions")
            .field("dereference", &self.dereference)
            .field("special_files", &self.special_files)
            .field("ignore", &self.ignore)
            .field("stat_cache", &self.stat_cache)
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
