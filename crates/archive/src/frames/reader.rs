//! Decompresses an archive. Independent frames are decompressed on all cores.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use larder_tree::{BufferPool, Workers};
use zstd::bulk::Decompressor;

use super::detect::{NEEDED, detect};
use super::error::{BYTES_PER_FRAME, FrameCount, ReadError, TooManyFrames};
use super::input::{Chunks, Input};
use super::large_window::{LargeWindow, USUAL_WINDOW};
use super::piece::PIECE;
use super::stream;
use super::zstd_frame::{self, Gathered, Next};
use crate::compression::Format;
use crate::limits::Limits;

/// Reads the tar stream of an archive: in order, in pieces of any size, with bounded memory.
///
/// The format is detected from the first bytes. Small zstd frames are decompressed in parallel on the compute threads.
/// Everything else is decompressed on a separate thread. It blocks, so it must not run on an async runtime.
pub(crate) struct FrameReader {
    items: Receiver<Result<ReaderItem, ReadError>>,
    /// The error, if the thread could not be started.
    no_thread: Option<io::Error>,
    over: bool,
}

/// The largest number of threads that decompress the frames of one stream at once. Each frame in flight takes up to
/// 10 MiB, so memory would grow with the cores otherwise. One thread unpacks their results.
const MAX_DECODERS: usize = 4;

/// An item that the splitting thread has found.
enum ReaderItem {
    Piece(Bytes),
    /// A frame that is being decompressed.
    Frame(Receiver<Result<Bytes, ReadError>>),
    /// The stream was read to its end.
    End,
}

impl FrameReader {
    /// Reads the archive that arrives in `chunks`.
    pub(crate) fn new(chunks: Chunks, workers: &Workers, limits: &Limits) -> Self {
        // One frame for each compute thread keeps all of them busy, together with the frame at each end of the queue.
        let (sender, items) = sync_channel(workers.jobs().get().min(MAX_DECODERS));
        let splitter = Splitter { input: Input::new(chunks), items: sender, limits: *limits };
        let workers = workers.clone();
        let spawned =
            thread::Builder::new().name("larder-decode".to_owned()).spawn(move || splitter.run(&workers));
        Self { items, no_thread: spawned.err(), over: false }
    }

    /// Returns the next piece of the tar stream, which is not empty. `None` means that the archive was read to its end and
    /// every checksum matched.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if let Some(error) = self.no_thread.take() {
            self.over = true;
            return Err(ReadError::Thread(error));
        }
        while !self.over {
            match self.receive() {
                // A frame may be empty, and so may the last piece of a stream.
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => return Ok(Some(piece)),
                end => {
                    self.over = true;
                    return end;
                }
            }
        }
        Ok(None)
    }

    fn receive(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self.items.recv().map_err(|_| ReadError::Panicked)?? {
            ReaderItem::Piece(piece) => Ok(Some(piece)),
            ReaderItem::Frame(frame) => Ok(Some(frame.recv().map_err(|_| ReadError::Panicked)??)),
            ReaderItem::End => Ok(None),
        }
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("over", &self.over).finish_non_exhaustive()
    }
}

/// Splits the stream into frames, on a separate thread.
struct Splitter {
    input: Input,
    items: SyncSender<Result<ReaderItem, ReadError>>,
    limits: Limits,
}

/// The largest compressed frame, in bytes, that is decompressed as a whole. No compressor turns a piece into more.
const MAX_FRAME: usize = PIECE + PIECE / 2;

impl Splitter {
    fn run(mut self, workers: &Workers) {
        let end = self.read(workers).map(|()| ReaderItem::End);
        // Sending fails only if the reader was dropped.
        let _ = self.items.send(end);
    }

    /// Reads until the end, or until the reader is dropped.
    fn read(&mut self, workers: &Workers) -> Result<(), ReadError> {
        let format = detect(self.input.peek(NEEDED)?)?;
        let Self { input, items, limits } = self;
        let output = &mut |piece| items.send(Ok(ReaderItem::Piece(piece))).is_ok();
        let pool = &*STREAM_PIECES;
        match format {
            Format::Zstd => self.read_zstd(workers),
            Format::Gzip => stream::gzip(input, pool, output),
            Format::Xz => stream::xz(input, pool, limits, output),
            Format::Bzip2 => stream::bzip2(input, pool, output),
            Format::None => loop {
                let piece = input.take()?;
                if piece.is_empty() || !output(piece) {
                    return Ok(());
                }
            },
        }
    }

