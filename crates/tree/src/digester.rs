//! The boundary to the code that hashes.

use std::convert::Infallible;

use crate::error::TreeError;
use crate::file::OpenFile;
use crate::workers::Workers;

/// Computes digests of files for a [`TreeReader`](crate::TreeReader), on the threads that read them.
pub trait FileDigester: Clone + Send + Sync + 'static {
    /// The digest of a file.
    type Digest: Send + 'static;

    /// The digest of `bytes`, which are those of a small file or the target of a link. `None` if this digester has
    /// no digests.
    fn digest(&self, bytes: &[u8]) -> Option<Self::Digest>;

    /// Whether [`FileDigester::digest_file`] uses several threads for one file. If it does, the reader hashes one
    /// large file at a time. Otherwise it hashes several at once.
    fn is_parallel(&self) -> bool;

    /// The digest of a large file: on the compute threads of `workers`, or on the current thread alone without them.
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

/// A [`FileDigester`] without digests.
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

    fn digest_file(&self, _file: OpenFile, _: Option<&Workers>) -> Result<Option<Infallible>, TreeError> {
        Ok(None)
    }
}

/// What a [`TreeReader`](crate::TreeReader) does with the bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Hashes them: every file comes with its digest and without a body.
    Digest,
    /// Returns them: small files as bytes with their digest, large files open and without a digest.
    Bytes,
}
