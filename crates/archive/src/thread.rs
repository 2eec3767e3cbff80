//! The thread of a transfer, and its cancellation.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_tree::Observer;
use tokio::sync::oneshot;

/// Runs `work` on a separate thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        // Fails where the receiver was dropped: then nobody wants to know.
        let _ = sender.send(work());
    };
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(receiver)
}

/// Asks the work to stop when it is dropped.
pub(crate) struct Watch(Arc<WatchedObserver>);

struct WatchedObserver {
    inner: Arc<dyn Observer>,
    dropped: AtomicBool,
}

impl Watch {
    pub(crate) fn new(inner: Arc<dyn Observer>) -> Self {
        Self(Arc::new(WatchedObserver { inner, dropped: AtomicBool::new(false) }))
    }

    /// Returns the observer for the work.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.0) as _
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Observer for WatchedObserver {
    fn bytes(&self, count: u64) {
        self.inner.bytes(count);
    }

    fn is_cancelled(&self) -> bool {
        self.dropped.load(Ordering::Relaxed) || self.inner.is_cancelled()
    }
}
