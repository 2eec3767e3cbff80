//! Cuts a stream into pieces and compresses them on all cores.

use std::collections::{TryReserveError, VecDeque};
use std::fmt;
use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, TryRecvError};

use bytes::Bytes;
use larder_tree::{BufferPool, Workers};
use tokio::sync::mpsc::Sender;

use super::encoder::Encoder;
use super::encoders::{encode_on_thread, max_encoders};
use super::error::is_out_of_memory;
use super::piece::PIECE;
use crate::compression::{Compression, Format};

/// A stream could not be compressed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The receiver of the frames was dropped.
    #[error("nobody receives the archive any more")]
    Closed,
    /// A codec failed, or a thread that ran it.
    #[error("failed to compress")]
    Codec(#[source] io::Error),
    /// There is no memory for a buffer or for a codec.
    #[error("there is not enough memory to compress")]
    Memory(#[source] io::Error),
    /// The system refused a thread.
    #[error("failed to start a thread that compresses")]
    Thread(#[source] io::Error),
}

impl FrameError {
    fn of_codec(error: io::Error) -> Self {
        if is_out_of_memory(&error) { Self::Memory(error) } else { Self::Codec(error) }
    }
}

impl From<TryReserveError> for FrameError {
    fn from(error: TryReserveError) -> Self {
        Self::Memory(error.into())
    }
}

/// Compresses a stream piece by piece, on several threads, and sends the frames in order.
///
/// It blocks while the receiver is slow, so it must not run on an async runtime. The number of pieces in flight is bounded.
/// The end of the frames does not mean that the stream is complete: the caller of [`FrameWriter::finish`] confirms that
/// separately.
pub(crate) struct FrameWriter {
    compression: Compression,
    workers: Workers,
    frames: Sender<Bytes>,
    piece_len: usize,
    /// The current piece, of `piece_len` bytes. The first `filled` bytes are written. It is empty before the first write.
    piece: Vec<u8>,
    filled: usize,
    in_flight: VecDeque<Receiver<io::Result<Bytes>>>,
    max_in_flight: usize,
    pieces: &'static BufferPool,
    sent: u64,
}

/// The buffers of all streams of the process, because streams often follow each other. With buffers of their own, six
/// pushes of 130 MiB took 180 MiB instead of 100.
static PIECES: LazyLock<BufferPool> = LazyLock::new(BufferPool::default);
static UNCOMPRESSED_PIECES: LazyLock<BufferPool> = LazyLock::new(BufferPool::default);

/// The length of a piece that is not compressed, in bytes. A small one is still in the cache when it is sent.
const UNCOMPRESSED_PIECE: usize = 1 << 20;

/// Pieces in flight beyond one for each compute thread: one that is finished and waits for its turn, and one that
/// waits for a thread.
const EXTRA_IN_FLIGHT: usize = 2;

/// The largest number of pieces in flight, whatever the number of cores. With their frames, they take 64 MiB. With zstd at
/// level 3, eight threads compress about 1 GB/s.
const MAX_IN_FLIGHT: usize = 8;

/// Returns how many pieces may be in flight at once.
fn max_in_flight(compression: Compression, jobs: usize) -> usize {
    if Encoder::allocates_for_each_piece(compression.format()) {
        // Each piece has a thread of its own.
        return jobs.min(max_encoders(compression)).min(MAX_IN_FLIGHT);
    }
    (jobs + EXTRA_IN_FLIGHT).min(MAX_IN_FLIGHT)
}

impl FrameWriter {
    /// Compresses on the threads of `workers`, and sends the frames into `frames`.
    pub(crate) fn new(compression: Compression, workers: Workers, frames: Sender<Bytes>) -> Self {
        let max_in_flight = max_in_flight(compression, workers.jobs().get());
        let (piece_len, pieces) = match compression.format() {
            Format::None => (UNCOMPRESSED_PIECE, &*UNCOMPRESSED_PIECES),
            _ => (PIECE, &*PIECES),
        };
        Self {
            compression,
            workers,
            frames,
            piece_len,
            piece: Vec::new(),
            filled: 0,
            in_flight: VecDeque::with_capacity(max_in_flight),
            max_in_flight,
            pieces,
            sent: 0,
        }
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let spare = self.spare_mut()?;
            let len = spare.len().min(bytes.len());
            spare[..len].copy_from_slice(&bytes[..len]);
            self.advance(len)?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Returns the room for the next bytes of the stream, which is never empty. After bytes were read into it, call
    /// [`FrameWriter::advance`].
    pub(crate) fn spare_mut(&mut self) -> Result<&mut [u8], FrameError> {
        if self.piece.is_empty() {
            self.piece = self.pieces.take(self.piece_len)?;
            self.piece.resize(self.piece_len, 0);
        }
        Ok(&mut self.piece[self.filled..])
    }

    /// Counts the first `len` bytes of [`FrameWriter::spare_mut`] as written.
    pub(crate) fn advance(&mut self, len: usize) -> Result<(), FrameError> {
        self.filled += len;
        assert!(self.filled <= self.piece_len, "no more than there was room for");
        if self.filled == self.piece_len { self.submit_filled() } else { Ok(()) }
    }

    /// Compresses and sends the rest, and returns the size of all frames together in bytes.
    pub(crate) fn finish(mut self) -> Result<u64, FrameError> {
        if self.filled > 0 {
            self.submit_filled()?;
        }
        while let Some(frame) = self.in_flight.pop_front() {
            self.wait_and_send(&frame)?;
        }
        Ok(self.sent)
    }

    /// Writes a whole piece from memory without a copy. Do not mix it with the other methods.
    pub(crate) fn write_piece(&mut self, piece: Bytes) -> Result<(), FrameError> {
        assert!(self.filled == 0 && piece.len() <= PIECE, "a piece of its own");
        self.submit(piece)
    }

    fn submit_filled(&mut self) -> Result<(), FrameError> {
        let mut piece = std::mem::take(&mut self.piece);
        piece.truncate(self.filled);
        self.filled = 0;
        let piece = self.pieces.freeze(piece);
        self.submit(piece)
    }

    fn submit(&mut self, piece: Bytes) -> Result<(), FrameError> {
        if self.compression.format() == Format::None {
            self.send(piece)?;
        } else {
            let frame =
                encode_on_thread(self.compression, piece, &self.workers).map_err(FrameError::Thread)?;
            self.in_flight.push_back(frame);
        }
        self.send_finished()
    }

    /// Sends the frames that are finished, and waits while too many pieces are in flight.
    fn send_finished(&mut self) -> Result<(), FrameError> {
        while let Some(first) = self.in_flight.front() {
            match first.try_recv() {
                Ok(frame) => {
                    self.in_flight.pop_front();
                    self.send(frame.map_err(FrameError::of_codec)?)?;
                }
                Err(TryRecvError::Empty) if self.in_flight.len() < self.max_in_flight => return Ok(()),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    if let Some(first) = self.in_flight.pop_front() {
                        self.wait_and_send(&first)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn wait_and_send(&mut self, frame: &Receiver<io::Result<Bytes>>) -> Result<(), FrameError> {
        let lost = || io::Error::other("a compute thread failed unexpectedly");
        let frame = frame.recv().map_err(|_| lost()).flatten().map_err(FrameError::of_codec)?;
        self.send(frame)
    }

    fn send(&mut self, frame: Bytes) -> Result<(), FrameError> {
        self.sent += frame.len() as u64;
        self.frames.blocking_send(frame).map_err(|_| FrameError::Closed)
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter")
            .field("compression", &self.compression)
            .field("filled", &self.filled)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Returns bytes in which every piece begins differently.
    fn stream(len: usize) -> Vec<u8> {
        let cycle: Vec<u8> = (0..=250).collect();
        cycle.into_iter().cycle().take(len).collect()
    }

    fn workers(jobs: usize) -> Workers {
        Workers::new(NonZeroUsize::new(jobs).unwrap())
    }

    /// Returns all frames that `write` produces.
    fn frames_of(
        compression: &str,
        jobs: usize,
        write: impl FnOnce(&mut FrameWriter) + Send + 'static,
    ) -> Vec<Bytes> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut writer = FrameWriter::new(compression.parse().unwrap(), workers(jobs), sender);
        let thread = thread::spawn(move || {
            write(&mut writer);
            writer.finish().unwrap()
        });
        let frames: Vec<Bytes> = std::iter::from_fn(|| receiver.blocking_recv()).collect();
        let sent: usize = frames.iter().map(Bytes::len).sum();
        assert_eq!(thread.join().unwrap(), sent as u64);
        frames
    }

    #[test]
    fn threads_and_the_sizes_of_writes_do_not_change_a_frame() {
        let len = 3 * PIECE + 12_345;
        for compression in ["zstd", "zstd:7", "gzip", "xz:0", "bzip2:1", "none"] {
            let at_once = frames_of(compression, 1, move |writer| writer.write(&stream(len)).unwrap());
            let in_parts = frames_of(compression, 3, move |writer| {
                let stream = stream(len);
                let (first, rest) = stream.split_at(1);
                writer.write(first).unwrap();
                let (second, rest) = rest.split_at(PIECE + 1);
                writer.write(second).unwrap();
                for part in rest.chunks(100_000) {
                    let spare = writer.spare_mut().unwrap();
                    let len = spare.len().min(part.len());
                    spare[..len].copy_from_slice(&part[..len]);
                    writer.advance(len).unwrap();
                    writer.write(&part[len..]).unwrap();
                }
            });
            let frames = if compression == "none" { len.div_ceil(UNCOMPRESSED_PIECE) } else { 4 };
            assert_eq!(at_once.len(), frames, "{compression}");
            assert!(at_once == in_parts, "{compression}");
        }
    }

    #[test]
    fn pieces_in_flight_do_not_grow_with_the_cores() {
        let most = |compression: &str, jobs| max_in_flight(compression.parse().unwrap(), jobs);
        assert_eq!((most("zstd", 1), most("zstd", 2), most("zstd", 6)), (3, 4, 8));
        assert_eq!(most("zstd", 128), 8);
        assert_eq!((most("xz:6", 128), most("xz:3", 128), most("bzip2", 128)), (2, 3, 8));
        assert_eq!((most("xz:0", 1), most("bzip2", 2)), (1, 2));
    }

    #[test]
    fn a_zstd_frame_holds_one_piece() {
        let frames = frames_of("zstd", 2, |writer| writer.write(&stream(2 * PIECE + 5)).unwrap());
        let pieces: Vec<Vec<u8>> =
            frames.iter().map(|frame| zstd::bulk::decompress(frame, PIECE).unwrap()).collect();
        assert!(pieces.concat() == stream(2 * PIECE + 5));
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [PIECE, PIECE, 5]);
    }

    #[test]
    fn a_writer_waits_for_a_slow_receiver_and_stops_when_it_is_gone() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let mut writer = FrameWriter::new(Compression::zstd(), workers(2), sender);
        let (wrote, count) = mpsc::channel();
        let thread = thread::spawn(move || {
            loop {
                if let Err(error) = writer.write(&stream(PIECE)) {
                    return error;
                }
                wrote.send(()).unwrap();
            }
        });
        // The first piece fits into the channel. How many more are taken depends on the threads, up to a bound.
        count.recv().unwrap();
        drop(receiver);
        assert!(matches!(thread.join().unwrap(), FrameError::Closed));
        assert!(count.iter().count() <= 2 + EXTRA_IN_FLIGHT + 1);
    }

    #[test]
    fn a_writer_waits_for_a_slow_codec() {
        // Much slower than the writer, so that only the receiver holds it up.
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut writer = FrameWriter::new("bzip2".parse().unwrap(), workers(1), sender);
        let thread = thread::spawn(move || {
            let piece = stream(PIECE);
            let mut in_flight = 0;
            for _ in 0..8 {
                writer.write(&piece).unwrap();
                in_flight = in_flight.max(writer.in_flight.len());
            }
            writer.finish().unwrap();
            in_flight
        });
        while receiver.blocking_recv().is_some() {}
        assert!(thread.join().unwrap() <= 1 + EXTRA_IN_FLIGHT);
    }
}
