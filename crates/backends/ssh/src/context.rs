//! What the backend, its uploads and its streams share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::config::SshConfig;
use crate::parts::{PART, PARTS_IN_MEMORY};
use crate::pool::{MAX_SESSIONS, SessionPool};
use crate::root::SshRoot;

/// A link with a shorter round trip than this is not limited by the window of a session.
const NEAR: Duration = Duration::from_millis(5);
/// On such a link a second session uses the second processor of both sides.
const SESSIONS_WHEN_NEAR: usize = 2;

/// The state of a remote.
#[derive(Debug)]
pub(crate) struct SshContext {
    pub(crate) pool: Arc<SessionPool>,
    pub(crate) root: SshRoot,
    /// The number of transfers in progress.
    transfers: Arc<AtomicUsize>,
    /// The shortest round trip so far.
    round_trip: Mutex<Duration>,
    /// Tasks that clean up after dropped uploads.
    unfinished: Mutex<Vec<JoinHandle<()>>>,
}

impl SshContext {
    pub(crate) fn new(config: SshConfig) -> Self {
        Self {
            root: SshRoot::new(config.path.clone(), config.url()),
            pool: Arc::new(SessionPool::new(config)),
            transfers: Arc::default(),
            round_trip: Mutex::new(Duration::MAX),
            unfinished: Mutex::default(),
        }
    }

    /// Lets [`SshContext::finish`] wait for a task.
    pub(crate) fn wait_for(&self, job: JoinHandle<()>) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished.retain(|job| !job.is_finished());
        unfinished.push(job);
    }

    /// Waits for the tasks that clean up.
    pub(crate) async fn finish(&self) {
        loop {
            let job = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(job) = job else { return };
            // Nobody waits for the outcome of a dropped upload.
            let _ = job.await;
        }
    }

    pub(crate) fn note_round_trip(&self, round_trip: Duration) {
        let mut known = self.round_trip.lock().unwrap_or_else(PoisonError::into_inner);
        *known = round_trip.min(*known);
    }

    /// The number of sessions for a transfer of so many bytes. Each takes some round trips to begin.
    pub(crate) fn sessions_for(&self, bytes: u64) -> usize {
        let is_near = *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner) < NEAR;
        let most = if is_near { SESSIONS_WHEN_NEAR } else { MAX_SESSIONS };
        usize::try_from(bytes / (2 * PART as u64)).unwrap_or(most).clamp(1, most)
    }

    /// Counts a transfer until the guard is dropped.
    pub(crate) fn begin_transfer(&self) -> TransferCount {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        TransferCount(Arc::clone(&self.transfers))
    }
}

/// A transfer in progress.
#[derive(Debug)]
pub(crate) struct TransferCount(Arc<AtomicUsize>);

impl TransferCount {
    /// The number of parts that this transfer may have in memory.
    pub(crate) fn room(&self) -> usize {
        (PARTS_IN_MEMORY / self.0.load(Ordering::Relaxed).max(1)).max(2)
    }
}

impl Drop for TransferCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
