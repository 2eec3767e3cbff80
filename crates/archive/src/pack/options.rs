//! How to pack.

use std::fmt;
use std::sync::Arc;

use larder_hashing::{HashOptions, Scheme};
use larder_tree::{Ignore, Observer, TreeOptions, Workers};

use crate::compression::Compression;
use crate::limits::Limits;

/// Half of what a push may use in all. Ten thousand small files of 4 KiB fit into it; their second reading cost a third
/// of the time of such a push.
const KEPT_BYTES: usize = 64 << 20;

/// How to pack an output: hashed and compressed how, on which threads, watched by whom.
#[derive(Clone)]
#[non_exhaustive]
pub struct PackOptions {
    /// The scheme of the content hash. BLAKE3 by default.
    pub scheme: Scheme,
    /// The compression. zstd at level 3 by default, gzip under [`Scheme::Weasel`].
    pub compression: Compression,
    /// Whether links are replaced by what they point at. Not so by default.
    pub dereference: bool,
    /// What is refused for its size: by default what unpacking would refuse.
    pub limits: Limits,
    /// How large the archive of an output may be, before compression and in bytes, to be kept in memory between
    /// [`crate::prepare`] and packing; a larger output is read twice. 64 MiB by default.
    pub kept_bytes: usize,
    /// The threads. Two sets of their own by default: give all operations of a process the same.
    pub workers: Workers,
    /// Who learns of the bytes that are read, and may ask to stop. Nobody by default.
    pub observer: Arc<dyn Observer>,
}

impl PackOptions {
    /// Hashes under `scheme`, with the defaults for everything else.
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            compression: if scheme == Scheme::Weasel { Compression::gzip() } else { Compression::default() },
            dereference: false,
            limits: Limits::default(),
            kept_bytes: KEPT_BYTES,
            workers: Workers::default(),
            observer: Arc::new(Ignore),
        }
    }

    /// Sets the compression.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Replaces links by what they point at, or not.
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

    pub(super) fn tree_options(&self) -> TreeOptions {
        HashOptions::new(self.scheme)
            .with_dereference(self.dereference)
            .with_limits(self.limits.tree)
            .with_workers(self.workers.clone())
            .with_observer(Arc::clone(&self.observer))
            .tree_options()
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
