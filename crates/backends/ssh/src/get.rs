//! Reading objects.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, stream};
use larder_backend::{
    ByteStream, Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result, Version,
};
use ssh2::{FileStat, OpenFlags};
use tokio::runtime::Handle;

use crate::backend::{Remote, Transfer};
use crate::connection::{Connection, Open};
use crate::error::Trouble;
use crate::parts::PART;
use crate::pieces::{Pieces, Taken};
use crate::pool::Attempt;
use crate::root::Root;

/// Describes an object. Its version is its length and its time, which is all that the server tells of a file; what
/// overwrites an object sees to it that its time differs.
pub(crate) fn describe(key: Key, size: u64, modified: u64) -> ObjectMeta {
    let last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
    ObjectMeta::new(key, size, last_modified).with_version(Version::new(format!("{size}-{modified}")))
}

/// Which bytes a file has, as far as can be told.
pub(crate) type Identity = (Option<u64>, Option<u64>);

pub(crate) fn identity(stat: &FileStat) -> Identity {
    (stat.size, stat.mtime)
}

/// Looks at a file that is an object, reached without links.
pub(crate) fn look(connection: &Connection, root: &Root, key: &Key) -> Result<Option<FileStat>, Trouble> {
    let stat = match connection.lstat(&root.path_of(key.as_str())) {
        Ok(stat) if stat.is_file() => stat,
        Ok(_) => return Ok(None),
        Err(trouble) if trouble.is_absent() => return Ok(None),
        Err(trouble) => return Err(trouble),
    };
    let parent = key.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
    Ok(root.is_straight(connection, parent)?.then_some(stat))
}

fn absent() -> Trouble {
    Trouble::new(ErrorKind::NotFound)
}

/// Looks at an object.
pub(crate) async fn stat(remote: &Arc<Remote>, key: &Key) -> Result<ObjectMeta> {
    remote.place.check(key, Operation::Stat)?;
    let task = remote.pool.task(Operation::Stat, remote.place.location(key));
    let (remote, key) = (Arc::clone(remote), key.clone());
    let pool = Arc::clone(&remote.pool);
    pool.run(task, move |connection, _| {
        let root = remote.place.root(connection)?.ok_or_else(absent)?;
        let stat = look(connection, &root, &key)?.ok_or_else(absent)?;
        Ok(describe(key.clone(), stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default()))
    })
    .await
}

/// The object that was found, and the first bytes of it.
struct Begun {
    path: String,
    meta: ObjectMeta,
    identity: Identity,
    range: Range<u64>,
    first: Bytes,
}

/// Opens an object and reads the first bytes of it.
pub(crate) async fn get(remote: &Arc<Remote>, key: &Key, options: &GetOptions) -> Result<GetResult> {
    remote.place.check(key, Operation::Get)?;
    let location = remote.place.location(key);
    let task = remote.pool.task(Operation::Get, location.clone());
    let begun = {
        let (remote, key, options) = (Arc::clone(remote), key.clone(), options.clone());
        move |connection: &Connection, _: Attempt| {
            let begun = begin(&remote, connection, &key, &options);
            remote.note_round_trip(connection.round_trip());
            begun
        }
    };
    let Begun { path, meta, identity, range, first } = remote.pool.run(task, begun).await?;
    let rest = range.start + first.len() as u64..range.end;
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let stream: ByteStream = if rest.is_empty() {
        first.boxed()
    } else {
        let transfer = remote.begin_transfer();
        let pieces = Arc::new(Pieces::new(path, identity, rest));
        let reading =
            Reading { remote: Arc::clone(remote), transfer, pieces, location, runtime: Handle::current() };
        first.chain(reading.stream()).boxed()
    };
    Ok(GetResult::new(meta, stream))
}

fn begin(
    remote: &Remote,
    connection: &Connection,
    key: &Key,
    options: &GetOptions,
) -> Result<Begun, Trouble> {
    let root = remote.place.root(connection)?.ok_or_else(absent)?;
    // Opening what is no file, as a FIFO, could hold the server for ever.
    look(connection, &root, key)?.ok_or_else(absent)?;
    let path = root.path_of(key.as_str());
    let read = connection.with_file(&path, OpenFlags::READ, 0, |file| {
        let stat = file.stat()?;
        let meta = describe(key.clone(), stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default());
        if options.if_version.is_some() && options.if_version != meta.version {
            return Err(Trouble::new(ErrorKind::Conflict));
        }
        let range = options.range.clone().unwrap_or(0..meta.size);
        let range = range.start.min(meta.size)..range.end.min(meta.size);
        let end = range.end.min(range.start + PART as u64);
        let first = read_piece(file, identity(&stat), range.start..end, end >= range.end)?;
        Ok(Begun { path: path.clone(), meta, identity: identity(&stat), range, first })
    });
    match read {
        // Gone since it was looked at.
        Err(trouble) if trouble.is_absent() => Err(absent()),
        read => read,
    }
}

/// Reads a piece that has to be there, and after the last one makes sure that the file was left alone.
pub(crate) fn read_piece(
    file: &mut Open<'_>,
    expected: Identity,
    range: Range<u64>,
    is_last: bool,
) -> Result<Bytes, Trouble> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
    let bytes = if length == 0 { Vec::new() } else { file.read(range.start, length)? };
    if bytes.len() < length {
        return Err(changed("it was shortened while it was read"));
    }
    if is_last && length > 0 && identity(&file.stat()?) != expected {
        return Err(changed("it was written to while it was read"));
    }
    Ok(bytes.into())
}

pub(crate) fn changed(how: &'static str) -> Trouble {
    Trouble::new(ErrorKind::Conflict).with_source(how)
}

/// An object that is being read by several sessions.
struct Reading {
    remote: Arc<Remote>,
    transfer: Transfer,
    pieces: Arc<Pieces>,
    location: String,
    /// The stream may be polled elsewhere.
    runtime: Handle,
}

impl Reading {
    fn stream(self) -> ByteStream {
        stream::unfold(Some(self), |reading| async move {
            let reading = reading?;
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&self) -> Result<Option<Bytes>, Error> {
        loop {
            let room = self.transfer.room();
            let most = self.remote.sessions_for(self.pieces.left()).min(room);
            while self.pieces.wants_reader(room, most) {
                self.start_reader();
            }
            match self.pieces.take().await? {
                Taken::Bytes(bytes) => return Ok(Some(bytes)),
                Taken::End => return Ok(None),
                Taken::Nothing => {}
            }
        }
    }

    fn start_reader(&self) {
        let mut task = self.remote.pool.task(Operation::Get, self.location.clone());
        task.cancel = Some(Arc::clone(&self.pieces.cancel));
        task.progress = Arc::clone(&self.pieces.progress);
        let (pool, pieces) = (Arc::clone(&self.remote.pool), Arc::clone(&self.pieces));
        let ending = pieces.begin();
        self.runtime.spawn(async move {
            let shared = Arc::clone(&pool);
            ending.end(pool.run(task, move |connection, _| pieces.read(connection, &shared)).await);
        });
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.pieces.cancel();
    }
}
