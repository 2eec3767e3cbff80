//! Trying again: the only place that does.

use std::time::{Duration, Instant};

use crate::error::Trouble;

/// The first pause, which doubles from then on. Half of each is random, so that many clients do not return at once:
/// servers drop connections where too many begin together.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long cleaning up may take without progress, however patient the user is.
const LONGEST_CLEAN_UP: Duration = Duration::from_secs(10);
/// Failures in a row after which a server is given up: pauses of 6 s in all.
const MAX_FAILURES: u32 = 5;

/// For how long something is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Without progress, with all attempts and pauses.
    pub(crate) stall_timeout: Duration,
}

impl Patience {
    /// How long one answer may take.
    pub(crate) fn answer_limit(self) -> Duration {
        self.stall_timeout / 3
    }

    /// For what is not why the user waits: often the link is dead by then, and what is left undone is swept later.
    pub(crate) fn for_cleaning_up(self) -> Self {
        Self { stall_timeout: LONGEST_CLEAN_UP.min(self.stall_timeout / 2) }
    }

    /// Begins to count.
    pub(crate) fn attempts(self) -> Attempts {
        Attempts { patience: self, failures: 0, since: Instant::now(), progress: 0 }
    }
}

/// The attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts {
    patience: Patience,
    failures: u32,
    since: Instant,
    progress: u64,
}

impl Attempts {
    /// How long to wait before the next attempt; nothing where another is not worth it. Where `progress` has grown
    /// since the last failure, earlier ones do not count.
    pub(crate) fn pause_after(&mut self, trouble: &Trouble, progress: u64) -> Option<Duration> {
        if progress > self.progress {
            self.progress = progress;
            self.failures = 0;
            self.since = Instant::now();
        }
        if !trouble.is_retryable || self.failures >= MAX_FAILURES {
            return None;
        }
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures));
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        if self.since.elapsed() + pause >= self.patience.stall_timeout {
            return None;
        }
        self.failures += 1;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use larder_backend::ErrorKind;

    use super::*;

    #[test]
    fn failures_in_a_row_are_bounded_and_progress_starts_anew() {
        let mut attempts = Patience { stall_timeout: Duration::from_mins(1) }.attempts();
        let lost = Trouble::new(ErrorKind::Unavailable).broken();
        for progress in 1..3 {
            for _ in 0..MAX_FAILURES {
                assert!(attempts.pause_after(&lost, progress).is_some());
            }
            assert!(attempts.pause_after(&lost, progress).is_none());
        }
        let denied = Trouble::new(ErrorKind::PermissionDenied);
        assert!(attempts.pause_after(&denied, 100).is_none(), "what is permanent is not tried again");
    }

    #[test]
    fn patience_has_an_end() {
        let mut attempts = Patience { stall_timeout: Duration::ZERO }.attempts();
        assert!(attempts.pause_after(&Trouble::new(ErrorKind::Unavailable).broken(), 0).is_none());
    }
}
