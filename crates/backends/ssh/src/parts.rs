//! The parts of an upload. Several sessions write them at their positions in one file.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use larder_backend::Error;
use larder_backend_files::advice::TEMPORARY_REMOVED;
use ssh2::OpenFlags;
use tokio::sync::Notify;

use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::pool::SessionPool;

/// The number of bytes that one session writes before it takes the next part. They are whole packets of libssh2, and a little
/// less than sshd's window of 2 MiB takes in two round trips. The rest of 4 MiB took a third round trip: with 100 ms each, 512
/// MiB took 10.0 s.
pub(crate) const PART: usize = 130 * 30_000;

/// The number of parts of all transfers that may be in memory. Each transfer may have two in any case.
pub(crate) const PARTS_IN_MEMORY: usize = 12;

/// How long a session waits for the next part or piece before it is returned. Opening and closing a file again would take two
/// round trips.
pub(crate) const LINGER: Duration = Duration::from_millis(300);

/// Bytes and their position in the file.
#[derive(Debug)]
pub(crate) struct UploadPart {
    position: u64,
    bytes: Bytes,
}

/// The parts of one upload.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    state: Mutex<PartsState>,
    /// Notified when a part comes, or none will come.
    wake: Condvar,
    /// Notified when a part is written, or a writer ends.
    changed: Notify,
    pub(crate) cancel: Arc<AtomicBool>,
    /// Grows with each piece that is written.
    pub(crate) progress: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct PartsState {
    queue: VecDeque<UploadPart>,
    /// The number of parts that are being written.
    writing: usize,
    writers: usize,
    has_ended: bool,
    failure: Option<Error>,
}

impl Parts {
    fn state(&self) -> MutexGuard<'_, PartsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something.
    async fn wait_for<T>(&self, mut look: impl FnMut(&mut PartsState) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until fewer than `room` parts are in memory. Returns false if there is no writer, so that the caller can start
    /// one.
    pub(crate) async fn has_room(&self, room: usize) -> Result<bool, Error> {
        self.wait_for(|state| match state.failure.take() {
            Some(error) => Some(Err(error)),
            None if state.queue.len() + state.writing < room => Some(Ok(true)),
            None if state.writers == 0 => Some(Ok(false)),
            None => None,
        })
        .await
    }

    /// Adds a part. Returns whether another writer would find work.
    pub(crate) fn push(&self, position: u64, bytes: Bytes) -> bool {
        let mut state = self.state();
        state.queue.push_back(UploadPart { position, bytes });
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

    /// Waits until everything is written and all writers have closed their files. Returns false if parts are left without a
    /// writer, so that the caller can start one.
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

    /// Writes parts while there are some. Runs on the thread of a session.
    pub(crate) fn write(
        &self,
        connection: &SftpConnection,
        pool: &SessionPool,
        path: &str,
    ) -> Result<(), Trouble> {
        let Some(first) = self.next(pool) else { return Ok(()) };
        // The part goes back to the queue if the file cannot be opened.
        let mut held = HeldPart { parts: self, part: Some(first) };
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
                Trouble::new(larder_backend::ErrorKind::Other).with_source(TEMPORARY_REMOVED)
            } else {
                trouble
            }
        })
    }

    fn next(&self, pool: &SessionPool) -> Option<UploadPart> {
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

/// A part that is being written. It goes back to the queue if the write fails.
struct HeldPart<'a> {
    parts: &'a Parts,
    part: Option<UploadPart>,
}

impl HeldPart<'_> {
    fn done(&mut self) {
        if self.part.take().is_some() {
            self.parts.state().writing -= 1;
            self.parts.changed.notify_one();
        }
    }
}

impl Drop for HeldPart<'_> {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            let mut state = self.parts.state();
            state.writing -= 1;
            state.queue.push_front(part);
        }
    }
}
