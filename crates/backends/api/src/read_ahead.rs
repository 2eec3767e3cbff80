//! Reading a large object by several requests at once, for backends whose servers are reached by HTTP.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::backend::ByteStream;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::retry::{Attempts, Failure, Patience};

/// The bytes of one answer, until it ends or breaks.
pub type Body = BoxStream<'static, Result<Bytes, Failure>>;

/// What opens ranges of one version of an object.
#[async_trait]
pub trait RangeSource: Send + Sync + 'static {
    /// Asks for a range, once. It need not be there to its end.
    ///
    /// # Errors
    ///
    /// The attempt failed.
    async fn open(&self, range: Range<u64>) -> Result<Body, Failure>;

    /// The URL of the object, for messages.
    fn location(&self) -> String;

    /// For how long it is tried.
    fn patience(&self) -> &Patience;
}

/// How a download is cut.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReadAhead {
    /// How much one request reads, in bytes.
    pub chunk: u64,
    /// How many requests there are at once. What they have read and nobody has taken yet is all that a download keeps in
    /// memory.
    pub chunks: usize,
    /// Whether the rest of a chunk can be asked for. Otherwise all of the object comes by the first answer.
    pub is_ranged: bool,
}

impl ReadAhead {
    /// Reads chunks of so many bytes, so many at once.
    pub const fn new(chunk: u64, chunks: usize) -> Self {
        Self { chunk, chunks, is_ranged: true }
    }

    /// Whether the server knows ranges.
    #[must_use]
    pub const fn with_ranges(mut self, is_ranged: bool) -> Self {
        self.is_ranged = is_ranged;
        self
    }

    /// Reads on: `first` is the range of the answer that has come, whose bytes are in `body`, and `rest` what has not
    /// been asked for yet.
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

/// Where the pieces of one chunk go.
type Pieces = mpsc::Sender<Result<Bytes>>;

/// How many pieces of a chunk may wait for their reader. A chunk that was asked for is small enough to wait as a whole.
const PIECES: usize = 2048;
/// The same where all of an object comes at once: of pieces of up to half a MiB.
const PIECES_OF_ALL: usize = 32;

/// A chunk that is being read, on a task of its own so that it goes on while its reader works.
struct Chunk {
    pieces: mpsc::Receiver<Result<Bytes>>,
    /// How many bytes have not come yet.
    left: u64,
    _task: AbortOnDropHandle<()>,
}

/// An object that is being read by several requests, in order.
struct Download {
    how: ReadAhead,
    source: Arc<dyn RangeSource>,
    chunks: VecDeque<Chunk>,
    /// What has not been asked for yet.
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
        self.chunks.push_back(Chunk { pieces, left, _task: AbortOnDropHandle::new(task) });
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

/// Reads a chunk and hands on what arrives. Where the connection breaks, it goes on at that byte.
async fn read_chunk(
    source: &dyn RangeSource,
    range: Range<u64>,
    mut body: Option<Body>,
    is_ranged: bool,
    pieces: &Pieces,
) -> Result<()> {
    let mut at = range.start;
    let mut attempts = source.patience().attempts();
    while at < range.end {
        let opened = match body.take() {
            Some(body) => Ok(body),
            None => source.open(at..range.end).await,
        };
        let failure = match opened {
            Ok(body) => match drain(source, body, &mut at, range.end, pieces, &mut attempts).await {
                None => continue,
                // Nobody reads any more.
                Some(_) if pieces.is_closed() => return Ok(()),
                Some(failure) => failure,
            },
            Err(failure) => failure,
        };
        if at >= range.end {
            // All bytes have come, and then the checksum said that they are others.
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

/// Hands on a body. `None` where it came to its end.
async fn drain(
    source: &dyn RangeSource,
    mut body: Body,
    at: &mut u64,
    end: u64,
    pieces: &Pieces,
    attempts: &mut Attempts,
) -> Option<Failure> {
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
                // Behind the send: a reader that takes its time is no silence of the server's.
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
