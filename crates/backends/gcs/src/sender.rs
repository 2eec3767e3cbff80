//! The task that sends the chunks of a resumable upload, one after the other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use larder_backend::{Error, ErrorKind, Operation, Result};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::chunk::{Chunk, Occupied};
use crate::write::{Session, Writing};

const MIB: usize = 1024 * 1024;

/// Chunks are multiples of it, except for the last: the server keeps no less.
const QUANTUM: usize = 256 * 1024;

/// A server that takes longer for a chunk of up to the smallest size is far, or slow: larger ones keep the line busy. (The
/// testkit's takes 5 ms on loopback, and 23 ms while it computes an MD5.)
const NEAR: Duration = Duration::from_millis(40);

/// How much one request sends, in bytes: what has come while the one before was under way. Where the server is near that is
/// little, and its bytes are still in the processor's cache; where a round trip is long it is much, and the line is not idle
/// for most of the time: at 1 Gbit/s and 100 ms it would be with chunks of 8 MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkSizes {
    /// The first one has at least so much: the server need not wait for more.
    first: usize,
    /// An object of no more than this, and not expected to be more, is one request.
    pub(crate) smallest: usize,
    /// So much may be under way, and as much and one of the smallest may wait.
    largest: usize,
}

impl ChunkSizes {
    /// For an object of about this size.
    pub(crate) fn for_object(expected: u64) -> Self {
        // Memory for what is not there is memory for nothing.
        let largest = if expected > 128 * MIB as u64 { 32 * MIB } else { 8 * MIB };
        Self { first: MIB, smallest: 8 * MIB, largest }
    }

    /// For chunks of one size: the next multiple of 256 KiB, up to 1 GiB.
    pub(crate) fn fixed(size: usize) -> Self {
        let size = size.clamp(QUANTUM, 1024 * MIB).next_multiple_of(QUANTUM);
        Self { first: size, smallest: size, largest: size }
    }
}

/// Begins an upload and sends what it is given. It ends with what is left for the last request.
pub(crate) struct Sender {
    /// For whoever gives the upload up meanwhile: it is there as soon as it was begun.
    session: Arc<OnceLock<Session>>,
    /// Closed at the end.
    pieces: Option<UnboundedSender<Bytes>>,
    /// For bytes that were not yet handed to the connection. Closed when the task has ended.
    room: Arc<Semaphore>,
    /// The largest piece for which there will be room.
    largest_piece: usize,
    /// Nothing more is to be sent.
    stopped: CancellationToken,
    task: AbortOnDropHandle<Ended>,
}

/// The upload and what is left for its last request, or why it failed and the upload, where there is one.
pub(crate) type Ended = Result<(Session, Chunk), (Error, Option<Session>)>;

/// The task has failed, and tells why.
#[derive(Debug)]
pub(crate) struct Failed;

impl Sender {
    pub(crate) fn start(writing: Writing, sizes: ChunkSizes) -> Self {
        // What is gathered is at most the smallest chunk when the task waits for more: then there is room for any piece.
        let room = Arc::new(Semaphore::new(2 * sizes.smallest));
        let (pieces, received) = mpsc::unbounded_channel();
        let session = Arc::new(OnceLock::new());
        let stopped = CancellationToken::new();
        let begun = Arc::clone(&session);
        let work = begin_and_send(writing, begun, sizes, received, Arc::clone(&room), stopped.clone());
        let task = tokio::spawn(work);
        Self {
            session,
            pieces: Some(pieces),
            room,
            largest_piece: sizes.smallest,
            stopped,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Takes bytes, as soon as there is room for them.
    pub(crate) async fn give(&self, mut bytes: Bytes) -> Result<(), Failed> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.largest_piece));
            let len = u32::try_from(piece.len()).map_err(|_| Failed)?;
            self.room.acquire_many(len).await.map_err(|_| Failed)?.forget();
            self.pieces.as_ref().and_then(|pieces| pieces.send(piece).ok()).ok_or(Failed)?;
        }
        Ok(())
    }

    /// Waits until nothing is under way any more. `None`: the task panicked.
    pub(crate) async fn end(&mut self) -> Option<Ended> {
        self.pieces = None;
        (&mut self.task).await.ok()
    }

    /// Stops it. Returns the upload, where there is one: what is just being begun is waited for, up to so long, because
    /// nobody else could give it up.
    pub(crate) async fn stop(mut self, patience: Duration) -> Option<Session> {
        self.stopped.cancel();
        if time::timeout(patience, &mut self.task).await.is_err() {
            self.task.abort();
            // Nothing is sent any more when this has ended.
            self.task.await.ok();
        }
        self.session.get().cloned()
    }
}

