//! Uploads: what becomes a single request, or a resumable upload in chunks.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use larder_backend::{Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result, Upload};
use tokio::runtime::Handle;

use crate::backend::Remote;
use crate::chunk::Chunk;
use crate::sender::{ChunkSizes, Sender};
use crate::write::{Session, Writing};

/// An upload.
pub(crate) struct GcsUpload {
    writing: Writing,
    sizes: ChunkSizes,
    /// About how large the object will be, in bytes: 0 where nobody knows.
    expected: u64,
    /// What has come before there is a resumable upload.
    first: Chunk,
    crc32c: u32,
    written: u64,
    upload: State,
    /// A write failed, or its future was dropped before it was done.
    broken: bool,
}

/// The resumable upload, where there is one.
enum State {
    /// Nothing was sent.
    New,
    Sending(Sender),
    /// Nothing is under way.
    Idle(Session),
}

impl GcsUpload {
    pub(crate) fn new(remote: Arc<Remote>, key: Key, options: &PutOptions) -> Self {
        let expected = options.size_hint.unwrap_or_default();
        let usual = || ChunkSizes::for_object(expected);
        Self {
            sizes: remote.config.chunk_size.map_or_else(usual, ChunkSizes::fixed),
            writing: Writing { remote, key, mode: options.mode },
            expected,
            first: Chunk::default(),
            crc32c: 0,
            written: 0,
            upload: State::New,
            broken: false,
        }
    }

    fn location(&self) -> String {
        self.writing.remote.location(&self.writing.key)
    }

    fn broken(&self, operation: Operation) -> Error {
        Error::new(ErrorKind::Cancelled, operation, self.location())
            .with_source("an earlier write failed, or was not waited for: the upload can only be aborted")
    }

    /// Sends bytes, or keeps them while they may be all.
    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        let pieces = if matches!(self.upload, State::New) {
            self.first.push(bytes);
            let smallest = self.sizes.smallest;
            if self.first.len() <= smallest && self.expected <= smallest as u64 {
                return Ok(());
            }
            self.upload = State::Sending(Sender::start(self.writing.clone(), self.sizes));
            std::mem::take(&mut self.first).into_pieces()
        } else {
            vec![bytes]
        };
        for piece in pieces {
            let given = match &self.upload {
                State::Sending(sender) => sender.give(piece).await,
                State::New | State::Idle(_) => return Err(self.broken(Operation::Put)),
            };
            if given.is_err() {
                let (session, _) = self.end().await?;
                self.upload = State::Idle(session);
                return Err(self.broken(Operation::Put));
            }
        }
        Ok(())
    }

    /// Waits for what is under way. Returns what the last request has to send, or why the upload has failed.
    async fn end(&mut self) -> Result<(Session, Chunk)> {
        // Left in place until it has ended, so that a dropped future loses nothing.
        let State::Sending(sender) = &mut self.upload else { return Err(self.broken(Operation::Commit)) };
        let Some(ended) = sender.end().await else {
            self.upload = State::New;
            let error = Error::new(ErrorKind::Other, Operation::Put, self.location());
            return Err(error.with_source("the task that sends it failed unexpectedly"));
        };
        self.upload = State::New;
        ended.map_err(|(error, session)| {
            self.upload = session.map_or(State::New, State::Idle);
            error
        })
    }

    async fn publish(&mut self) -> Result<ObjectMeta> {
        if self.broken {
            return Err(self.broken(Operation::Commit));
        }
        if matches!(self.upload, State::New) {
            return self.writing.at_once(std::mem::take(&mut self.first)).await;
        }
        let (session, rest) = self.end().await?;
        session.finish(rest, self.crc32c).await.map_err(|(error, session)| {
            self.upload = State::Idle(session);
            error
        })
    }

    /// Gives the upload up, on a task of its own that `close` waits for.
    fn clean_up(&mut self) -> Option<tokio::sync::oneshot::Receiver<Result<()>>> {
        let state = std::mem::replace(&mut self.upload, State::New);
        if matches!(state, State::New) {
            return None;
        }
        // Without a runtime nobody can wait: the server forgets it.
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let patience = self.writing.remote.patience.for_cleaning_up().stall_timeout;
        let job = runtime.spawn(async move {
            let session = match state {
                State::New => None,
                State::Idle(session) => Some(session),
                State::Sending(sender) => sender.stop(patience).await,
            };
            let aborted = match session {
                Some(session) => session.abort().await,
                None => Ok(()),
            };
            // Nobody may be waiting.
            let _ = sender.send(aborted);
        });
        self.writing.remote.wait_for(job);
        Some(receiver)
    }
}

#[async_trait]
impl Upload for GcsUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.broken {
            return Err(self.broken(Operation::Put));
        }
        // Until all of it is taken, a dropped future loses it.
        self.broken = true;
        self.written += chunk.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &chunk);
        if !chunk.is_empty() {
            self.take(chunk).await?;
        }
        self.broken = false;
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<ObjectMeta> {
        let published = self.publish().await;
        if published.is_err()
            && let Some(aborted) = self.clean_up()
        {
            // Why the commit failed is what the caller should read.
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
            .field("writing", &self.writing)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
