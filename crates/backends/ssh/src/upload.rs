//! Writing objects.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use larder_backend::{
    Error, ErrorKind, Key, ObjectMeta, Operation, PutMode, PutOptions, Result, Upload, UploadGate,
    UploadJournal, UploadToken,
};
use larder_backend_files::temporary_name::TemporaryName;
use tokio::runtime::Handle;

use crate::context::{SshContext, TransferCount};
use crate::parts::{PART, Parts};
use crate::publish::Publication;
use crate::root::FoundRoot;
use crate::temporary;

/// An upload: a temporary file on the server, and the bytes on their way there.
pub(crate) struct SshUpload {
    context: Arc<SshContext>,
    root: Arc<FoundRoot>,
    key: Key,
    mode: PutMode,
    temporary: Arc<RemoteTemporary>,
    size_hint: Option<u64>,
    parts: Arc<Parts>,
    /// The bytes that do not fill a part yet.
    buffer: BytesMut,
    /// The position of the buffer in the file.
    position: u64,
    transfer: TransferCount,
    gate: UploadGate,
    /// Published or removed.
    gone: bool,
}

/// An unpublished file on the server, and its entry in the journal.
#[derive(Debug)]
pub(crate) struct RemoteTemporary {
    pub(crate) path: String,
    token: UploadToken,
    journal: Option<Arc<dyn UploadJournal>>,
}

impl RemoteTemporary {
    /// Notes that the file does not exist any more.
    fn is_gone(&self) {
        if let Some(journal) = &self.journal {
            journal.closed(&self.token);
        }
    }
}

impl SshUpload {
    /// Creates the temporary file.
    pub(crate) async fn begin(context: Arc<SshContext>, key: Key, options: PutOptions) -> Result<Self> {
        let operation = Operation::Put;
        let name = TemporaryName::new();
        let token = UploadToken::new(name.to_string());
        let mut task = context.pool.task(operation, context.root.location(&key));
        // The journal gets an entry only if the remote exists. Otherwise nothing is created.
        let root = {
            let (context, task) = (Arc::clone(&context), task.clone());
            let pool = Arc::clone(&context.pool);
            pool.run(task, move |connection, _| {
                let root = context.root.find_or_create(connection);
                context.note_round_trip(connection.round_trip());
                root
            })
            .await?
        };
        // Sessions log in while the first part is written.
        for _ in 1..context.sessions_for(options.size_hint.unwrap_or_default()) {
            let (pool, task) = (Arc::clone(&context.pool), task.clone());
            let ready = tokio::spawn(async move {
                // The job that needs the session reports the error.
                let _ = pool.run(task, |_, _| Ok(())).await;
            });
            context.wait_for(ready);
        }
        if let Some(journal) = &options.journal {
            journal.opened(&token).map_err(|error| {
                Error::new(ErrorKind::Other, operation, context.root.location(&key))
                    .with_hint("the journal of uploads cannot be written")
                    .with_source(error)
            })?;
        }
        let temporary =
            Arc::new(RemoteTemporary { path: root.temporary(name), token, journal: options.journal });
        let mut upload = Self {
            parts: Arc::default(),
            buffer: BytesMut::new(),
            position: 0,
            transfer: context.begin_transfer(),
            gate: UploadGate::default(),
            gone: false,
            mode: options.mode,
            size_hint: options.size_hint,
            key,
            temporary: Arc::clone(&temporary),
            root: Arc::clone(&root),
            context,
        };
        // From here on, dropping the upload removes the file.
        task.cancel = Some(Arc::clone(&upload.parts.cancel));
        let create = move |connection: &_, _| temporary::create(connection, &root, &temporary.path);
        match upload.context.pool.run(task, create).await {
            Ok(()) => Ok(upload),
            Err(error) => {
                if error.kind() == ErrorKind::PermissionDenied {
                    // The server has created nothing.
                    upload.gone = true;
                    upload.temporary.is_gone();
                }
                Err(error)
            }
        }
    }

    fn location(&self) -> String {
        self.context.root.location(&self.key)
    }

    /// Passes a part to the sessions.
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
        if writers == 0 || (finds_work && writers < self.context.sessions_for(expected).min(room)) {
            self.start_writer();
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<ObjectMeta> {
        self.gate.check(Operation::Commit, || self.location())?;
        let rest = std::mem::take(&mut self.buffer).freeze();
        while !self.parts.finish().await? {
            self.start_writer();
        }
        let mut task = self.context.pool.task(Operation::Commit, self.location());
        task.cancel = Some(Arc::clone(&self.parts.cancel));
        // The session that publishes also writes the last bytes.
        let publication = Publication {
            root: Arc::clone(&self.root),
            key: self.key.clone(),
            mode: self.mode,
            temporary: self.temporary.path.clone(),
            position: self.position,
            rest,
        };
        self.context.pool.run(task, move |connection, attempt| publication.publish(connection, attempt)).await
    }

    fn start_writer(&self) {
        let (context, parts) = (Arc::clone(&self.context), Arc::clone(&self.parts));
        let path = self.temporary.path.clone();
        let mut task = context.pool.task(Operation::Put, context.root.location(&self.key));
        task.cancel = Some(Arc::clone(&parts.cancel));
        task.progress = Arc::clone(&parts.progress);
        parts.begin();
        let ending = WriterEnding(Arc::clone(&parts));
        tokio::spawn(async move {
            let written = context
                .pool
                .run(task, {
                    let (parts, pool) = (Arc::clone(&parts), Arc::clone(&context.pool));
                    move |connection, _| parts.write(connection, &pool, &path)
                })
                .await;
            ending.end(written);
        });
    }

    /// Removes the file in a task that `close` waits for.
    fn clean_up(&mut self) -> Option<tokio::sync::oneshot::Receiver<Result<()>>> {
        if std::mem::replace(&mut self.gone, true) {
            return None;
        }
        self.parts.cancel.store(true, Ordering::Relaxed);
        // Without a runtime nobody can wait. A later sweep removes the file.
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (context, parts, temporary) =
            (Arc::clone(&self.context), Arc::clone(&self.parts), Arc::clone(&self.temporary));
        let location = context.root.location(&self.key);
        let waiting = Arc::clone(&self.context);
        let job = runtime.spawn(async move {
            parts.cancel().await;
            let mut task = context.pool.task(Operation::Abort, location);
            task.patience = task.patience.for_cleaning_up();
            let path = temporary.path.clone();
            let removed =
                context.pool.run(task, move |connection, _| temporary::remove(connection, &path)).await;
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

/// Reports the end of a writer, however its task ends.
struct WriterEnding(Arc<Parts>);

impl WriterEnding {
    fn end(self, result: Result<()>) {
        self.0.end(result);
        std::mem::forget(self);
    }
}

impl Drop for WriterEnding {
    fn drop(&mut self) {
        self.0.end(Ok(()));
    }
}

#[async_trait]
impl Upload for SshUpload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        let (root, key) = (&self.context.root, &self.key);
        self.gate.enter(|| root.location(key))?;
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
        self.gate.leave();
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
                // `Drop` would do it too, but nobody would wait for it.
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
