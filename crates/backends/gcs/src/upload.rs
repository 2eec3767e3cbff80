//! Uploads. A small object takes a single request, and a large one a resumable upload.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use larder_backend::{Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result, Upload, UploadGate};
use tokio::runtime::Handle;

use crate::chunk::Chunk;
use crate::context::GcsContext;
use crate::resumable::ResumableSession;
use crate::sender::{ChunkSizes, Sender};
use crate::write::WriteTarget;

/// An upload.
pub(crate) struct GcsUpload {
    target: WriteTarget,
    sizes: ChunkSizes,
    /// The estimated size of the object in bytes, or 0.
    expected: u64,
    /// Bytes that came before the resumable upload.
    first: Chunk,
    crc32c: u32,
    written: u64,
    session: UploadState,
    gate: UploadGate,
}

/// The state of the resumable upload.
enum UploadState {
    /// There is none.
    None,
    Sending(Sender),
    /// No request is being sent.
    Idle(ResumableSession),
}

impl GcsUpload {
    pub(crate) fn new(context: Arc<GcsContext>, key: Key, options: &PutOptions) -> Self {
        let expected = options.size_hint.unwrap_or_default();
        let usual = || ChunkSizes::for_object(expected);
        Self {
            sizes: context.config.chunk_size.map_or_else(usual, ChunkSizes::fixed),
            target: WriteTarget { context, key, mode: options.mode },
            expected,
            first: Chunk::default(),
            crc32c: 0,
            written: 0,
            session: UploadState::None,
            gate: UploadGate::default(),
        }
    }

    fn location(&self) -> String {
        self.target.location()
    }

    fn broken(&self, operation: Operation) -> Error {
        UploadGate::broken(operation, self.location())
    }

    /// Sends bytes, or keeps them while they may still fit into one request.
    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        let pieces = if matches!(self.session, UploadState::None) {
            self.first.push(bytes);
            let smallest = self.sizes.smallest;
            if self.first.len() <= smallest && self.expected <= smallest as u64 {
                return Ok(());
            }
            self.session = UploadState::Sending(Sender::start(self.target.clone(), self.sizes));
            std::mem::take(&mut self.first).into_pieces()
        } else {
            vec![bytes]
        };
        for piece in pieces {
            let given = match &self.session {
                UploadState::Sending(sender) => sender.give(piece).await,
                UploadState::None | UploadState::Idle(_) => return Err(self.broken(Operation::Put)),
            };
            if given.is_err() {
                let (session, _) = self.end().await?;
                self.session = UploadState::Idle(session);
                return Err(self.broken(Operation::Put));
            }
        }
        Ok(())
    }

    /// Waits for the requests that are being sent. Returns the bytes for the last request.
    async fn end(&mut self) -> Result<(ResumableSession, Chunk)> {
        // The sender stays in place until it has ended, so that a dropped future loses nothing.
        let UploadState::Sending(sender) = &mut self.session else {
            return Err(self.broken(Operation::Commit));
        };
        let Some(ended) = sender.end().await else {
            self.session = UploadState::None;
            let error = Error::new(ErrorKind::Other, Operation::Put, self.location());
            return Err(error.with_source("the task that sends the chunks failed unexpectedly"));
        };
        self.session = UploadState::None;
        ended.map_err(|(error, session)| {
            self.session = session.map_or(UploadState::None, UploadState::Idle);
            error
        })
    }

    async fn publish(&mut self) -> Result<ObjectMeta> {
        self.gate.check(Operation::Commit, || self.location())?;
        if matches!(self.session, UploadState::None) {
            return self.target.at_once(std::mem::take(&mut self.first)).await;
        }
        let (session, rest) = self.end().await?;
        session.finish(rest, self.crc32c).await.map_err(|(error, session)| {
            self.session = UploadState::Idle(session);
            error
        })
    }

    /// Aborts the upload in a task, which `close` awaits.
    fn clean_up(&mut self) -> Option<tokio::sync::oneshot::Receiver<Result<()>>> {
        let state = std::mem::replace(&mut self.session, UploadState::None);
        if matches!(state, UploadState::None) {
            return None;
        }
        // Without a runtime there is no task, and the server deletes the upload after a week.
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let timeout = self.target.context.retry_budget.for_cleaning_up().stall_timeout;
        let job = runtime.spawn(async move {
            let session = match state {
                UploadState::None => None,
                UploadState::Idle(session) => Some(session),
                UploadState::Sending(sender) => sender.stop(timeout).await,
            };
            let aborted = match session {
                Some(session) => session.abort().await,
                None => Ok(()),
            };
            // The caller may not wait any more.
            let _ = sender.send(aborted);
        });
        self.target.context.aborts.add(job);
        Some(receiver)
    }
}

#[async_trait]
impl Upload for GcsUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        let target = &self.target;
        self.gate.enter(|| target.location())?;
        self.written += chunk.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &chunk);
        if !chunk.is_empty() {
            self.take(chunk).await?;
        }
        self.gate.leave();
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<ObjectMeta> {
        let published = self.publish().await;
        if published.is_err()
            && let Some(aborted) = self.clean_up()
        {
            // The caller needs the error of the commit, not of the abort.
            let _ = aborted.await;
        }
        published
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.clean_up() {
            Some(aborted) => aborted.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

impl Drop for GcsUpload {
    fn drop(&mut self) {
        drop(self.clean_up());
    }
}

impl fmt::Debug for GcsUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsUpload")
            .field("target", &self.target)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
