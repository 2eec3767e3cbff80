//! How often something happened.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts how often a fault or a rule did what it says. Clones share the count.
#[derive(Clone, Debug)]
pub struct Fired(Arc<watch::Sender<usize>>);

impl Fired {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    pub(crate) fn add(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// How often it has happened so far.
    pub fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until it has happened so often. It needs no runtime: a test without one blocks on it.
    pub async fn reached(&self, times: usize) {
        // The sender lives in `self`: the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count >= times).await;
    }
}
