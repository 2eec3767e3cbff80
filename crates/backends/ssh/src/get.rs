//! Reading objects.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use larder_backend::{
    ByteStream, Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result,
};
use ssh2::OpenFlags;
use tokio::runtime::Handle;

use crate::connection::SftpConnection;
use crate::context::{SshContext, TransferCount};
use crate::error::Trouble;
use crate::object::{Identity, absent, describe, identity, look, read_piece};
use crate::parts::PART;
use crate::pieces::{DownloadPieces, Taken};
use crate::pool::Attempt;

/// Looks at an object.
pub(crate) async fn stat(context: &Arc<SshContext>, key: &Key) -> Result<ObjectMeta> {
    context.root.check(key, Operation::Stat)?;
    let task = context.pool.task(Operation::Stat, context.root.location(key));
    let (context, key) = (Arc::clone(context), key.clone());
    let pool = Arc::clone(&context.pool);
    pool.run(task, move |connection, _| {
        let root = context.root.find(connection)?.ok_or_else(absent)?;
        let stat = look(connection, &root, &key)?.ok_or_else(absent)?;
        Ok(describe(key.clone(), stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default()))
    })
    .await
}

/// An open object, and its first bytes.
struct Begun {
    path: String,
    meta: ObjectMeta,
    identity: Identity,
    range: Range<u64>,
    first: Bytes,
}

/// Opens an object and reads the first bytes of it.
pub(crate) async fn get(context: &Arc<SshContext>, key: &Key, options: &GetOptions) -> Result<GetResult> {
    context.root.check(key, Operation::Get)?;
    let location = context.root.location(key);
    let task = context.pool.task(Operation::Get, location.clone());
    let begun = {
        let (context, key, options) = (Arc::clone(context), key.clone(), options.clone());
        move |connection: &SftpConnection, _: Attempt| {
            let begun = begin(&context, connection, &key, &options);
            context.note_round_trip(connection.round_trip());
            begun
        }
    };
    let Begun { path, meta, identity, range, first } = context.pool.run(task, begun).await?;
    let rest = range.start + first.len() as u64..range.end;
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let stream: ByteStream = if rest.is_empty() {
        first.boxed()
    } else {
        let transfer = context.begin_transfer();
        let pieces = Arc::new(DownloadPieces::new(path, identity, rest));
        let reading =
            Reading { context: Arc::clone(context), transfer, pieces, location, runtime: Handle::current() };
        first.chain(reading.stream()).boxed()
    };
    Ok(GetResult::new(meta, stream))
}

fn begin(
    context: &SshContext,
    connection: &SftpConnection,
    key: &Key,
    options: &GetOptions,
) -> Result<Begun, Trouble> {
    let root = context.root.find(connection)?.ok_or_else(absent)?;
    // Opening a FIFO could block the server forever.
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
        // It was deleted after `look`.
        Err(trouble) if trouble.is_absent() => Err(absent()),
        read => read,
    }
}

/// An object that several sessions read.
struct Reading {
    context: Arc<SshContext>,
    transfer: TransferCount,
    pieces: Arc<DownloadPieces>,
    location: String,
    /// The stream may be polled outside of the runtime.
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
            let most = self.context.sessions_for(self.pieces.left()).min(room);
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
        let mut task = self.context.pool.task(Operation::Get, self.location.clone());
        task.cancel = Some(Arc::clone(&self.pieces.cancel));
        task.progress = Arc::clone(&self.pieces.progress);
        let (pool, pieces) = (Arc::clone(&self.context.pool), Arc::clone(&self.pieces));
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
