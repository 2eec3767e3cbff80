//! Manifests, whose digests are hashes.

use std::io::{self, Write};

use larder_tree::{EntryKind, TreeEntry};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::digest::{Digest, DigestHasher, Scheme};
use crate::error::HashError;
use crate::hash_text::ContentHash;

/// The bytes that are encoded in a manifest.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Encodes a name for a line of a manifest: every byte outside `A-Za-z0-9-._~/` is `%XX`.
pub(crate) fn encoded(bytes: &[u8]) -> percent_encoding::PercentEncode<'_> {
    percent_encode(bytes, &ENCODED)
}

/// The size of the pieces in which a manifest is hashed, in bytes. BLAKE3 is fastest with pieces of this size.
const BUFFER: usize = 16 << 10;

/// Computes the content hash of a directory from its entries. It hashes the manifest while that grows, and does not keep it.
///
/// The entries must come in the order of the manifest: depth first, and the children of a directory by the bytes of their
/// names. [`TreeReader`](larder_tree::TreeReader) returns them in this order.
///
/// ```
/// use larder_hashing::{Scheme, TreeHasher};
/// use larder_tree::EntryKind;
///
/// let mut hasher = TreeHasher::new(Scheme::Blake3).expect("only weasel has no manifests");
/// let digest = Scheme::Blake3.digest(b"x");
/// hasher.add(&EntryKind::File { executable: false }, 1, Some(&digest), b"a");
/// assert!(hasher.finish().as_str().starts_with("blake3-tree-"));
/// ```
pub struct TreeHasher<'a> {
    scheme: Scheme,
    hasher: DigestHasher,
    lines: Vec<u8>,
    copy: Option<&'a mut dyn Write>,
    failed: Option<io::Error>,
}

impl<'a> TreeHasher<'a> {
    /// Starts a manifest. Returns `None` under [`Scheme::Weasel`], which has no manifests.
    pub fn new(scheme: Scheme) -> Option<Self> {
        (scheme != Scheme::Weasel).then(|| Self {
            scheme,
            hasher: DigestHasher::new(scheme),
            lines: b"larder-tree 1\n".to_vec(),
            copy: None,
            failed: None,
        })
    }

    /// Also writes the manifest to `copy`.
    #[must_use]
    pub fn with_copy(mut self, copy: &'a mut dyn Write) -> Self {
        self.copy = Some(copy);
        self
    }

    /// Adds the next entry. Directories with entries, and the output itself (the empty path), have no line. They may be added or
    /// left out.
    pub fn add(&mut self, kind: &EntryKind, size: u64, digest: Option<&Digest>, path: &[u8]) {
        if path.is_empty() {
            return;
        }
        let letter = match kind {
            EntryKind::Directory { is_empty: false } => return,
            EntryKind::Directory { is_empty: true } => 'd',
            EntryKind::File { executable: false } => 'f',
            EntryKind::File { executable: true } => 'x',
            EntryKind::Symlink { .. } => 'l',
        };
        let path = encoded(path);
        // Writing to a vector does not fail.
        let _ = match digest {
            Some(digest) if letter != 'd' => writeln!(self.lines, "{letter} {size} {digest} {path}"),
            _ => writeln!(self.lines, "{letter} - - {path}"),
        };
        if self.lines.len() >= BUFFER {
            self.flush();
        }
    }

    /// Adds an entry of a [`TreeReader`](larder_tree::TreeReader) with its digest.
    pub fn add_entry(&mut self, entry: &TreeEntry<Digest>) {
        self.add(&entry.kind, entry.size, entry.digest.as_ref(), &entry.path);
    }

    fn flush(&mut self) {
        self.hasher.update(&self.lines);
        if let Some(copy) = self.copy.as_mut().filter(|_| self.failed.is_none()) {
            self.failed = copy.write_all(&self.lines).err();
        }
        self.lines.clear();
    }

    /// Returns the content hash of the directory.
    pub fn finish(mut self) -> ContentHash {
        self.flush();
        ContentHash::of_tree(self.scheme, &self.hasher.finish())
    }

    /// Returns the content hash of the directory, if the copy of the manifest was written.
    ///
    /// # Errors
    ///
    /// [`HashError::Manifest`]: the copy could not be written.
    pub fn finish_copy(mut self) -> Result<ContentHash, HashError> {
        self.flush();
        match self.failed.take() {
            Some(error) => Err(HashError::Manifest(error)),
            None => Ok(self.finish()),
        }
    }
}

impl std::fmt::Debug for TreeHasher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeHasher").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