    fn read_zstd(&mut self, workers: &Workers) -> Result<(), ReadError> {
        let decoders = Arc::new(Decoders::new());
        let mut frames = FrameCount::new(BYTES_PER_FRAME);
        let refused = |error: TooManyFrames| ReadError::codec("its zstd data cannot be decompressed", error);
        loop {
            let header = match zstd_frame::next(&mut self.input, &self.limits)? {
                Next::End => return Ok(()),
                Next::Skippable { len } => {
                    if !self.input.skip_all(len)? {
                        return Err(ReadError::Truncated { place: "within a skippable zstd frame" });
                    }
                    frames.add(0).map_err(refused)?;
                    continue;
                }
                Next::Frame(header) => header,
            };
            if let Some(size) = header.content_size {
                frames.add(size).map_err(refused)?;
            }
            if header.content_size.is_some_and(|size| size <= PIECE as u64) {
                let mut frame = decoders.frames.take(MAX_FRAME)?;
                frame.clear();
                if zstd_frame::gather(&mut self.input, header, &mut frame, MAX_FRAME)? == Gathered::Frame {
                    let (sender, receiver) = sync_channel(1);
                    // Take a place in the queue before starting the work, so that the queue bounds the work in flight.
                    if self.items.send(Ok(ReaderItem::Frame(receiver))).is_err() {
                        return Ok(());
                    }
                    let decoders = Arc::clone(&decoders);
                    workers.spawn_compute(move || {
                        let piece = decoders.decode(frame);
                        // Sending fails only if the reader was dropped.
                        let _ = sender.send(piece);
                    });
                    continue;
                }
                self.input.unread(&frame)?;
                decoders.frames.put_back(frame);
            }
            let items = &self.items;
            let mut wanted = true;
            let mut frame_bytes = 0;
            let output = &mut |piece: Bytes| {
                frame_bytes += piece.len() as u64;
                wanted = items.send(Ok(ReaderItem::Piece(piece))).is_ok();
                wanted
            };
            let large_window = (header.window > USUAL_WINDOW).then(LargeWindow::wait);
            stream::zstd(&mut self.input, &STREAM_PIECES, &self.limits, output)?;
            drop(large_window);
            if !wanted {
                return Ok(());
            }
            if header.content_size.is_none() {
                frames.add(frame_bytes).map_err(refused)?;
            }
        }
    }
}

/// Decompresses frames of at most one piece.
struct Decoders {
    idle: Mutex<VecDeque<Decompressor<'static>>>,
    frames: &'static BufferPool,
    pieces: &'static BufferPool,
}

/// The buffers of all streams of the process, as in the writer.
static FRAMES: LazyLock<BufferPool> = LazyLock::new(BufferPool::default);
static PIECES: LazyLock<BufferPool> = LazyLock::new(BufferPool::default);
static STREAM_PIECES: LazyLock<BufferPool> = LazyLock::new(BufferPool::default);

impl Decoders {
    fn new() -> Self {
        Self { idle: Mutex::default(), frames: &FRAMES, pieces: &PIECES }
    }

    fn decode(&self, frame: Vec<u8>) -> Result<Bytes, ReadError> {
        let failed = |error| ReadError::codec("a zstd frame cannot be decompressed", error);
        let idle = self.idle().pop_front();
        let mut decoder = match idle {
            Some(decoder) => decoder,
            None => Decompressor::new().map_err(failed)?,
        };
        let mut piece = self.pieces.take(PIECE)?;
        let result = decoder.decompress_to_buffer(&frame, &mut piece);
        self.idle().push_back(decoder);
        self.frames.put_back(frame);
        result.map_err(failed)?;
        Ok(self.pieces.freeze(piece))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<Decompressor<'static>>> {
        // A panic cannot leave the list half-changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
