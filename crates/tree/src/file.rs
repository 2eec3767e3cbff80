//! An open file. Reading returns exactly the bytes that it had when it was opened.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, Stat};

use crate::error::TreeError;
use crate::observer::Observer;
use crate::opening::{OPEN_FLAGS, full_path, open_error};

/// The number of bytes read between two calls of the observer.
const STRIDE: usize = 4 << 20;

/// The state of a regular file when it was opened: its inode, its size, its modification time and its status change
/// time.
///
/// The status change time is included because a program can reset the modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// In seconds, and nanoseconds.
    pub(crate) modified: (i64, i64),
    /// The status change time, which programs cannot reset.
    pub(crate) changed: (i64, i64),
}

impl FileState {
    /// Returns the state of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[expect(clippy::allow_attributes, reason = "the types of the fields depend on the system")]
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the types of the fields depend on the system"
    )]
    pub(crate) fn of_status(status: &Stat) -> Self {
        let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
        Self {
            // As in `MetadataExt::dev`.
            device: status.st_dev as u64,
            inode: status.st_ino,
            size: u64::try_from(status.st_size).unwrap_or(0),
            modified: (status.st_mtime, nanoseconds(status.st_mtime_nsec)),
            changed: (status.st_ctime, nanoseconds(status.st_ctime_nsec)),
        }
    }

    /// The modification time. Times before 1970 count as 1970.
    pub fn modified(self) -> SystemTime {
        let (seconds, nanos) = self.modified;
        let since = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }

    /// Checks that the file at `path` still has this state. Follows links.
    ///
    /// # Errors
    ///
    /// [`TreeError::Changed`] if its size or one of its times differs, or if it is gone. [`TreeError::Io`].
    pub fn check(self, path: PathBuf) -> Result<(), TreeError> {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && Self::of(&metadata) == self => Ok(()),
            Err(source)
                if !matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Err(TreeError::Io { operation: "look at", path, source })
            }
            _ => Err(TreeError::Changed { path }),
        }
    }
}

/// A regular file that is open for reading.
///
/// It returns exactly as many bytes as the file had when it was opened. If its size, modification time or
/// status change time changes before the end, reading fails with [`TreeError::Changed`].
///
/// ```
/// use std::sync::Arc;
///
/// use larder_tree::{Ignore, OpenFile, TreeError};
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("weights");
/// std::fs::write(&path, "0123456789")?;
/// let mut file = OpenFile::open(&path, Arc::new(Ignore))?;
/// let mut buffer = [0; 6];
/// assert_eq!(file.read(&mut buffer)?, 6);
/// std::fs::write(&path, "01234567890")?;
/// assert!(matches!(file.read(&mut buffer), Err(TreeError::Changed { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OpenFile {
    file: File,
    root: Arc<Path>,
    /// The path relative to the root. A full path is built only for messages.
    path: Vec<u8>,
    state: FileState,
    remaining: u64,
    executable: bool,
    at_end: bool,
    observer: Arc<dyn Observer>,
}

impl OpenFile {
    /// Wraps a file that was just opened at `path`, which is relative to `root`.
    pub(crate) fn new(
        file: File,
        root: Arc<Path>,
        path: Vec<u8>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, TreeError> {
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(source) => {
                return Err(TreeError::Io { operation: "look at", path: full_path(&root, &path), source });
            }
        };
        if !metadata.is_file() {
            // It was a regular file when its directory was listed.
            return Err(TreeError::Changed { path: full_path(&root, &path) });
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

    /// Opens the file at `path`. Follows links.
    ///
    /// # Errors
    ///
    /// [`TreeError::Changed`] if it is gone or is not a regular file. [`TreeError::Io`].
    pub fn open(path: impl Into<PathBuf>, observer: Arc<dyn Observer>) -> Result<Self, TreeError> {
        Self::open_below(path.into().into(), Vec::new(), observer)
    }

    /// Opens the file at `path`, which is relative to `root`. Follows links.
    pub(crate) fn open_below(
        root: Arc<Path>,
        path: Vec<u8>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, TreeError> {
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

    /// The number of bytes left to read.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The state of the file when it was opened.
    pub fn state(&self) -> FileState {
        self.state
    }

    /// Returns whether its owner may execute it.
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// The path of the file, for messages.
    pub fn path(&self) -> PathBuf {
        full_path(&self.root, &self.path)
    }

    pub(crate) fn relative_path(&self) -> &[u8] {
        &self.path
    }

    pub(crate) fn into_relative_path(self) -> Vec<u8> {
        self.path
    }

    /// Fills `buffer` as far as bytes are left, and returns the number of bytes. It is 0 only at the end.
    /// Reports the bytes to the observer.
    ///
    /// # Errors
    ///
    /// [`TreeError::Changed`] if the file was changed. [`TreeError::Cancelled`], [`TreeError::Io`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TreeError> {
        let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        for piece in buffer[..wanted].chunks_mut(STRIDE) {
            if self.observer.is_cancelled() {
                return Err(TreeError::Cancelled);
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
    pub(crate) fn read_small(&mut self, bytes: &mut Vec<u8>) -> Result<(), TreeError> {
        if self.observer.is_cancelled() {
            return Err(TreeError::Cancelled);
        }
        let before = bytes.len();
        let size = usize::try_from(self.size()).map_err(|_| self.changed())?;
        bytes.try_reserve_exact(size).map_err(|error| self.failed("read", error.into()))?;
        // This never reads beyond the original end. The size check afterwards detects a file that grew.
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

    /// Resizes `buffer` to `len` bytes, for a read.
    ///
    /// # Errors
    ///
    /// [`TreeError::Io`] if there is no memory for it.
    pub fn resize_buffer(&self, buffer: &mut Vec<u8>, len: usize) -> Result<(), TreeError> {
        let missing = len.saturating_sub(buffer.len());
        buffer.try_reserve_exact(missing).map_err(|error| self.failed("read", error.into()))?;
        buffer.resize(len, 0);
        Ok(())
    }

    /// Returns whether bytes can be read at any offset. On some file systems, some files are only streams.
    pub fn is_seekable(&mut self) -> bool {
        self.file.stream_position().is_ok()
    }

    /// Fills `buffer` with the bytes at `offset` from the start of the file. Several threads may call this at
    /// the same time. When all bytes are read, call [`OpenFile::finish`].
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::read`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), TreeError> {
        if self.observer.is_cancelled() {
            return Err(TreeError::Cancelled);
        }
        self.file.read_exact_at(buffer, offset).map_err(|error| self.ended_or_failed(error))?;
        self.observer.bytes(buffer.len() as u64);
        Ok(())
    }

    /// Checks that the file has not changed, after [`OpenFile::read_at`] has read all bytes.
    ///
    /// # Errors
    ///
    /// Those of [`OpenFile::read`].
    pub fn finish(mut self) -> Result<(), TreeError> {
        let end = self.file.seek(SeekFrom::Start(self.size()));
        end.map_err(|source| self.failed("read", source))?;
        self.check_end()
    }

    fn check_end(&mut self) -> Result<(), TreeError> {
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

    fn check_unmodified(&self) -> Result<(), TreeError> {
        let now = self.file.metadata().map_err(|source| self.failed("look at", source))?;
        if FileState::of(&now) == self.state { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> TreeError {
        TreeError::Changed { path: self.path() }
    }

    fn ended_or_failed(&self, source: io::Error) -> TreeError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => self.failed("read", source),
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> TreeError {
        TreeError::Io { operation, path: self.path(), source }
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
