//! Retries: how often, with which pauses, and for how long.

use std::time::Duration;

use crate::error::Trouble;

/// The first pause. Each pause is twice as long as the one before, and half of it is random: servers drop connections if too
/// many clients return at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest no-progress timeout for cleaning up.
const LONGEST_CLEAN_UP: Duration = Duration::from_secs(10);
/// The number of failures in a row after which a server is given up. Their pauses take 6 s.
const MAX_FAILURES: u32 = 5;

/// How long an operation is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The longest time without progress, all attempts and pauses included.
    pub(crate) stall_timeout: Duration,
}

impl Patience {
    /// How long one answer may take: a third of the whole, so that a dead connection is replaced before the operation fails.
    pub(crate) fn answer_limit(self) -> Duration {
        self.stall_timeout / 3
    }

    /// A shorter time for cleaning up: the link is often dead by then, and a later sweep removes the rest.
    pub(crate) fn for_cleaning_up(self) -> Self {
        Self { stall_timeout: LONGEST_CLEAN_UP.min(self.stall_timeout / 2) }
    }

    /// Begins to count attempts.
    pub(crate) fn attempts(self) -> OperationAttempts {
        OperationAttempts { patience: self, failures: 0, idle: Duration::ZERO, progress: 0 }
    }
}

/// The attempts at one operation.
#[derive(Debug)]
pub(crate) struct OperationAttempts {
    patience: Patience,
    failures: u32,
    /// The time without an answer, in all attempts and between them.
    idle: Duration,
    progress: u64,
}

impl OperationAttempts {
    /// Returns how long to wait before the next attempt. Nothing was heard during the last `silence` of the failed one. If
    /// `progress` has grown since the last failure, earlier failures do not count.
    ///
    /// # Errors
    ///
    /// The trouble, if there is no further attempt.
    pub(crate) fn pause_after(
        &mut self,
        trouble: Trouble,
        silence: Duration,
        progress: u64,
    ) -> Result<Duration, Trouble> {
        if progress > self.progress {
            self.progress = progress;
            self.failures = 0;
            self.idle = Duration::ZERO;
        }
        self.idle = self.idle.saturating_add(silence);
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures));
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        if !trouble.is_retryable
            || self.failures >= MAX_FAILURES
            || self.idle.saturating_add(pause) >= self.patience.stall_timeout
        {
            return Err(trouble.after_attempts(self.failures + 1, self.idle));
        }
        self.idle += pause;
        self.failures += 1;
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use larder_backend::{DEFAULT_STALL_TIMEOUT, ErrorKind, Operation, error_chain, seconds};

    use super::*;

    fn lost() -> Trouble {
        Trouble::new(ErrorKind::Unavailable).broken()
    }

    #[test]
    fn failures_in_a_row_are_bounded_and_progress_starts_anew() {
        let mut attempts = Patience { stall_timeout: Duration::from_mins(1) }.attempts();
        for progress in 1..3 {
            for _ in 0..MAX_FAILURES {
                assert!(attempts.pause_after(lost(), Duration::ZERO, progress).is_ok());
            }
            assert!(attempts.pause_after(lost(), Duration::ZERO, progress).is_err());
        }
        let denied = Trouble::new(ErrorKind::PermissionDenied);
        assert!(attempts.pause_after(denied, Duration::ZERO, 100).is_err(), "it is permanent");
    }

    #[test]
    fn a_silent_server_times_out_after_the_stated_time() {
        let patience = Patience { stall_timeout: DEFAULT_STALL_TIMEOUT };
        let mut attempts = patience.attempts();
        let limit = patience.answer_limit();
        let mut passed = Duration::ZERO;
        let trouble = loop {
            passed += limit;
            match attempts.pause_after(Trouble::silent("the server", limit), limit, 0) {
                Ok(pause) => passed += pause,
                Err(trouble) => break trouble,
            }
        };
        assert_eq!(passed.as_secs(), 90, "{passed:?}");
        let text = error_chain(&trouble.at(Operation::Stat, "ssh://h/a"));
        let stated = format!("the server did not answer for {}, in 3 attempts", seconds(passed));
        assert!(text.contains(&stated) && !text.contains("30 s"), "{text}");
    }

    #[test]
    fn an_answer_counts_however_long_the_operation_takes() {
        let mut attempts = Patience { stall_timeout: Duration::from_secs(9) }.attempts();
        // Each attempt may have worked for an hour before it was lost.
        for _ in 0..2 {
            assert!(attempts.pause_after(lost(), Duration::from_secs(3), 0).is_ok());
        }
        assert!(attempts.pause_after(lost(), Duration::from_secs(3), 0).is_err());
    }
}
