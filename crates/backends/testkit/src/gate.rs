//! A place where an operation waits until the test lets it go on.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds operations until it is released. Clones are the same gate.
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

    /// Lets everything through, now and later.
    pub fn release(&self) {
        self.0.open.send_replace(true);
    }

    /// Waits until an operation stands before the gate, or has come through.
    pub async fn reached(&self) {
        // The sender lives in `self`: the wait cannot fail.
        let _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived > 0).await;
    }

    /// Stands before the gate.
    pub(crate) async fn pass(&self) {
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }
}
