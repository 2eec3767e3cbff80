//! The boundary to the code that hashes.

use std::convert::Infallible;

use crate::error::TreeError;
use crate::file::OpenFile;
use crate::workers::Workers;

/// Computes digests of files for a [`TreeReader`](crate::TreeReader), on the threads that read them.
pub trait FileDigester: Clone + Send + Sync + 'static {
    /// The digest of a file.
    type Digest: Send + 'static;

    /// Returns the digest of the bytes of a small file or of a link target. Returns `None` if this digester
    /// computes no digests.
    fn digest(&self, bytes: &[u8]) -> Option<Self::Digest>;

    /// Returns whether [`FileDigester::digest_file`] uses several threads for one file. If it does, the
    /// reader hashes one large file at a time. Otherwise it hashes several at once.
    fn is_parallel(&self) -> bool;

    /// Returns the name under which a [`StatCache`](crate::StatCache) keeps the digests. Returns `None` if they
    /// are not kept.
    fn cache_name(&self) -> Option<&'static str>;

    /// Returns the bytes of a digest, for the cache.
    fn digest_bytes(digest: &Self::Digest) -> Option<[u8; 32]>;

    /// Returns the digest with these bytes.
    fn digest_of_bytes(bytes: [u8; 32]) -> Option<Self::Digest>;

    /// Returns the digest of a large file. It is computed on the compute threads of `workers`, or without
    /// `workers` on the current thread.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::read`].
    fn digest_file(
        &self,
        file: OpenFile,
        workers: Option<&Workers>,
    ) -> Result<Option<Self::Digest>, TreeError>;
}

/// A [`FileDigester`] that computes no digests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDigest;

impl FileDigester for NoDigest {
    type Digest = Infallible;

    fn digest(&self, _bytes: &[u8]) -> Option<Infallible> {
        None
    }

    fn is_parallel(&self) -> bool {
        false
    }

    fn cache_name(&self) -> Option<&'static str> {
        None
    }

    fn digest_bytes(digest: &Infallible) -> Option<[u8; 32]> {
        match *digest {}
    }

    fn digest_of_bytes(_bytes: [u8; 32]) -> Option<Infallible> {
        None
    }

    fn digest_file(&self, _file: OpenFile, _: Option<&Workers>) -> Result<Option<Infallible>, TreeError> {
        Ok(None)
    }
}

/// The way a [`TreeReader`](crate::TreeReader) handles the bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Hashes them. Every file is returned with its digest and without a body.
    Digest,
    /// Returns them. Small files are returned as bytes with their digest. Large files are returned open and
    /// without a digest.
    Bytes,
}
