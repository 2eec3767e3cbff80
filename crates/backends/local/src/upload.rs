//! Writing objects.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use larder_backend::{Key, ObjectMeta, Operation, PutMode, Result, Upload, UploadGate};
use tokio::task::JoinHandle;

use crate::context::LocalContext;
use crate::error::failed;
use crate::publish::publish;
use crate::temporary::Temporary;

/// The number of bytes that are collected before a blocking thread writes them. As many may be on their way to the disk.
const BUFFER: usize = 1024 * 1024;

/// Chunks of at least this size, in bytes, are written without a copy. Copying smaller ones is cheaper than a call for each.
const LARGE: usize = 256 * 1024;

/// An upload. Its temporary is here, or on the blocking thread that works on it.
pub(crate) struct LocalUpload {
    context: Arc<LocalContext>,
    key: Key,
    mode: PutMode,
    temporary: Option<Temporary>,
    job: Option<JoinHandle<Done>>,
    buffer: BytesMut,
    gate: UploadGate,
}

/// What a blocking thread returns.
struct Done {
    /// `None` after a commit or an abort.
    temporary: Option<Temporary>,
    /// The object, after a commit.
    result: Result<Option<ObjectMeta>>,
}

impl LocalUpload {
    pub(crate) fn new(context: Arc<LocalContext>, key: Key, mode: PutMode, temporary: Temporary) -> Self {
        Self {
            context,
            key,
            mode,
            temporary: Some(temporary),
            job: None,
            buffer: BytesMut::new(),
            gate: UploadGate::default(),
        }
    }

    fn location(&self) -> String {
        self.context.root.location(&self.key)
    }

    /// Hands the temporary to a blocking thread.
    fn start(&mut self, job: impl FnOnce(Temporary) -> Done + Send + 'static) {
        if let Some(temporary) = self.temporary.take() {
            self.job = Some(tokio::task::spawn_blocking(move || job(temporary)));
        }
    }

    /// Waits for the blocking thread. A dropped future does not lose it.
    async fn settle(&mut self, operation: Operation) -> Result<Option<ObjectMeta>> {
        let Some(job) = &mut self.job else { return Ok(None) };
        let done = match operation {
            // It flushes to the disk, which may take any time.
            Operation::Commit => job.await,
            _ => self.context.root.wait(operation, job).await?,
        };
        self.job = None;
        let done = done.map_err(|error| failed(operation, self.location(), io::Error::other(error)))?;
        self.temporary = done.temporary;
        done.result
    }
}

/// Writes chunks, and returns the temporary.
fn write(mut temporary: Temporary, chunks: &[Bytes], location: &str) -> Done {
    match temporary.write(chunks) {
        Ok(()) => Done { temporary: Some(temporary), result: Ok(None) },
        // The file may now hold a part of a chunk. It is never published.
        Err(error) => {
            Done { temporary: Some(temporary), result: Err(failed(Operation::Put, location, error)) }
        }
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let (root, key) = (&self.context.root, &self.key);
        self.gate.enter(|| root.location(key))?;
        let mut chunks = Vec::with_capacity(2);
        if chunk.len() < LARGE {
            self.buffer.extend_from_slice(&chunk);
            if self.buffer.len() < BUFFER {
                self.gate.leave();
                return Ok(());
            }
            chunks.push(self.buffer.split().freeze());
        } else {
            chunks.push(self.buffer.split().freeze());
            chunks.push(chunk);
        }
        // A future that is dropped here loses the chunks.
        self.settle(Operation::Put).await?;
        let location = self.location();
        self.start(move |temporary| write(temporary, &chunks, &location));
        self.gate.leave();
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<ObjectMeta> {
        self.gate.check(Operation::Commit, || self.location())?;
        self.settle(Operation::Put).await?;
        let (context, key, mode) = (Arc::clone(&self.context), self.key.clone(), self.mode);
        let rest = self.buffer.split().freeze();
        self.start(move |temporary| {
            let written = write(temporary, &[rest], &context.root.location(&key));
            match (written.temporary, written.result) {
                (Some(temporary), Ok(_)) => Done {
                    temporary: None,
                    result: publish(temporary, &context.root, &key, mode, &context.file_system).map(Some),
                },
                (_, result) => Done { temporary: None, result },
            }
        });
        match self.settle(Operation::Commit).await? {
            Some(meta) => Ok(meta),
            None => Err(UploadGate::broken(Operation::Commit, self.location())),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        // The owner knows of a failed write, and aborts because of it.
        let _ = self.settle(Operation::Abort).await;
        let location = self.location();
        self.start(move |temporary| Done {
            temporary: None,
            result: temporary
                .remove()
                .map(|()| None)
                .map_err(|error| failed(Operation::Abort, location, error)),
        });
        self.settle(Operation::Abort).await.map(drop)
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        // A temporary that is here removes itself. One on a blocking thread does so when the thread is done, and `close`
        // waits for that.
        if let Some(job) = self.job.take() {
            self.context.wait_for(job);
        }
    }
}

impl fmt::Debug for LocalUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalUpload")
            .field("key", &self.key)
            .field("mode", &self.mode)
            .field("temporary", &self.temporary)
            .finish_non_exhaustive()
    }
}
