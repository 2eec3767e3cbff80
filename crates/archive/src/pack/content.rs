//! Computes the content hash of an output while it is packed.

use larder_hashing::{ContentHash, Digest, DigestHasher, Scheme, TreeHasher, digest_file, hash_file_into};
use larder_tree::{EntryKind, OpenFile, TreeError, Workers};

/// Takes entries in order, each after its bytes, and returns the content hash of the output.
pub(super) enum ContentHasher {
    /// A scheme with manifests.
    Manifest {
        scheme: Scheme,
        tree: Box<TreeHasher<'static>>,
        file: Option<Digest>,
        bytes: Option<DigestHasher>,
    },
    /// Weasel's scheme hashes the bytes of all files, one after the other.
    Bytes(DigestHasher),
}

impl ContentHasher {
    pub(super) fn new(scheme: Scheme) -> Self {
        match TreeHasher::new(scheme) {
            Some(tree) => Self::Manifest { scheme, tree: Box::new(tree), file: None, bytes: None },
            None => Self::Bytes(DigestHasher::new(scheme)),
        }
    }

    /// Takes the next bytes of a file without a digest.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Manifest { scheme, bytes: hasher, .. } => {
                hasher.get_or_insert_with(|| DigestHasher::new(*scheme)).update(bytes);
            }
            Self::Bytes(hasher) => hasher.update(bytes),
        }
    }

    /// Takes a whole large file, and returns its digest if the scheme has one.
    pub(super) fn hash_file(
        &mut self,
        file: OpenFile,
        workers: &Workers,
    ) -> Result<Option<Digest>, TreeError> {
        match self {
            Self::Manifest { scheme, .. } => digest_file(file, *scheme, workers).map(Some),
            Self::Bytes(hasher) => hash_file_into(file, hasher, workers).map(|()| None),
        }
    }

    /// Takes an entry, with its digest or after its bytes. Returns its digest if the scheme has one.
    pub(super) fn add(
        &mut self,
        kind: &EntryKind,
        size: u64,
        digest: Option<Digest>,
        path: &[u8],
    ) -> Option<Digest> {
        let Self::Manifest { scheme, tree, file, bytes } = self else { return None };
        let is_file = matches!(kind, EntryKind::File { .. });
        let read = || bytes.take().unwrap_or_else(|| DigestHasher::new(*scheme)).finish();
        let digest = digest.or_else(|| is_file.then(read));
        if is_file && path.is_empty() {
            *file = digest;
        } else {
            tree.add(kind, size, digest.as_ref(), path);
        }
        digest
    }

    pub(super) fn finish(self) -> ContentHash {
        match self {
            Self::Manifest { scheme, file: Some(digest), .. } => ContentHash::of_file(scheme, &digest),
            Self::Manifest { tree, .. } => tree.finish(),
            Self::Bytes(hasher) => ContentHash::of_tree(Scheme::Weasel, &hasher.finish()),
        }
    }
}
