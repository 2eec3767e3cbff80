//! The pieces of a download. Several sessions read ahead, and the caller gets the pieces in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use larder_backend::Error;
use ssh2::OpenFlags;
use tokio::sync::Notify;

use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::object::{Identity, changed, identity, read_piece};
use crate::parts::{LINGER, PART};
use crate::pool::SessionPool;

/// The pieces of one object.
#[derive(Debug)]
pub(crate) struct DownloadPieces {
    path: String,
    expected: Identity,
    end: u64,
    state: Mutex<PiecesState>,
    /// Notified when there is room for another piece, or nobody wants any.
    wake: Condvar,
    /// Notified when a piece is read, or a reader ends.
    changed: Notify,
    pub(crate) cancel: Arc<AtomicBool>,
    /// The number of pieces that were read.
    pub(crate) progress: Arc<AtomicU64>,
}

#[derive(Debug)]
struct PiecesState {
    /// The next piece that no reader has begun.
    next: u64,
    /// Pieces whose readers failed. Other readers take them.
    again: Vec<u64>,
    /// The next piece for the caller.
    wanted: u64,
    ready: BTreeMap<u64, Bytes>,
    /// The number of bytes that may be read ahead.
    room: u64,
    readers: usize,
    failure: Option<Error>,
}

impl PiecesState {
    /// Whether there is a piece to read.
    fn has_work(&self, end: u64) -> bool {
        !self.again.is_empty() || (self.next < end && self.next < self.wanted + self.room)
    }
}

impl DownloadPieces {
    pub(crate) fn new(path: String, expected: Identity, range: Range<u64>) -> Self {
        let state = PiecesState {
            next: range.start,
            again: Vec::new(),
            wanted: range.start,
            ready: BTreeMap::new(),
            room: 0,
            readers: 0,
            failure: None,
        };
        Self {
            path,
            expected,
            end: range.end,
            state: Mutex::new(state),
            wake: Condvar::new(),
            changed: Notify::new(),
            cancel: Arc::default(),
            progress: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, PiecesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of bytes that the caller has not taken.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.state().wanted
    }

    /// Whether another reader would find work, with room for so many pieces and so many readers.
    pub(crate) fn wants_reader(&self, room: usize, most: usize) -> bool {
        let mut state = self.state();
        state.room = (room * PART) as u64;
        let finds_work = state.has_work(self.end) && state.failure.is_none();
        let readers = state.readers;
        drop(state);
        self.wake.notify_all();
        let pieces = usize::try_from(self.left().div_ceil(PART as u64)).unwrap_or(most);
        finds_work && readers < most.min(pieces).max(1)
    }

    /// Counts a reader that begins.
    pub(crate) fn begin(self: &Arc<Self>) -> ActiveReader {
        self.state().readers += 1;
        ActiveReader(Arc::clone(self))
    }

    /// The next bytes.
    pub(crate) async fn take(&self) -> Result<Taken, Error> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if state.wanted >= self.end {
                    return Ok(Taken::End);
                }
                let wanted = state.wanted;
                if let Some(bytes) = state.ready.remove(&wanted) {
                    state.wanted += bytes.len() as u64;
                    drop(state);
                    self.wake.notify_all();
                    return Ok(Taken::Bytes(bytes));
                }
                if let Some(error) = state.failure.take() {
                    return Err(error);
                }
                if state.readers == 0 {
                    return Ok(Taken::Nothing);
                }
            }
            changed.await;
        }
    }

    /// Stops the readers.
    pub(crate) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        self.wake.notify_all();
    }

    /// Reads pieces while there are some. Runs on the thread of a session.
    pub(crate) fn read(&self, connection: &SftpConnection, pool: &SessionPool) -> Result<(), Trouble> {
        let Some(first) = self.next(pool) else { return Ok(()) };
        // Other readers take the piece if the file cannot be opened.
        let mut held = HeldPiece { pieces: self, position: Some(first) };
        let read = connection.with_file(&self.path, OpenFlags::READ, 0, |file| {
            if identity(&file.stat()?) != self.expected {
                return Err(changed("it was replaced while it was read"));
            }
            while let Some(position) = held.position {
                let end = self.end.min(position + PART as u64);
                let bytes = read_piece(file, self.expected, position..end, end == self.end)?;
                held.done(bytes);
                held.position = self.next(pool);
            }
            Ok(())
        });
        match read {
            Err(trouble) if trouble.is_absent() => Err(changed("it was removed while it was read")),
            read => read,
        }
    }

    fn next(&self, pool: &SessionPool) -> Option<u64> {
        let mut state = self.state();
        let waits = |state: &mut PiecesState| {
            !state.has_work(self.end) && state.next < self.end && !self.cancel.load(Ordering::Relaxed)
        };
        if waits(&mut state) && !pool.is_wanted() {
            state =
                self.wake.wait_timeout_while(state, LINGER, waits).unwrap_or_else(PoisonError::into_inner).0;
        }
        if self.cancel.load(Ordering::Relaxed) || !state.has_work(self.end) {
            return None;
        }
        if let Some(position) = state.again.pop() {
            return Some(position);
        }
        let position = state.next;
        state.next = self.end.min(position + PART as u64);
        Some(position)
    }
}

/// The outcome of taking the next bytes.
pub(crate) enum Taken {
    Bytes(Bytes),
    /// Nothing is ready, and there is no reader.
    Nothing,
    End,
}

/// A reader that runs.
pub(crate) struct ActiveReader(Arc<DownloadPieces>);

impl ActiveReader {
    pub(crate) fn end(self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.0.state().failure.get_or_insert(error);
        }
    }
}

impl Drop for ActiveReader {
    fn drop(&mut self) {
        self.0.state().readers -= 1;
        self.0.changed.notify_one();
    }
}

/// A piece that is being read. Another reader takes it if the read fails.
struct HeldPiece<'a> {
    pieces: &'a DownloadPieces,
    position: Option<u64>,
}

impl HeldPiece<'_> {
    fn done(&mut self, bytes: Bytes) {
        if let Some(position) = self.position.take() {
            self.pieces.state().ready.insert(position, bytes);
            self.pieces.progress.fetch_add(1, Ordering::Relaxed);
            self.pieces.changed.notify_one();
        }
    }
}

impl Drop for HeldPiece<'_> {
    fn drop(&mut self) {
        if let Some(position) = self.position.take() {
            self.pieces.state().again.push(position);
            self.pieces.wake.notify_one();
        }
    }
}
