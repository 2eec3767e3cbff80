//! The encoders of the process, and the memory that they share.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::executor::block_on;
use larder_tree::{BufferPool, Workers};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::encoder::Encoder;
use super::encoder_thread::EncoderThread;
use super::piece::PIECE;
use crate::compression::Compression;

const MIB: usize = 1 << 20;

/// How much memory all encoders at work may take together, in MiB. Two of zstd at level 19 fit, and three of xz at level 3.
/// With the pieces, their frames and all the rest, a push then stays under 192 MiB.
const ENCODER_MEMORY: usize = 104;

/// One budget for all streams of the process.
static MEMORY: Semaphore = Semaphore::const_new(ENCODER_MEMORY);

/// Encoders that no thread uses. They are kept because creating one takes time, and because an allocator keeps what is
/// freed in the arena of the thread that freed it.
static IDLE: Mutex<Vec<(Compression, Encoder)>> = Mutex::new(Vec::new());

static FRAMES: LazyLock<BufferPool> = LazyLock::new(BufferPool::default);

/// Waits until there is memory for one more encoder. Its owner compresses a piece and waits for nothing else, so every
/// waiter gets memory in the end.
fn wait_for_memory(compression: Compression) -> SemaphorePermit<'static> {
    block_on(MEMORY.acquire_many(weight(compression))).expect("the budget is never closed")
}

/// Returns how many encoders may work at once.
pub(super) fn max_encoders(compression: Compression) -> usize {
    ENCODER_MEMORY / weight(compression).max(1) as usize
}

/// The memory of an encoder in MiB.
fn weight(compression: Compression) -> u32 {
    let mib = Encoder::memory(compression).div_ceil(MIB).min(ENCODER_MEMORY);
    u32::try_from(mib).unwrap_or(u32::MAX)
}

/// Waits until there is memory for an encoder, and then compresses `piece` into a frame on another thread. The receiver gets
/// the frame. It gets nothing if that thread panics.
///
/// # Errors
///
/// The system refuses a thread.
pub(super) fn encode_on_thread(
    compression: Compression,
    piece: Bytes,
    workers: &Workers,
) -> io::Result<Receiver<io::Result<Bytes>>> {
    let memory = wait_for_memory(compression);
    let (sender, receiver) = sync_channel(1);
    let work = move || {
        let frame = encode(compression, &piece);
        drop(piece);
        frame
    };
    // Sending fails only if the writer was dropped.
    if Encoder::allocates_for_each_piece(compression.format()) {
        let thread = EncoderThread::take()?;
        thread.run(move |thread| {
            let frame = work();
            // In this order, so that nobody with memory for an encoder starts a thread although one is idle.
            thread.put_back();
            drop(memory);
            let _ = sender.send(frame);
        });
    } else {
        workers.spawn_compute(move || {
            let frame = work();
            drop(memory);
            let _ = sender.send(frame);
        });
    }
    Ok(receiver)
}

/// Compresses a piece into a frame.
fn encode(compression: Compression, piece: &[u8]) -> io::Result<Bytes> {
    let mut encoder = match take_idle(compression) {
        Some(encoder) => encoder,
        None => Encoder::new(compression)?,
    };
    let mut frame = FRAMES.take(Encoder::bound(PIECE))?;
    encoder.encode(piece, &mut frame)?;
    idle().push((compression, encoder));
    // The receiver may collect many frames before it is done with the first. So a frame that is much smaller than its
    // buffer is copied into one of its own size.
    if frame.len() > frame.capacity() / 4 * 3 {
        return Ok(FRAMES.freeze(frame));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(frame.len())?;
    bytes.extend_from_slice(&frame);
    FRAMES.put_back(frame);
    Ok(bytes.into())
}

fn take_idle(compression: Compression) -> Option<Encoder> {
    let mut idle = idle();
    // Encoders of another compression would take memory that is not counted.
    idle.retain(|(other, _)| *other == compression);
    idle.pop().map(|(_, encoder)| encoder)
}

fn idle() -> MutexGuard<'static, Vec<(Compression, Encoder)>> {
    // A panic cannot leave the list half-changed.
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_encoders_depends_on_their_memory() {
        let most = |compression: &str| max_encoders(compression.parse().unwrap());
        assert_eq!((most("xz:6"), most("xz:3"), most("xz:0")), (2, 3, 34));
        assert_eq!((most("zstd:19"), most("zstd:3"), most("bzip2")), (2, 34, 13));
        assert!(most("none") > 0);
    }
}
