//! Writing objects.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use larder_backend::{
    Error, ErrorKind, Key, ObjectMeta, Operation, PutMode, PutOptions, Result, Upload, UploadJournal,
    UploadToken,
};
use tokio::runtime::Handle;

use crate::backend::{Remote, Transfer};
use crate::parts::{PART, Parts};
use crate::publish::{self, Publication};
use crate::root::Root;

/// An upload: a temporary file on the server, and what is on its way there.
pub(crate) struct SshUpload {
    remote: Arc<Remote>,
    root: Arc<Root>,
    key: Key,
    mode: PutMode,
    temporary: Arc<Temporary>,
    size_hint: Option<u64>,
    parts: Arc<Parts>,
    /// What is less than a part.
    buffer: BytesMut,
    /// Where the buffer begins in the file.
    position: u64,
    transfer: Transfer,
    /// A write failed, or its future was dropped before it was done.
    broken: bool,
    /// Published or removed.
    gone: bool,
}

/// A file on the server that is not published, and the note of it.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) path: String,
    token: UploadToken,
    journal: Option<Arc<dyn UploadJournal>>,
}

impl Temporary {
    /// It is not there any more.
    fn is_gone(&self) {
        if let Some(journal) = &self.journal {
            journal.closed(&self.token);
        }
    }
}

impl SshUpload {
    /// Makes the temporary file.
    pub(crate) async fn begin(remote: Arc<Remote>, key: Key, options: PutOptions) -> Result<Self> {
        let operation = Operation::Put;
        let name = publish::unique_name();
        let token = UploadToken::new(&name);
        let mut task = remote.pool.task(operation, remote.place.location(&key));
        // Only a remote that is there is told of: without it nothing is made.
        let root = {
            let (remote, task) = (Arc::clone(&remote), task.clone());
            let pool = Arc::clone(&remote.pool);
            pool.run(task, move |connection, _| {
                let root = remote.place.root_or_create(connection);
                remote.note_round_trip(connection.round_trip());
                root
            })
            .await?
        };
        // They take as long to log in as the first part takes to be written.
        for _ in 1..remote.sessions_for(options.size_hint.unwrap_or_default()) {
            let (pool, task) = (Arc::clone(&remote.pool), task.clone());
            let ready = tokio::spawn(async move {
                // Whoever needs the session finds out.
                let _ = pool.run(task, |_, _| Ok(())).await;
            });
            remote.wait_for(ready);
        }
        if let Some(journal) = &options.journal {
            journal.opened(&token).map_err(|error| {
                Error::new(ErrorKind::Other, operation, remote.place.location(&key))
                    .with_hint("the journal of uploads cannot be written")
                    .with_source(error)
            })?;
        }
        let temporary = Arc::new(Temporary { path: root.temporary(&name), token, journal: options.journal });
        let mut upload = Self {
            parts: Arc::default(),
            buffer: BytesMut::new(),
            position: 0,
            transfer: remote.begin_transfer(),
            broken: false,
            gone: false,
            mode: options.mode,
            size_hint: options.size_hint,
            key,
            temporary: Arc::clone(&temporary),
            root: Arc::clone(&root),
            remote,
        };
        // From here on, dropping the upload removes the file.
        task.cancel = Some(Arc::clone(&upload.parts.cancel));
        let create = move |connection: &_, _| publish::create(connection, &root, &temporary.path);
        match upload.remote.pool.run(task, create).await {
            Ok(()) => Ok(upload),
            Err(error) => {
                if error.kind() == ErrorKind::PermissionDenied {
                    // The server has said that it made nothing, and would not let it be removed either.
                    upload.gone = true;
                    upload.temporary.is_gone();
                }
                Err(error)
            }
        }
    }

    fn broken(&self, operation: Operation) -> Error {
        Error::new(ErrorKind::Cancelled, operation, self.remote.place.location(&self.key))
            .with_source("an earlier write failed, or was not waited for: the upload can only be aborted")
    }

