//! A count of faults that happened.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts how often a fault happened or a rule applied. Clones share the count.
#[derive(Clone, Debug)]
pub struct Fired(Arc<watch::Sender<usize>>);

impl Fired {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn add(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// Returns the count so far.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until the count is at least `times`. The future needs no runtime, so that any test can block on it.
    pub async fn reached(&self, times: usize) {
        // The wait cannot fail, because `self` owns the sender.
        let _ = self.0.subscribe().wait_for(|count| *count >= times).await;
    }
}
