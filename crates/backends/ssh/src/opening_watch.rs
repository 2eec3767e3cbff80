//! Watches the calls of an opening that take no timeout.
//!
//! The system looks up names, and libssh2 talks to agents, with calls that block. So a connection is opened on a thread of its
//! own, which notes each such call here. If the call takes too long, the thread is abandoned.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stream::Stream;

/// The kind of a call that blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// The system looks up the name of a host.
    NameLookup,
    /// The agent lists its keys, or signs with one.
    Agent,
}

/// A call that took longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) blocker: Blocker,
    /// How long the call could have taken.
    pub(crate) limit: Duration,
}

/// What a thread that opens a connection is doing.
#[derive(Debug, Default)]
pub(crate) struct OpeningWatch(Mutex<WatchState>);

#[derive(Debug, Default)]
struct WatchState {
    call: Option<(Overdue, Instant)>,
    stream: Option<Arc<Stream>>,
    is_abandoned: bool,
}

impl OpeningWatch {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call that blocks.
    pub(crate) fn call<T>(&self, blocker: Blocker, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.state().call = Some((Overdue { blocker, limit }, Instant::now()));
        let value = call();
        self.state().call = None;
        value
    }

    /// Notes the stream that ends with the thread.
    pub(crate) fn uses(&self, stream: &Arc<Stream>) {
        self.state().stream = Some(Arc::clone(stream));
    }

    /// Whether nobody waits for the thread any more. It must then end without asking the user for a passphrase.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.state().is_abandoned
    }

    /// Abandons the thread if its call takes too long.
    pub(crate) fn abandon_if_overdue(&self) -> Option<Overdue> {
        let mut state = self.state();
        let (overdue, _) = state.call.filter(|(call, since)| since.elapsed() >= call.limit)?;
        state.abandon();
        Some(overdue)
    }

    /// Abandons the thread.
    pub(crate) fn abandon(&self) {
        self.state().abandon();
    }
}

impl WatchState {
    fn abandon(&mut self) {
        self.is_abandoned = true;
        if let Some(stream) = &self.stream {
            stream.shut_down();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_abandoned_during_a_call_that_takes_too_long() {
        let watch = OpeningWatch::default();
        assert_eq!(watch.abandon_if_overdue(), None);
        watch.call(Blocker::NameLookup, Duration::from_mins(1), || {
            assert_eq!(watch.abandon_if_overdue(), None);
        });
        assert!(!watch.is_abandoned());
        watch.call(Blocker::Agent, Duration::ZERO, || {
            let overdue = Overdue { blocker: Blocker::Agent, limit: Duration::ZERO };
            assert_eq!(watch.abandon_if_overdue(), Some(overdue));
        });
        assert!(watch.is_abandoned());
    }
}
