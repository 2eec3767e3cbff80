//! One open file, read to exactly the end that it had when it was opened.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::full_path;
use super::segments::{self, SEGMENT};
use crate::digest::{Digest, DigestHasher, Scheme};
use crate::error::HashError;
use crate::workers::{Observer, Workers};

/// How much of a large file is read while as much is hashed, in bytes: enough for the threads not to wait for each other often.
const CHUNK: usize = 4 << 20;

/// How much is read between two looks at the observer where a caller asks for more.
const STRIDE: usize = 4 << 20;

/// Opening must neither follow a link that was put in the place of a file, nor wait for the other end of a FIFO.
pub(super) const OPEN_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// What `open` says where something else took the place of the file since the directory was listed.
pub(super) fn open_error(error: rustix::io::Errno, path: PathBuf) -> HashError {
    match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
            HashError::Changed { path }
        }
        error => HashError::Io { operation: "open", path, source: error.into() },
    }
}

/// How a regular file looked when it was opened: enough to see later whether it was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    size: u64,
    modified: (i64, i64),
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }

    /// Looks at the file at `path` again, through links.
    ///
    /// # Errors
    ///
    /// [`HashError::Changed`] when it has another size or time of modification, or is gone; [`HashError::Io`].
    pub fn check(self, path: PathBuf) -> Result<(), HashError> {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && Self::of(&metadata) == self => Ok(()),
            Err(source)
                if !matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Err(HashError::Io { operation: "look at", path, source })
            }
            _ => Err(HashError::Changed { path }),
        }
    }
}

/// A regular file that is open for reading, and what it was when it was opened.
///
/// It gives exactly as many bytes as it had then. If there turn out to be fewer or more, or its time of modification
/// moves, then reading fails with [`HashError::Changed`].
pub struct OpenFile {
    file: File,
    root: Arc<Path>,
    /// Relative to the root: a full path is made only for messages.
    path: Vec<u8>,
    state: FileState,
    remaining: u64,
    executable: bool,
    at_end: bool,
    observer: Arc<dyn Observer>,
}

impl OpenFile {
    /// Takes a file that was just opened at `path`, which is relative to `root`.
    pub(super) fn new(
        file: File,
        root: Arc<Path>,
        path: Vec<u8>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, HashError> {
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(source) => {
                return Err(HashError::Io { operation: "look at", path: full_path(&root, &path), source });
            }
        };
        if !metadata.is_file() {
            // It was one when its directory was listed.
            return Err(HashError::Changed { path: full_path(&root, &path) });
        }
        Ok(Self {
            file,
            root,
            path,
            state: FileState::of(&metadata),
            remaining: metadata.len(),
            executable: metadata.mode() & 0o100 != 0,
            at_end: false,
            observer,
        })
    }

