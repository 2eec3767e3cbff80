//! A gate at which operations wait for the test.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds operations until the test releases them. Clones share the gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// Creates a closed gate.
    pub fn new() -> Self {
        Self(Arc::new(GateState { arrived: watch::Sender::new(0), open: watch::Sender::new(false) }))
    }

    /// Opens the gate for all operations, now and later.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until an operation has reached the gate.
    pub async fn reached(&self) {
        // The wait cannot fail, because `self` owns the sender.
        let _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived > 0).await;
    }

    /// Waits at the gate.
    pub(crate) async fn pass(&self) {
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }
}
