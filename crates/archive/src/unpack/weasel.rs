//! Weasel's hash of an output, computed while it is unpacked.
//!
//! It is the MD5 of the bytes of all files, in the order of nearly all archives. If an archive has another order, or links,
//! the finished tree is hashed instead.

use larder_hashing::{ContentHash, DigestHasher, Scheme, compare_weasel_paths};

/// Hashes files as long as they come in weasel's order.
pub(super) struct InOrder {
    hasher: DigestHasher,
    last: Option<Vec<u8>>,
}

impl InOrder {
    /// `None` under another scheme.
    pub(super) fn new(scheme: Option<Scheme>) -> Option<Self> {
        let is_weasel = scheme == Some(Scheme::Weasel);
        is_weasel.then(|| Self { hasher: DigestHasher::new(Scheme::Weasel), last: None })
    }

    /// Whether the next file is in order. Its bytes follow.
    pub(super) fn begin(&mut self, path: &[u8]) -> bool {
        let is_next = self.last.as_deref().is_none_or(|last| compare_weasel_paths(last, path).is_lt());
        self.last = Some(path.to_owned());
        is_next
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(super) fn finish(self) -> ContentHash {
        ContentHash::of_tree(Scheme::Weasel, &self.hasher.finish())
    }
}
