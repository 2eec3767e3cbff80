//! Uploads: a chunk that becomes a single request, or chunks of which one is under way while the next fills.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use larder_backend::{Error, ErrorKind, Key, ObjectMeta, Operation, PutOptions, Result, Upload};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::backend::Remote;
use crate::chunk::Chunk;
use crate::write::{Session, Writing};

/// How much one request of a resumable upload sends at the most, in bytes; the server takes multiples of 256 KiB. At 1 Gbit/s
/// and a round trip of 100 ms a chunk of 8 MiB would leave the link idle for more than half of the time. Two are in memory.
const LARGEST_CHUNK: usize = 32 * 1024 * 1024;
/// How much the first request sends, in bytes, and each of them where no more than a few times as much is expected. The
/// next ones send twice as much as the one before: nothing is sent while the first chunk fills.
const FIRST_CHUNK: usize = 8 * 1024 * 1024;

/// An upload.
pub(crate) struct GcsUpload {
    writing: Writing,
    /// How much the next request sends, unless it is the last, and the most that a later one does.
    chunk_size: usize,
    largest_chunk: usize,
    /// What the next request sends.
    next: Chunk,
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
    Idle(Session),
    /// A chunk is under way. The session is there twice, for whoever gives it up meanwhile.
    Sending(Session, AbortOnDropHandle<(Session, Result<()>)>),
}

impl GcsUpload {
    pub(crate) fn new(remote: Arc<Remote>, key: Key, options: &PutOptions) -> Self {
        let expected = options.size_hint.unwrap_or_default();
        let largest = if expected > 4 * LARGEST_CHUNK as u64 { LARGEST_CHUNK } else { FIRST_CHUNK };
        Self {
            chunk_size: remote.config.chunk_size.unwrap_or(FIRST_CHUNK),
            largest_chunk: remote.config.chunk_size.unwrap_or(largest),
            writing: Writing { remote, key, mode: options.mode },
            next: Chunk::default(),
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

    /// The resumable upload, when nothing of it is under way any more.
    async fn session(&mut self) -> Result<Session> {
        // Left in place until it has ended, so that a dropped future loses nothing.
        let State::Sending(_, sending) = &mut self.upload else {
            return match std::mem::replace(&mut self.upload, State::New) {
                State::Idle(session) => Ok(session),
                _ => self.writing.clone().begin().await,
            };
        };
        let ended = sending.await;
        self.upload = State::New;
        let (session, sent) = ended.map_err(|error| {
            Error::new(ErrorKind::Other, Operation::Put, self.location()).with_source(error)
        })?;
        match sent {
            Ok(()) => Ok(session),
            Err(error) => {
                self.upload = State::Idle(session);
                Err(error)
            }
        }
    }

    /// Sends a chunk, while the next one fills.
    async fn send_chunk(&mut self) -> Result<()> {
        let mut session = self.session().await?;
        let chunk = std::mem::take(&mut self.next);
        let same = session.clone();
        let sending = tokio::spawn(async move {
            let sent = session.send(chunk).await;
            (session, sent)
        });
        self.upload = State::Sending(same, AbortOnDropHandle::new(sending));
        self.chunk_size = (2 * self.chunk_size).min(self.largest_chunk);
        Ok(())
    }

    async fn publish(&mut self) -> Result<ObjectMeta> {
        if self.broken {
            return Err(self.broken(Operation::Commit));
        }
        let rest = std::mem::take(&mut self.next);
        if matches!(self.upload, State::New) {
            return self.writing.at_once(rest).await;
        }
        let session = self.session().await?;
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
        let job = runtime.spawn(async move {
            let session = match state {
                State::New => None,
                State::Idle(session) => Some(session),
                State::Sending(session, sending) => {
                    sending.abort();
                    // Nothing of it is sent any more when this has ended.
                    sending.await.ok();
                    Some(session)
                }
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
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        if self.broken {
            return Err(self.broken(Operation::Put));
        }
        // Until all of it is taken, a dropped future loses it.
        self.broken = true;
        self.written += chunk.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &chunk);
        while !chunk.is_empty() {
            // A full chunk is sent when more comes: a small object is one request, and the last chunk is never empty.
            if self.next.len() >= self.chunk_size {
                self.send_chunk().await?;
            }
            self.next.push(chunk.split_to(chunk.len().min(self.chunk_size - self.next.len())));
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
