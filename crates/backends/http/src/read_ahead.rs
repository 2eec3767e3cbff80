//! Reading a large object with several range requests at once.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use larder_backend::{ByteStream, Error, ErrorKind, Operation, Result};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::retry::{AttemptFailure, RetryAttempts, RetryBudget};

/// The bytes of one answer, until it ends or breaks.
pub type Body = BoxStream<'static, Result<Bytes, AttemptFailure>>;

/// Opens ranges of one version of an object.
#[async_trait]
pub trait RangeSource: Send + Sync + 'static {
    /// Requests a range, once. The answer may end early.
    ///
    /// # Errors
    ///
    /// The attempt failed.
    async fn open(&self, range: Range<u64>) -> Result<Body, AttemptFailure>;

    /// The URL of the object, for messages.
    fn location(&self) -> String;

    /// How long failed requests are retried.
    fn retry_budget(&self) -> &RetryBudget;
}

/// How a download is split into requests.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReadAhead {
    /// How much one request reads, in bytes.
    pub chunk: u64,
    /// How many requests are sent at once. A download keeps only their unread bytes in memory.
    pub chunks: usize,
    /// Whether the server supports ranges. Otherwise the first answer has the whole object.
    pub is_ranged: bool,
}

impl ReadAhead {
    /// Requests `chunks` ranges of `chunk` bytes at once.
    pub const fn new(chunk: u64, chunks: usize) -> Self {
        Self { chunk, chunks, is_ranged: true }
    }

    /// Sets whether the server supports ranges.
    #[must_use]
    pub const fn with_ranges(mut self, is_ranged: bool) -> Self {
        self.is_ranged = is_ranged;
        self
    }

    /// Continues a read. `first` is the range of the first answer, whose bytes are in `body`. `rest` has not been requested
    /// yet.
    pub fn read(
        self,
        source: Arc<dyn RangeSource>,
        first: Range<u64>,
        body: Body,
        rest: Range<u64>,
    ) -> ByteStream {
        let mut download = Download { how: self, source, chunks: VecDeque::new(), rest };
        download.fetch(first, Some(body));
        download.fetch_ahead();
        download.into_stream()
    }
}

/// Receives the pieces of one chunk.
type PieceSender = mpsc::Sender<Result<Bytes>>;

/// How many pieces of a chunk may wait for their reader. A requested chunk is small enough to wait as a whole.
const PIECES: usize = 2048;
/// The same if one answer has the whole object. Pieces have up to half a MiB.
const PIECES_OF_ALL: usize = 32;

/// A chunk that a task reads while the caller works.
struct RangeChunk {
    pieces: mpsc::Receiver<Result<Bytes>>,
    /// How many bytes have not come yet.
    left: u64,
    _task: AbortOnDropHandle<()>,
}

/// An object that is read with several requests, in order.
struct Download {
    how: ReadAhead,
    source: Arc<dyn RangeSource>,
    chunks: VecDeque<RangeChunk>,
    /// The bytes that have not been requested yet.
    rest: Range<u64>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("how", &self.how).field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl Download {
    fn fetch(&mut self, range: Range<u64>, body: Option<Body>) {
        let is_ranged = self.how.is_ranged;
        let (sender, pieces) = mpsc::channel(if is_ranged { PIECES } else { PIECES_OF_ALL });
        let left = range.end - range.start;
        let source = Arc::clone(&self.source);
        let task = tokio::spawn(async move {
            if let Err(error) = read_chunk(&*source, range, body, is_ranged, &sender).await {
                sender.send(Err(error)).await.ok();
            }
        });
        self.chunks.push_back(RangeChunk { pieces, left, _task: AbortOnDropHandle::new(task) });
    }

    fn fetch_ahead(&mut self) {
        while self.chunks.len() < self.how.chunks && !self.rest.is_empty() {
            let end = self.rest.end.min(self.rest.start + self.how.chunk);
            let range = self.rest.start..end;
            self.rest.start = end;
            self.fetch(range, None);
        }
    }

    fn into_stream(self) -> ByteStream {
        stream::unfold(Some(self), |download| async move {
            let mut download = download?;
            loop {
                let chunk = download.chunks.front_mut()?;
                match chunk.pieces.recv().await {
                    Some(Ok(bytes)) => {
                        chunk.left = chunk.left.saturating_sub(bytes.len() as u64);
                        return Some((Ok(bytes), Some(download)));
                    }
                    Some(Err(error)) => return Some((Err(error), None)),
                    None if chunk.left > 0 => {
                        let error = Error::new(ErrorKind::Other, Operation::Get, download.source.location());
                        return Some((Err(error.with_source("its reader has ended before it did")), None));
                    }
                    None => {
                        download.chunks.pop_front();
                        download.fetch_ahead();
                    }
                }
            }
        })
        .boxed()
    }
}

/// Reads a chunk. If the connection breaks, continues at that byte.
async fn read_chunk(
    source: &dyn RangeSource,
    range: Range<u64>,
    mut body: Option<Body>,
    is_ranged: bool,
    pieces: &PieceSender,
) -> Result<()> {
    let mut at = range.start;
    let mut attempts = source.retry_budget().attempts();
    while at < range.end {
        let opened = match body.take() {
            Some(body) => Ok(body),
            None => source.open(at..range.end).await,
        };
        let failure = match opened {
            Ok(body) => match drain(source, body, &mut at, range.end, pieces, &mut attempts).await {
                None => continue,
                // The reader is gone.
                Some(_) if pieces.is_closed() => return Ok(()),
                Some(failure) => failure,
            },
            Err(failure) => failure,
        };
        if at >= range.end {
            // All bytes came, and then the checksum did not match.
            let error = Error::new(ErrorKind::Integrity, Operation::Get, source.location());
            return Err(error.with_source(failure.error));
        }
        if !is_ranged {
            return Err(failure.error.with_retryable(false));
        }
        attempts.pause_after(failure).await?;
    }
    Ok(())
}

/// Forwards a body. Returns `None` at its end.
async fn drain(
    source: &dyn RangeSource,
    mut body: Body,
    at: &mut u64,
    end: u64,
    pieces: &PieceSender,
    attempts: &mut RetryAttempts,
) -> Option<AttemptFailure> {
    loop {
        match body.next().await {
            Some(Ok(mut bytes)) => {
                bytes.truncate(usize::try_from(end - *at).unwrap_or(usize::MAX));
                *at += bytes.len() as u64;
                if bytes.is_empty() {
                    continue;
                }
                if pieces.send(Ok(bytes)).await.is_err() {
                    return Some(Error::new(ErrorKind::Cancelled, Operation::Get, source.location()).into());
                }
                // After the send, so that the time of a slow reader does not count as silence of the server.
                attempts.progressed();
            }
            Some(Err(failure)) => return Some(failure),
            None if *at >= end => return None,
            None => {
                let error = Error::new(ErrorKind::Unavailable, Operation::Get, source.location());
                return Some(error.with_source("the connection ended before the object did").into());
            }
        }
    }
}
