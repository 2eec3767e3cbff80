//! The task that sends the chunks of a resumable upload one after the other.

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
use crate::resumable::ResumableSession;
use crate::write::WriteTarget;

const MIB: usize = 1024 * 1024;

/// All chunks but the last are multiples of this size, in bytes. The server requires it.
const QUANTUM: usize = 256 * 1024;

/// A server that takes longer for a chunk of the smallest size is far away or slow. Larger chunks then keep the connection
/// busy. (The testkit's server takes 5 ms on loopback, and 23 ms while it computes an MD5.)
const NEAR: Duration = Duration::from_millis(40);

/// How much one request sends, in bytes: the bytes that came during the request before it. If the server is near, chunks
/// are small, and their bytes are still in the processor's cache. If a round trip is long, chunks are large, and the
/// connection is busy: at 1 Gbit/s and 100 ms, chunks of 8 MiB would leave it idle most of the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkSizes {
    /// The smallest first chunk. It is small, so that the server gets bytes early.
    first: usize,
    /// The smallest later chunk. An object up to this size is sent in one request, unless it is expected to be larger.
    pub(crate) smallest: usize,
    /// The largest chunk. Memory holds one chunk being sent, and another with `smallest` bytes that wait.
    largest: usize,
}

impl ChunkSizes {
    /// Sizes for an object of about `expected` bytes.
    pub(crate) fn for_object(expected: u64) -> Self {
        // A small object does not need the memory.
        let largest = if expected > 128 * MIB as u64 { 32 * MIB } else { 8 * MIB };
        Self { first: MIB, smallest: 8 * MIB, largest }
    }

    /// Chunks of one size: the next multiple of 256 KiB, up to 1 GiB.
    pub(crate) fn fixed(size: usize) -> Self {
        let size = size.clamp(QUANTUM, 1024 * MIB).next_multiple_of(QUANTUM);
        Self { first: size, smallest: size, largest: size }
    }
}

/// Begins an upload, and sends bytes while more come. The rest is left for the last request.
pub(crate) struct Sender {
    /// The upload, as soon as it has begun. An abort needs it.
    session: Arc<OnceLock<ResumableSession>>,
    /// `None` after the end.
    pieces: Option<UnboundedSender<Bytes>>,
    /// Has a permit for each byte that may still be taken. Closed when the task has ended.
    room: Arc<Semaphore>,
    /// The largest piece that fits.
    largest_piece: usize,
    /// Cancelled if nothing more is to be sent.
    stopped: CancellationToken,
    task: AbortOnDropHandle<SendOutcome>,
}

/// The upload and the rest for its last request. After a failure, the error and the upload, if it had begun.
pub(crate) type SendOutcome = Result<(ResumableSession, Chunk), (Error, Option<ResumableSession>)>;

/// The task has failed. Its outcome says why.
#[derive(Debug)]
pub(crate) struct SenderEnded;

impl Sender {
    pub(crate) fn start(target: WriteTarget, sizes: ChunkSizes) -> Self {
        // A waiting task has gathered at most the smallest chunk. So there is always room for one more piece.
        let room = Arc::new(Semaphore::new(2 * sizes.smallest));
        let (pieces, received) = mpsc::unbounded_channel();
        let session = Arc::new(OnceLock::new());
        let stopped = CancellationToken::new();
        let begun = Arc::clone(&session);
        let work = begin_and_send(target, begun, sizes, received, Arc::clone(&room), stopped.clone());
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

    /// Takes bytes, and waits for room first.
    pub(crate) async fn give(&self, mut bytes: Bytes) -> Result<(), SenderEnded> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.largest_piece));
            let len = u32::try_from(piece.len()).map_err(|_| SenderEnded)?;
            self.room.acquire_many(len).await.map_err(|_| SenderEnded)?.forget();
            self.pieces.as_ref().and_then(|pieces| pieces.send(piece).ok()).ok_or(SenderEnded)?;
        }
        Ok(())
    }

    /// Waits for the end of the task. Returns `None` if it panicked.
    pub(crate) async fn end(&mut self) -> Option<SendOutcome> {
        self.pieces = None;
        (&mut self.task).await.ok()
    }

    /// Stops the task, and returns the upload, if there is one. Waits up to `timeout` for an upload that is just beginning,
    /// because only this task can abort it.
    pub(crate) async fn stop(mut self, timeout: Duration) -> Option<ResumableSession> {
        self.stopped.cancel();
        if time::timeout(timeout, &mut self.task).await.is_err() {
            self.task.abort();
            // Afterwards nothing is sent any more.
            self.task.await.ok();
        }
        self.session.get().cloned()
    }
}

/// Closes the semaphore when the task ends for any reason, so that nobody waits for room forever.
struct CloseOnDrop(Arc<Semaphore>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn begin_and_send(
    target: WriteTarget,
    begun: Arc<OnceLock<ResumableSession>>,
    sizes: ChunkSizes,
    received: UnboundedReceiver<Bytes>,
    room: Arc<Semaphore>,
    stopped: CancellationToken,
) -> SendOutcome {
    let room = CloseOnDrop(room);
    let given_up = Error::new(ErrorKind::Cancelled, Operation::Put, target.location());
    if stopped.is_cancelled() {
        return Err((given_up, None));
    }
    let session = ResumableSession::begin(target).await.map_err(|error| (error, None))?;
    let mut session = begun.get_or_init(|| session).clone();
    let sent = stopped.run_until_cancelled(send_all(&mut session, sizes, received, &room.0)).await;
    match sent.unwrap_or(Err(given_up)) {
        Ok(rest) => Ok((session, rest)),
        Err(error) => Err((error, Some(session))),
    }
}

async fn send_all(
    session: &mut ResumableSession,
    sizes: ChunkSizes,
    mut received: UnboundedReceiver<Bytes>,
    room: &Arc<Semaphore>,
) -> Result<Chunk> {
    let mut gathered = Chunk::default();
    let (mut at_least, mut at_most) = (sizes.first, sizes.smallest);
    loop {
        // One more byte, because the last request must not be empty.
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
                // The last request takes the rest.
                Err(TryRecvError::Disconnected) => return Ok(gathered),
            }
        }
        let len = at_most.min((gathered.len() - 1) / QUANTUM * QUANTUM);
        let rest = gathered.split_off(len);
        let occupied = Occupied::new(Arc::clone(room), len);
        let begun = Instant::now();
        session.send(gathered, &occupied).await?;
        // The server may have had bytes that were not sent again.
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
    fn chunks_have_sizes_that_the_server_accepts() {
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