    /// Opens the file at `path`, through links.
    pub(super) fn open(
        root: Arc<Path>,
        path: Vec<u8>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, HashError> {
        let full = full_path(&root, &path);
        match rustix::fs::open(&full, OPEN_FLAGS, Mode::empty()) {
            Ok(descriptor) => Self::new(File::from(descriptor), root, path, observer),
            Err(error) => Err(open_error(error, full)),
        }
    }

    /// The size when it was opened, in bytes.
    pub fn size(&self) -> u64 {
        self.state.size
    }

    /// How it looked when it was opened.
    pub(super) fn state(&self) -> FileState {
        self.state
    }

    /// Whether its owner may execute it.
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// Where it is, for messages.
    pub fn path(&self) -> PathBuf {
        full_path(&self.root, &self.path)
    }

    pub(super) fn relative_path(&self) -> &[u8] {
        &self.path
    }

    pub(super) fn into_relative_path(self) -> Vec<u8> {
        self.path
    }

    /// Fills `buffer`, or as much of it as there are bytes left, and returns how many those are: 0 at the end only.
    /// The observer learns of them.
    ///
    /// # Errors
    ///
    /// [`HashError::Changed`] when the file is not what it was, [`HashError::Cancelled`], [`HashError::Io`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HashError> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        for piece in buffer[..wanted].chunks_mut(STRIDE) {
            if self.observer.is_cancelled() {
                return Err(HashError::Cancelled);
            }
            self.file.read_exact(piece).map_err(|error| self.ended_or_failed(error))?;
            self.remaining -= piece.len() as u64;
            self.observer.bytes(piece.len() as u64);
        }
        if self.remaining == 0 {
            self.check_end()?;
        }
        Ok(wanted)
    }

    /// Reads all of a small file and appends it to `bytes`.
    pub(super) fn read_small(&mut self, bytes: &mut Vec<u8>) -> Result<(), HashError> {
        if self.observer.is_cancelled() {
            return Err(HashError::Cancelled);
        }
        let before = bytes.len();
        let size = usize::try_from(self.size()).map_err(|_| self.changed())?;
        bytes.reserve_exact(size);
        // No read that finds the end: a file that grew is found by its size afterwards.
        let read = Read::by_ref(&mut self.file).take(self.state.size).read_to_end(bytes);
        if let Err(source) = read {
            return Err(self.failed("read", source));
        }
        if bytes.len() - before != size {
            return Err(self.changed());
        }
        self.remaining = 0;
        self.observer.bytes(self.size());
        self.check_unmodified()
    }

    /// The digest of what is left of a large file, on the compute threads, or on this one where there are none.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::read`].
    pub fn digest(mut self, scheme: Scheme, workers: &Workers) -> Result<Digest, HashError> {
        match workers.compute() {
            // Some file systems have files that are only streams.
            Some(threads)
                if scheme == Scheme::Blake3
                    && self.remaining > SEGMENT as u64
                    && self.file.stream_position().is_ok() =>
            {
                let start = self.size() - self.remaining;
                let read = |buffer: &mut [u8], offset| self.read_segment(buffer, start + offset);
                let digest = threads.install(|| segments::digest(self.remaining, read))?;
                let end = self.file.seek(SeekFrom::Start(self.size()));
                end.map_err(|source| self.failed("read", source))?;
                self.check_end()?;
                Ok(digest)
            }
            _ => {
                let mut hasher = DigestHasher::new(scheme);
                self.hash_into(&mut hasher, workers)?;
                Ok(hasher.finish())
            }
        }
    }

    fn read_segment(&self, buffer: &mut [u8], offset: u64) -> Result<(), HashError> {
        if self.observer.is_cancelled() {
            return Err(HashError::Cancelled);
        }
        self.file.read_exact_at(buffer, offset).map_err(|error| self.ended_or_failed(error))?;
        self.observer.bytes(buffer.len() as u64);
        Ok(())
    }

    /// Feeds what is left of a large file to `hasher`, behind what it has taken before: on the compute threads, where one piece is
    /// hashed while the next is read, and on this one where there are none.
    /// [`OpenFile::digest`] is faster for BLAKE3.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::read`].
    pub fn hash_into(mut self, hasher: &mut DigestHasher, workers: &Workers) -> Result<(), HashError> {
        let Some(threads) = workers.compute() else {
            let mut buffer = Vec::new();
            return self.feed(hasher, &mut buffer);
        };
        threads.install(|| {
            let len = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(CHUNK);
            let (mut current, mut next) = (vec![0; len], vec![0; len]);
            let mut filled = self.read(&mut current)?;
            while filled > 0 {
                let (read, ()) = rayon::join(|| self.read(&mut next), || hasher.update(&current[..filled]));
                filled = read?;
                std::mem::swap(&mut current, &mut next);
            }
            Ok(())
        })
    }

    /// Hashes the file on this thread alone.
    pub(super) fn digest_here(&mut self, scheme: Scheme, buffer: &mut Vec<u8>) -> Result<Digest, HashError> {
        let mut hasher = DigestHasher::new(scheme);
        self.feed(&mut hasher, buffer)?;
        Ok(hasher.finish())
    }

    fn feed(&mut self, hasher: &mut DigestHasher, buffer: &mut Vec<u8>) -> Result<(), HashError> {
        // As little as is still in the cache when it is hashed.
        buffer.resize(usize::try_from(self.remaining).unwrap_or(usize::MAX).min(SEGMENT), 0);
        loop {
            match self.read(buffer)? {
                0 => return Ok(()),
                len => hasher.update(&buffer[..len]),
            }
        }
    }

    fn check_end(&mut self) -> Result<(), HashError> {
        if self.at_end {
            return Ok(());
        }
        self.at_end = true;
        loop {
            match self.file.read(&mut [0]) {
                Ok(0) => return self.check_unmodified(),
                Ok(_) => return Err(self.changed()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed("read", source)),
            }
        }
    }

    fn check_unmodified(&self) -> Result<(), HashError> {
        let now = self.file.metadata().map_err(|source| self.failed("look at", source))?;
        if FileState::of(&now) == self.state { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> HashError {
        HashError::Changed { path: self.path() }
    }

    fn ended_or_failed(&self, source: io::Error) -> HashError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => self.failed("read", source),
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> HashError {
        HashError::Io { operation, path: self.path(), source }
    }
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("path", &self.path())
            .field("size", &self.size())
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}
