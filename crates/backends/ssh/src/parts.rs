//! The parts of an upload on their way: written by several sessions at their places in one file.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use larder_backend::Error;
use ssh2::OpenFlags;
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::error::Trouble;
use crate::pool::Pool;

/// How much one session writes before it takes the next part, in bytes: a little less than sshd's window of 2 MiB takes in
/// two round trips, in whole packets of libssh2. Of 4 MiB the rest took a third one: at 100 ms, 10.0 s for 512 MiB.
pub(crate) const PART: usize = 130 * 30_000;

/// How many parts may be in memory, of all transfers together; each transfer may have two.
pub(crate) const PARTS_IN_MEMORY: usize = 12;

/// For how long a session waits for the next part, or piece, before it is given back: opening and closing a file takes
/// two round trips.
pub(crate) const LINGER: Duration = Duration::from_millis(300);

/// Bytes and their place in the file.
#[derive(Debug)]
pub(crate) struct Part {
    position: u64,
    bytes: Bytes,
}

/// The parts of one upload.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    state: Mutex<State>,
    /// A part came, or none will.
    wake: Condvar,
    /// A part was written, or a writer ended.
    changed: Notify,
    pub(crate) cancel: Arc<AtomicBool>,
    /// How much was written, in bytes: for patience.
    pub(crate) progress: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Part>,
    /// How many are being written.
    writing: usize,
    writers: usize,
    has_ended: bool,
    failure: Option<Error>,
}

impl Parts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something about the parts.
    async fn wait_for<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until fewer than `room` parts are in memory. Says whether that came to be: otherwise there is nobody who
    /// writes, and somebody has to.
    pub(crate) async fn has_room(&self, room: usize) -> Result<bool, Error> {
        self.wait_for(|state| match state.failure.take() {
            Some(error) => Some(Err(error)),
            None if state.queue.len() + state.writing < room => Some(Ok(true)),
            None if state.writers == 0 => Some(Ok(false)),
            None => None,
        })
        .await
    }

    /// Takes a part. Says whether another writer would find work.
    pub(crate) fn push(&self, position: u64, bytes: Bytes) -> bool {
        let mut state = self.state();
        state.queue.push_back(Part { position, bytes });
        let finds_work = state.queue.len() + state.writing > state.writers;
        drop(state);
        self.wake.notify_one();
        finds_work
    }

    /// Counts a writer that begins.
    pub(crate) fn begin(&self) {
        self.state().writers += 1;
    }

    pub(crate) fn writers(&self) -> usize {
        self.state().writers
    }

    /// Counts a writer that ended.
    pub(crate) fn end(&self, result: Result<(), Error>) {
        let mut state = self.state();
        state.writers -= 1;
        if let Err(error) = result {
            state.failure.get_or_insert(error);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until everything is written and all writers have closed their files. Without writers and with parts left,
    /// says so: somebody has to write them.
    pub(crate) async fn finish(&self) -> Result<bool, Error> {
        self.state().has_ended = true;
        self.wake.notify_all();
        self.wait_for(|state| match state.failure.take() {
            Some(error) => Some(Err(error)),
            None if state.writers == 0 => Some(Ok(state.queue.is_empty())),
            None => None,
        })
        .await
    }

    /// Stops the writers and waits for them.
    pub(crate) async fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        {
            let mut state = self.state();
            state.has_ended = true;
            state.queue.clear();
        }
        self.wake.notify_all();
        self.wait_for(|state| (state.writers == 0).then_some(())).await;
    }

    /// On the thread of a session: writes parts while there are some.
    pub(crate) fn write(&self, connection: &Connection, pool: &Pool, path: &str) -> Result<(), Trouble> {
        let Some(first) = self.next(pool) else { return Ok(()) };
        // Given back where even the file cannot be opened.
        let mut held = Held { parts: self, part: Some(first) };
        let written = connection.with_file(path, OpenFlags::WRITE, 0o600, |file| {
            while let Some(part) = &held.part {
                file.write(part.position, &part.bytes, || {
                    self.progress.fetch_add(1, Ordering::Relaxed);
                })?;
                held.done();
                held.part = self.next(pool);
            }
            Ok(())
        });
        written.map_err(|trouble| {
            if trouble.is_absent() {
                Trouble::new(larder_backend::ErrorKind::Other)
                    .with_source("somebody removed the temporary file of this upload")
            } else {
                trouble
            }
        })
    }

    fn next(&self, pool: &Pool) -> Option<Part> {
        let mut state = self.state();
        if state.queue.is_empty() && !state.has_ended && !pool.is_wanted() {
            let waited = self
                .wake
                .wait_timeout_while(state, LINGER, |state| state.queue.is_empty() && !state.has_ended);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let part = state.queue.pop_front()?;
        state.writing += 1;
        Some(part)
    }
}

/// A part that is being written. Goes back where it was not.
struct Held<'a> {
    parts: &'a Parts,
    part: Option<Part>,
}

impl Held<'_> {
    fn done(&mut self) {
        if self.part.take().is_some() {
            self.parts.state().writing -= 1;
            self.parts.changed.notify_one();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            let mut state = self.parts.state();
            state.writing -= 1;
            state.queue.push_front(part);
        }
    }
}
