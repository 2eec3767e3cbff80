//! Reading objects.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, stream};
use larder_backend::{
    BufferPool, ByteStream, Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result,
    Version,
};
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::error::{failed, is_absent};
use crate::root::Root;

/// How much one blocking call reads, in bytes. The hop to a blocking thread and back costs some 20 µs, a mebibyte from the
/// page cache 100 µs or more: larger pieces gain nothing, and two of them are in memory for each object.
const CHUNK: u64 = 1024 * 1024;

/// A number of `stat` that is not negative. Its type is not the same on all systems.
fn unsigned(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

/// When a file was modified.
pub(crate) fn modified(stat: &Stat) -> SystemTime {
    let since_epoch =
        Duration::from_secs(unsigned(stat.st_mtime)) + Duration::from_nanos(unsigned(stat.st_mtime_nsec));
    SystemTime::UNIX_EPOCH + since_epoch
}

fn size(stat: &Stat) -> u64 {
    unsigned(stat.st_size)
}

/// Describes an object. Its version is which file it is, its length, and when it and its inode were changed.
pub(crate) fn describe(key: Key, stat: &Stat) -> ObjectMeta {
    let version = Version::new(format!(
        "{}-{}-{}-{}.{:09}-{}.{:09}",
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    ));
    ObjectMeta::new(key, size(stat), modified(stat)).with_version(version)
}

/// Whether a file is an object.
pub(crate) fn is_object(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn absent(root: &Root, key: &Key, operation: Operation) -> Error {
    Error::new(ErrorKind::NotFound, operation, root.location(key))
}

/// Looks at an object.
pub(crate) fn stat(root: &Root, key: &Key) -> Result<ObjectMeta> {
    let operation = Operation::Stat;
    root.check(key, operation)?;
    let directory = root.open(operation)?.ok_or_else(|| absent(root, key, operation))?;
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    let looked = directory
        .descend(segments)
        .and_then(|parent| Ok(rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
    match looked {
        Ok(stat) if is_object(&stat) => Ok(describe(key.clone(), &stat)),
        Ok(_) => Err(absent(root, key, operation)),
        Err(error) if is_absent(&error) => Err(absent(root, key, operation)),
        Err(error) => Err(failed(operation, root.location(key), error)),
    }
}

/// Opens an object. Whatever has its name later, the stream reads the file that was opened.
pub(crate) fn get(root: &Arc<Root>, key: &Key, options: &GetOptions) -> Result<GetResult> {
    let operation = Operation::Get;
    root.check(key, operation)?;
    let directory = root.open(operation)?.ok_or_else(|| absent(root, key, operation))?;
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    // Without NONBLOCK a FIFO that somebody put there would hold the open for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = directory.descend(segments).and_then(|parent| {
        let file = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        Ok((File::from(file), stat))
    });
    let (file, stat) = match opened {
        Ok((file, stat)) if is_object(&stat) => (file, stat),
        Ok(_) => return Err(absent(root, key, operation)),
        // A socket cannot be opened.
        Err(error) if is_absent(&error) || Errno::from_io_error(&error) == Some(Errno::NXIO) => {
            return Err(absent(root, key, operation));
        }
        Err(error) => return Err(failed(operation, root.location(key), error)),
    };
    let meta = describe(key.clone(), &stat);
    if options.if_version.is_some() && options.if_version != meta.version {
        return Err(Error::new(ErrorKind::Conflict, operation, root.location(key)));
    }
    let range = options.range.clone().unwrap_or(0..meta.size);
    let range = range.start.min(meta.size)..range.end.min(meta.size);
    let source = Source {
        root: Arc::clone(root),
        file,
        size: meta.size,
        modified: meta.last_modified,
        location: root.location(key),
        buffers: BufferPool::default(),
    };
    Ok(GetResult::new(meta, source.stream(range)))
}

/// An object that is being read.
struct Source {
    root: Arc<Root>,
    file: File,
    size: u64,
    modified: SystemTime,
    location: String,
    buffers: BufferPool,
}

impl Source {
    /// The bytes of a range, of which the next piece is read while the caller looks at the last.
    fn stream(self, range: Range<u64>) -> ByteStream {
        let source = Arc::new(self);
        let next = Pieces { next: None, position: range.start, end: range.end, source };
        stream::unfold(Some(next), |pieces| async move {
            let mut pieces = pieces?;
            match pieces.read().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(pieces))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Reads a piece that has to be there, and after the last one makes sure that the file was left alone.
    fn read(&self, position: u64, end: u64) -> Result<Bytes> {
        let wrong = |error: Errno| failed(Operation::Get, self.location.clone(), error.into());
        let length = CHUNK.min(end - position);
        let capacity = usize::try_from(length).map_err(|_| wrong(Errno::NOMEM))?;
        let mut bytes = self.buffers.take();
        bytes.reserve_exact(capacity);
        while bytes.len() < capacity {
            // A `Vec` may have more room than was asked for: that is the next piece's.
            let offset = position + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Err(self.changed("it was shortened while it was read")),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(wrong(error)),
            }
        }
        bytes.truncate(capacity);
        if position + length == end {
            let stat = rustix::fs::fstat(&self.file).map_err(wrong)?;
            if size(&stat) != self.size || modified(&stat) != self.modified {
                return Err(self.changed("it was written to while it was read"));
            }
        }
        Ok(self.buffers.freeze(bytes))
    }

    fn changed(&self, how: &'static str) -> Error {
        Error::new(ErrorKind::Conflict, Operation::Get, self.location.clone()).with_source(how)
    }
}

/// The pieces of a range that are still to come.
struct Pieces {
    source: Arc<Source>,
    /// The piece that is being read.
    next: Option<JoinHandle<Result<Bytes>>>,
    position: u64,
    end: u64,
}

impl Pieces {
    /// Begins to read the next piece, where there is one and none is being read.
    fn begin(&mut self) {
        if self.next.is_none() && self.position < self.end {
            let (source, position, end) = (Arc::clone(&self.source), self.position, self.end);
            self.position = end.min(position + CHUNK);
            self.next = Some(tokio::task::spawn_blocking(move || source.read(position, end)));
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        self.begin();
        let Some(next) = &mut self.next else { return Ok(None) };
        let read = self.source.root.wait(Operation::Get, next).await?;
        self.next = None;
        let bytes = read.map_err(|error| {
            failed(Operation::Get, self.source.location.clone(), io::Error::other(error))
        })??;
        self.begin();
        Ok(Some(bytes))
    }
}