/// Closes the semaphore in the end, whatever that is, so that nobody waits for room that never comes.
struct Closing(Arc<Semaphore>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn begin_and_send(
    writing: Writing,
    begun: Arc<OnceLock<Session>>,
    sizes: ChunkSizes,
    received: UnboundedReceiver<Bytes>,
    room: Arc<Semaphore>,
    stopped: CancellationToken,
) -> Ended {
    let room = Closing(room);
    let given_up = Error::new(ErrorKind::Cancelled, Operation::Put, writing.location());
    if stopped.is_cancelled() {
        return Err((given_up, None));
    }
    let session = writing.begin().await.map_err(|error| (error, None))?;
    let mut session = begun.get_or_init(|| session).clone();
    let sent = stopped.run_until_cancelled(send_all(&mut session, sizes, received, &room.0)).await;
    match sent.unwrap_or(Err(given_up)) {
        Ok(rest) => Ok((session, rest)),
        Err(error) => Err((error, Some(session))),
    }
}

async fn send_all(
    session: &mut Session,
    sizes: ChunkSizes,
    mut received: UnboundedReceiver<Bytes>,
    room: &Arc<Semaphore>,
) -> Result<Chunk> {
    let mut gathered = Chunk::default();
    let (mut at_least, mut at_most) = (sizes.first, sizes.smallest);
    loop {
        // One byte more, for the last request, which is not empty.
        while gathered.len() <= at_least {
            match received.recv().await {
                Some(piece) => gathered.push(piece),
                None => return Ok(gathered),
            }
        }
        while gathered.len() <= at_most {
            match received.try_recv() {
                Ok(piece) => gathered.push(piece),
                Err(TryRecvError::Empty) => break,
                // All of it fits into the last request.
                Err(TryRecvError::Disconnected) => return Ok(gathered),
            }
        }
        let len = at_most.min((gathered.len() - 1) / QUANTUM * QUANTUM);
        let rest = gathered.split_off(len);
        let occupied = Occupied::new(Arc::clone(room), len);
        let begun = Instant::now();
        session.send(gathered, &occupied).await?;
        // A server may have what it was not sent again.
        occupied.give_all_back();
        gathered = rest;
        at_least = sizes.smallest;
        if at_most < sizes.largest && begun.elapsed() > NEAR {
            at_most = sizes.largest;
            room.add_permits(sizes.largest - sizes.smallest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_such_as_the_server_takes() {
        for (size, taken) in
            [(0, QUANTUM), (1, QUANTUM), (QUANTUM + 1, 2 * QUANTUM), (usize::MAX, 1024 * MIB)]
        {
            let ChunkSizes { first, smallest, largest } = ChunkSizes::fixed(size);
            assert_eq!((first, smallest, largest), (taken, taken, taken));
        }
        for expected in [0, 1 << 20, 1 << 30, 1 << 45] {
            let ChunkSizes { first, smallest, largest } = ChunkSizes::for_object(expected);
            assert!([first, smallest, largest].iter().all(|size| size.is_multiple_of(QUANTUM)));
            assert!(first <= smallest && smallest <= largest);
        }
    }
}
