//! Digests of open files.

use std::cell::RefCell;
use std::mem;

use larder_tree::{FileDigester, OpenFile, TreeError, Workers};

use crate::digest::{Digest, DigestHasher, Scheme};
use crate::segments::{self, SEGMENT};

/// The size of a piece of a large file, in bytes. One piece is read while another is hashed. Pieces of this size rarely let
/// the two threads wait for each other.
const CHUNK: usize = 4 << 20;

/// How much of a file is read at once by a thread that hashes it alone, in bytes. It is still in the cache when it is
/// hashed, and a process may have more than a hundred such threads, each of which keeps its buffer.
const PART: usize = 128 << 10;

thread_local! {
    /// The buffer for files that are hashed on one thread.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Computes the digest of the rest of `file`, on the compute threads of `workers`. Several threads read and hash one
/// file under BLAKE3.
///
/// # Errors
///
/// Those of [`OpenFile::read`].
///
/// ```
/// use std::sync::Arc;
///
/// use larder_hashing::{Scheme, digest_file};
/// use larder_tree::{Ignore, OpenFile, Workers};
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("weights");
/// std::fs::write(&path, "abc")?;
/// let file = OpenFile::open(&path, Arc::new(Ignore))?;
/// assert_eq!(digest_file(file, Scheme::Sha256, &Workers::default())?, Scheme::Sha256.digest(b"abc"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn digest_file(mut file: OpenFile, scheme: Scheme, workers: &Workers) -> Result<Digest, TreeError> {
    match workers.compute_threads() {
        Some(threads)
            if scheme == Scheme::Blake3 && file.remaining() > SEGMENT as u64 && file.is_seekable() =>
        {
            let start = file.size() - file.remaining();
            let read = |buffer: &mut Vec<u8>, len, offset| {
                file.resize_buffer(buffer, len)?;
                file.read_at(buffer, start + offset)
            };
            let digest = threads.install(|| segments::digest(file.remaining(), read))?;
            file.finish()?;
            Ok(digest)
        }
        _ => {
            let mut hasher = DigestHasher::new(scheme);
            hash_file_into(file, &mut hasher, workers)?;
            Ok(hasher.finish())
        }
    }
}

/// Feeds the rest of `file` to `hasher`. The compute threads of `workers` hash one piece while they read the next.
/// [`digest_file`] is faster for BLAKE3.
///
/// # Errors
///
/// Those of [`OpenFile::read`].
pub fn hash_file_into(
    mut file: OpenFile,
    hasher: &mut DigestHasher,
    workers: &Workers,
) -> Result<(), TreeError> {
    let Some(threads) = workers.compute_threads() else { return hash_on_this_thread(&mut file, hasher) };
    threads.install(|| {
        let len = usize::try_from(file.remaining()).unwrap_or(usize::MAX).min(CHUNK);
        let (mut current, mut next) = (Vec::new(), Vec::new());
        file.resize_buffer(&mut current, len)?;
        file.resize_buffer(&mut next, len)?;
        let mut filled = file.read(&mut current)?;
        while filled > 0 {
            let (read, ()) = rayon::join(|| file.read(&mut next), || hasher.update(&current[..filled]));
            filled = read?;
            mem::swap(&mut current, &mut next);
        }
        Ok(())
    })
}

fn hash_on_this_thread(file: &mut OpenFile, hasher: &mut DigestHasher) -> Result<(), TreeError> {
    BUFFER.with_borrow_mut(|buffer| {
        file.resize_buffer(buffer, PART)?;
        loop {
            match file.read(buffer)? {
                0 => return Ok(()),
                len => hasher.update(&buffer[..len]),
            }
        }
    })
}

/// [`Scheme::Weasel`] has no digests of single files. It hashes their concatenation.
impl FileDigester for Scheme {
    type Digest = Digest;

    fn digest(&self, bytes: &[u8]) -> Option<Digest> {
        self.has_manifests().then(|| Self::digest(*self, bytes))
    }

    fn is_parallel(&self) -> bool {
        *self == Self::Blake3
    }

    fn cache_name(&self) -> Option<&'static str> {
        self.has_manifests().then(|| self.name())
    }

    fn digest_bytes(digest: &Digest) -> Option<[u8; 32]> {
        digest.as_bytes().try_into().ok()
    }

    fn digest_of_bytes(bytes: [u8; 32]) -> Option<Digest> {
        Some(Digest::new(&bytes))
    }

    fn digest_file(
        &self,
        mut file: OpenFile,
        workers: Option<&Workers>,
    ) -> Result<Option<Digest>, TreeError> {
        if !self.has_manifests() {
            return Ok(None);
        }
        if let Some(workers) = workers {
            return digest_file(file, *self, workers).map(Some);
        }
        let mut hasher = DigestHasher::new(*self);
        hash_on_this_thread(&mut file, &mut hasher)?;
        Ok(Some(hasher.finish()))
    }
}
