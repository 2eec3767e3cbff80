//! The task that sends the chunks of a resumable upload, one after the other.

use std::sync::Arc;

use bytes::Bytes;
use larder_backend::Result;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::task::AbortOnDropHandle;

use crate::chunk::Chunk;
use crate::write::Session;

const MIB: usize = 1024 * 1024;

/// Chunks are multiples of it, except for the last: the server keeps no less.
const QUANTUM: usize = 256 * 1024;

/// How much one request sends, in bytes: what has come while the one before was under way. Where the server is near that is
/// little, and its bytes are still in the processor's cache; where a round trip is long it is much, and the line is not idle
/// for most of the time: at 1 Gbit/s and 100 ms it would be with chunks of 8 MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkSizes {
    /// An object of no more than this is one request.
    pub(crate) smallest: usize,
    /// So much may be under way, and as much and one of the smallest may wait.
    largest: usize,
}

impl ChunkSizes {
    /// For an object of about this size.
    pub(crate) fn for_object(expected: u64) -> Self {
        // Memory for what is not there is memory for nothing.
        let largest = if expected > 128 * MIB as u64 { 32 * MIB } else { 8 * MIB };
        Self { smallest: 8 * MIB, largest }
    }

    /// For chunks of one size: the next multiple of 256 KiB, up to 1 GiB.
    pub(crate) fn fixed(size: usize) -> Self {
        let size = size.clamp(QUANTUM, 1024 * MIB).next_multiple_of(QUANTUM);
        Self { smallest: size, largest: size }
    }
}

/// Sends what it is given. It ends with what is left for the last request.
pub(crate) struct Sender {
    /// For whoever gives the upload up meanwhile.
    session: Session,
    /// Closed at the end.
    pieces: Option<UnboundedSender<Bytes>>,
    /// For bytes that wait. Closed when the task has ended.
    room: Arc<Semaphore>,
    largest: usize,
    task: AbortOnDropHandle<(Session, Result<Chunk>)>,
}

/// The task has failed, and tells why.
#[derive(Debug)]
pub(crate) struct Failed;

impl Sender {
    pub(crate) fn start(session: Session, sizes: ChunkSizes) -> Self {
        // What is gathered is at most the smallest chunk when the task waits for more: then there is room for any piece.
        let room = Arc::new(Semaphore::new(sizes.smallest + sizes.largest));
        let (pieces, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(send_all(session.clone(), sizes, received, Arc::clone(&room)));
        Self {
            session,
            pieces: Some(pieces),
            room,
            largest: sizes.largest,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Takes bytes, as soon as there is room for them.
    pub(crate) async fn give(&self, mut bytes: Bytes) -> Result<(), Failed> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.largest));
            let len = u32::try_from(piece.len()).map_err(|_| Failed)?;
            self.room.acquire_many(len).await.map_err(|_| Failed)?.forget();
            self.pieces.as_ref().and_then(|pieces| pieces.send(piece).ok()).ok_or(Failed)?;
        }
        Ok(())
    }

    /// Waits until nothing is under way any more. `None`: the task panicked.
    pub(crate) async fn end(&mut self) -> Option<(Session, Result<Chunk>)> {
        self.pieces = None;
        (&mut self.task).await.ok()
    }

    /// Stops it.
    pub(crate) async fn stop(self) -> Session {
        self.task.abort();
        // Nothing is sent any more when this has ended.
        self.task.await.ok();
        self.session
    }
}

/// Closes the semaphore in the end, whatever that is, so that nobody waits for room that never comes.
struct Closing(Arc<Semaphore>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn send_all(
    mut session: Session,
    sizes: ChunkSizes,
    mut received: UnboundedReceiver<Bytes>,
    room: Arc<Semaphore>,
) -> (Session, Result<Chunk>) {
    let room = Closing(room);
    let mut gathered = Chunk::default();
    loop {
        // One byte more, for the last request, which is not empty.
        while gathered.len() <= sizes.smallest {
            match received.recv().await {
                Some(piece) => gathered.push(piece),
                None => return (session, Ok(gathered)),
            }
        }
        while gathered.len() <= sizes.largest
            && let Ok(piece) = received.try_recv()
        {
            gathered.push(piece);
        }
        let len = sizes.largest.min((gathered.len() - 1) / QUANTUM * QUANTUM);
        let rest = gathered.split_off(len);
        room.0.add_permits(len);
        if let Err(error) = session.send(gathered).await {
            return (session, Err(error));
        }
        gathered = rest;
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
            let ChunkSizes { smallest, largest } = ChunkSizes::fixed(size);
            assert_eq!((smallest, largest), (taken, taken));
        }
        for expected in [0, 1 << 20, 1 << 30, 1 << 45] {
            let ChunkSizes { smallest, largest } = ChunkSizes::for_object(expected);
            assert!(
                smallest.is_multiple_of(QUANTUM) && largest.is_multiple_of(QUANTUM) && smallest <= largest
            );
        }
    }
}
