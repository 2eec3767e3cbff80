//! A thread that calls a function periodically.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    _stop: Sender<()>,
}

impl Ticker {
    /// Calls `tick` every `period`. Does nothing if the system refuses a thread, because missing progress is
    /// not worth an error.
    pub(super) fn start(period: Duration, mut tick: impl FnMut() + Send + 'static) -> Self {
        let (stop, stopped) = channel::<()>();
        let run = move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        };
        // The thread is detached, because a thread that is about to print must not delay the end of the
        // process.
        thread::Builder::new().name("progress".to_owned()).spawn(run).ok();
        Self { _stop: stop }
    }
}
