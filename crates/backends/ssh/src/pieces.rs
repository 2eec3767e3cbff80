//! The pieces of a download: read ahead by several sessions, and given out in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use larder_backend::Error;
use ssh2::OpenFlags;
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::error::Trouble;
use crate::get::{Identity, changed, identity, read_piece};
use crate::parts::{LINGER, PART};
use crate::pool::Pool;

/// The pieces of one object.
#[derive(Debug)]
pub(crate) struct Pieces {
    path: String,
    expected: Identity,
    end: u64,
    state: Mutex<State>,
    /// There is room for another piece, or nobody wants any.
    wake: Condvar,
    /// A piece was read, or a reader ended.
    changed: Notify,
    pub(crate) cancel: Arc<AtomicBool>,
    /// How many pieces were read: for patience.
    pub(crate) progress: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    /// The next piece that nobody has begun.
    next: u64,
    /// Pieces that were begun and given up: others take them.
    again: Vec<u64>,
    /// The next piece to give out.
    wanted: u64,
    ready: BTreeMap<u64, Bytes>,
    /// How far ahead pieces may be read, in bytes.
    room: u64,
    readers: usize,
    failure: Option<Error>,
}

impl State {
    /// Whether there is a piece to read.
    fn has_work(&self, end: u64) -> bool {
        !self.again.is_empty() || (self.next < end && self.next < self.wanted + self.room)
    }
}

impl Pieces {
    pub(crate) fn new(path: String, expected: Identity, range: Range<u64>) -> Self {
        let state = State {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes were not given out.
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
    pub(crate) fn begin(self: &Arc<Self>) -> Reader {
        self.state().readers += 1;
        Reader(Arc::clone(self))
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

    /// On the thread of a session: reads pieces while there are some.
    pub(crate) fn read(&self, connection: &Connection, pool: &Pool) -> Result<(), Trouble> {
        let Some(first) = self.next(pool) else { return Ok(()) };
        // Given back where even the file cannot be opened.
        let mut held = Held { pieces: self, position: Some(first) };
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

    fn next(&self, pool: &Pool) -> Option<u64> {
        let mut state = self.state();
        let waits = |state: &mut State| {
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

/// What there was to take.
pub(crate) enum Taken {
    Bytes(Bytes),
    /// Nothing, and nobody reads.
    Nothing,
    End,
}

/// One that reads.
pub(crate) struct Reader(Arc<Pieces>);

impl Reader {
    pub(crate) fn end(self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.0.state().failure.get_or_insert(error);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.state().readers -= 1;
        self.0.changed.notify_one();
    }
}

/// A piece that is being read. Goes back where it was not.
struct Held<'a> {
    pieces: &'a Pieces,
    position: Option<u64>,
}

impl Held<'_> {
    fn done(&mut self, bytes: Bytes) {
        if let Some(position) = self.position.take() {
            self.pieces.state().ready.insert(position, bytes);
            self.pieces.progress.fetch_add(1, Ordering::Relaxed);
            self.pieces.changed.notify_one();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(position) = self.position.take() {
            self.pieces.state().again.push(position);
            self.pieces.wake.notify_one();
        }
    }
}