    /// Hands a part to the sessions.
    async fn push(&mut self, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        let room = self.transfer.room();
        while !self.parts.has_room(room).await? {
            self.start_writer();
        }
        let finds_work = self.parts.push(self.position, bytes);
        self.position += length;
        let expected = self.size_hint.unwrap_or_default().max(self.position);
        let writers = self.parts.writers();
        if writers == 0 || (finds_work && writers < self.remote.sessions_for(expected).min(room)) {
            self.start_writer();
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<ObjectMeta> {
        if self.broken {
            return Err(self.broken(Operation::Commit));
        }
        let rest = std::mem::take(&mut self.buffer).freeze();
        while !self.parts.finish().await? {
            self.start_writer();
        }
        let mut task = self.remote.pool.task(Operation::Commit, self.remote.place.location(&self.key));
        task.cancel = Some(Arc::clone(&self.parts.cancel));
        // What is less than a part is written by the one who flushes and publishes.
        let publication = Publication {
            root: Arc::clone(&self.root),
            key: self.key.clone(),
            mode: self.mode,
            temporary: self.temporary.path.clone(),
            position: self.position,
            rest,
        };
        self.remote.pool.run(task, move |connection, attempt| publication.publish(connection, attempt)).await
    }

    fn start_writer(&self) {
        let (remote, parts) = (Arc::clone(&self.remote), Arc::clone(&self.parts));
        let path = self.temporary.path.clone();
        let mut task = remote.pool.task(Operation::Put, remote.place.location(&self.key));
        task.cancel = Some(Arc::clone(&parts.cancel));
        task.progress = Arc::clone(&parts.progress);
        parts.begin();
        let ending = Ending(Arc::clone(&parts));
        tokio::spawn(async move {
            let written = remote
                .pool
                .run(task, {
                    let (parts, pool) = (Arc::clone(&parts), Arc::clone(&remote.pool));
                    move |connection, _| parts.write(connection, &pool, &path)
                })
                .await;
            ending.end(written);
        });
    }

    /// Removes the file, on a task of its own that `close` waits for.
    fn clean_up(&mut self) -> Option<tokio::sync::oneshot::Receiver<Result<()>>> {
        if std::mem::replace(&mut self.gone, true) {
            return None;
        }
        self.parts.cancel.store(true, Ordering::Relaxed);
        // Without a runtime nobody can wait: a sweep removes it.
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (remote, parts, temporary) =
            (Arc::clone(&self.remote), Arc::clone(&self.parts), Arc::clone(&self.temporary));
        let location = remote.place.location(&self.key);
        let waiting = Arc::clone(&self.remote);
        let job = runtime.spawn(async move {
            parts.cancel().await;
            let mut task = remote.pool.task(Operation::Abort, location);
            task.patience = task.patience.for_cleaning_up();
            let path = temporary.path.clone();
            let removed =
                remote.pool.run(task, move |connection, _| publish::remove(connection, &path)).await;
            if removed.is_ok() {
                temporary.is_gone();
            }
            // Nobody may be waiting.
            let _ = sender.send(removed);
        });
        waiting.wait_for(job);
        Some(receiver)
    }
}

/// Makes sure that a writer is counted out, however its task ends.
struct Ending(Arc<Parts>);

impl Ending {
    fn end(self, result: Result<()>) {
        self.0.end(result);
        std::mem::forget(self);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Ok(()));
    }
}

#[async_trait]
impl Upload for SshUpload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        if self.broken {
            return Err(self.broken(Operation::Put));
        }
        // Until the chunk is handed over, a dropped future loses it.
        self.broken = true;
        while !chunk.is_empty() {
            if self.buffer.capacity() == 0 {
                let expected = self.size_hint.map_or(PART as u64, |size| size.saturating_sub(self.position));
                self.buffer.reserve(usize::try_from(expected).unwrap_or(PART).clamp(4096, PART));
            }
            let taken = chunk.split_to(chunk.len().min(PART - self.buffer.len()));
            self.buffer.extend_from_slice(&taken);
            if self.buffer.len() == PART {
                let part = std::mem::take(&mut self.buffer).freeze();
                self.push(part).await?;
            }
        }
        self.broken = false;
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<ObjectMeta> {
        match self.publish().await {
            Ok(meta) => {
                self.gone = true;
                self.temporary.is_gone();
                Ok(meta)
            }
            Err(error) => {
                // Dropped, it would do that too, but nobody would wait.
                if let Some(removed) = self.clean_up() {
                    let _ = removed.await;
                }
                Err(error)
            }
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.clean_up() {
            Some(removed) => removed.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

impl Drop for SshUpload {
    fn drop(&mut self) {
        drop(self.clean_up());
    }
}

impl fmt::Debug for SshUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshUpload")
            .field("key", &self.key)
            .field("mode", &self.mode)
            .field("temporary", &self.temporary)
            .finish_non_exhaustive()
    }
}
