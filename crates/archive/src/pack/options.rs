//! How to pack.

use std::fmt;
use std::sync::Arc;

use larder_hashing::{HashOptions, Scheme};
use larder_tree::{Ignore, Observer, StatCache, TreeOptions, Workers};

use crate::compression::Compression;
use crate::limits::Limits;

/// Half of the memory of a push. Ten thousand files of 4 KiB fit into it. Reading them twice took a third of the time of
/// such a push.
const KEPT_BYTES: usize = 64 << 20;

/// Options for packing an output.
#[derive(Clone)]
#[non_exhaustive]
pub struct PackOptions {
    /// The scheme of the content hash. BLAKE3 by default.
    pub scheme: Scheme,
    /// The compression. zstd at level 3 by default, gzip under [`Scheme::Weasel`].
    pub compression: Compression,
    /// Whether links are replaced by their targets. Off by default.
    pub dereference: bool,
    /// The limits. The default is the same as for unpacking.
    pub limits: Limits,
    /// The largest uncompressed archive that is kept in memory between [`crate::prepare`] and packing, in bytes. A larger
    /// output is read twice. The default is 64 MiB.
    pub kept_bytes: usize,
    /// The threads. By default new ones: give all operations of a process clones of the same.
    pub workers: Workers,
    /// Follows the progress in bytes read, and may cancel. Nobody by default.
    pub observer: Arc<dyn Observer>,
    /// The cache of digests for [`crate::prepare`]. None by default. Packing itself reads every byte.
    pub stat_cache: Option<StatCache>,
}

impl PackOptions {
    /// Creates options for `scheme`, with the defaults for everything else.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            compression: if scheme == Scheme::Weasel { Compression::gzip() } else { Compression::default() },
            dereference: false,
            limits: Limits::default(),
            kept_bytes: KEPT_BYTES,
            workers: Workers::default(),
            observer: Arc::new(Ignore),
            stat_cache: None,
        }
    }

    /// Sets the compression.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets whether links are replaced by their targets.
    #[must_use]
    pub fn with_dereference(mut self, dereference: bool) -> Self {
        self.dereference = dereference;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how much is kept in memory, in bytes.
    #[must_use]
    pub fn with_kept_bytes(mut self, bytes: usize) -> Self {
        self.kept_bytes = bytes;
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

    /// Sets the cache of digests, or none.
    #[must_use]
    pub fn with_stat_cache(mut self, cache: Option<StatCache>) -> Self {
        self.stat_cache = cache;
        self
    }

    pub(super) fn tree_options(&self) -> TreeOptions {
        let tree = TreeOptions::default()
            .with_stat_cache(self.stat_cache.clone())
            .with_dereference(self.dereference)
            .with_limits(self.limits.tree)
            .with_workers(self.workers.clone())
            .with_observer(Arc::clone(&self.observer));
        HashOptions::new(self.scheme).with_tree(tree).tree_options()
    }
}

impl Default for PackOptions {
    fn default() -> Self {
        Self::new(Scheme::default())
    }
}

impl fmt::Debug for PackOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackOptions")
            .field("scheme", &self.scheme)
            .field("compression", &self.compression)
            .field("dereference", &self.dereference)
            .field("limits", &self.limits)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
