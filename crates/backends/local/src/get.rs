//! Reading objects.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, stream};
use larder_backend::{
    ByteStream, Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result,
};
use larder_backend_files::advice;
use larder_tree::BufferPool;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tokio::task::JoinHandle;

use crate::error::{failed, is_absent};
use crate::object::{describe, is_object, modified, size};
use crate::root::LocalRoot;

/// How much one blocking call reads, in bytes. The way to a blocking thread and back takes some 20 µs, and a mebibyte from
/// the page cache 100 µs or more. Larger pieces gain nothing, and two of them are in memory for each object.
const CHUNK: u64 = 1024 * 1024;

fn absent(root: &LocalRoot, key: &Key, operation: Operation) -> Error {
    Error::new(ErrorKind::NotFound, operation, root.location(key))
}

/// Looks at an object.
pub(crate) fn stat(root: &LocalRoot, key: &Key) -> Result<ObjectMeta> {
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

/// Opens an object. The stream reads the file that was opened, even if its name is given to another one.
pub(crate) fn get(root: &Arc<LocalRoot>, key: &Key, options: &GetOptions) -> Result<GetResult> {
    let operation = Operation::Get;
    root.check(key, operation)?;
    let directory = root.open(operation)?.ok_or_else(|| absent(root, key, operation))?;
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    // Without NONBLOCK, opening a FIFO would wait forever.
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
    root: Arc<LocalRoot>,
    file: File,
    size: u64,
    modified: SystemTime,
    location: String,
    buffers: BufferPool,
}

impl Source {
    /// Streams the bytes of a range. The next piece is read while the caller uses the last one.
    fn stream(self, range: Range<u64>) -> ByteStream {
        let source = Arc::new(self);
        let next = RangeReader { next: None, position: range.start, end: range.end, source };
        stream::unfold(Some(next), |reader| async move {
            let mut reader = reader?;
            match reader.read().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Reads a piece. After the last one, checks that the file has not changed.
    fn read(&self, position: u64, end: u64) -> Result<Bytes> {
        let wrong = |error: Errno| failed(Operation::Get, self.location.clone(), error.into());
        let length = CHUNK.min(end - position);
        let capacity = usize::try_from(length).map_err(|_| wrong(Errno::NOMEM))?;
        let mut bytes = self.buffers.take(capacity).map_err(|_| wrong(Errno::NOMEM))?;
        bytes.clear();
        while bytes.len() < capacity {
            // A `Vec` may have more capacity than was asked for. Those bytes belong to the next piece.
            let offset = position + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Err(self.changed(advice::SHORTENED)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(wrong(error)),
            }
        }
        bytes.truncate(capacity);
        if position + length == end {
            let stat = rustix::fs::fstat(&self.file).map_err(wrong)?;
            if size(&stat) != self.size || modified(&stat) != self.modified {
                return Err(self.changed(advice::WRITTEN));
            }
        }
        Ok(self.buffers.freeze(bytes))
    }

    fn changed(&self, how: &'static str) -> Error {
        Error::new(ErrorKind::Conflict, Operation::Get, self.location.clone()).with_source(how)
    }
}

/// Reads the rest of a range, piece by piece.
struct RangeReader {
    source: Arc<Source>,
    /// The piece that is being read.
    next: Option<JoinHandle<Result<Bytes>>>,
    position: u64,
    end: u64,
}

impl RangeReader {
    /// Begins to read the next piece, if there is one and none is being read.
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
