//! Retries: how often, with which pauses, and for how long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_backend::{Error, ErrorKind, Result, seconds};
use tokio::time::Instant;

/// The first pause. Each pause is twice as long as the one before. Half of it is random, so that many clients do not return
/// at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that the server did not ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// The longest no-progress timeout for cleaning up.
const LONGEST_CLEAN_UP: Duration = Duration::from_secs(10);
/// How often a request to a server that has never answered may fail in a row. The pauses take 2 s in total, because the
/// name or the port of the server may be wrong, and the user waits.
const MAX_FAILURES: u32 = 4;
/// The same for a server that has answered before. It may be restarting, and an upload of hours is worth 20 s.
const MAX_FAILURES_OF_KNOWN: u32 = 7;
/// The same for a server that asks for fewer requests.
const MAX_THROTTLED: u32 = 8;

/// A failed attempt.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttemptFailure {
    /// The error of the attempt.
    pub error: Error,
    /// How long the server asks the client to wait.
    pub retry_after: Option<Duration>,
    /// Whether the server may have done what was asked, because its answer was lost.
    pub is_uncertain: bool,
}

impl AttemptFailure {
    /// Sets how long the server asks the client to wait.
    #[must_use]
    pub fn with_retry_after(mut self, time: Option<Duration>) -> Self {
        self.retry_after = time;
        self
    }

    /// Sets whether the server may have done what was asked.
    #[must_use]
    pub fn with_uncertainty(mut self, is_uncertain: bool) -> Self {
        self.is_uncertain = is_uncertain;
        self
    }
}

impl From<Error> for AttemptFailure {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None, is_uncertain: false }
    }
}

/// When a byte was sent or received last on any connection, and whether the server has ever answered.
#[derive(Clone, Debug)]
pub struct Activity(Arc<(Mutex<Instant>, AtomicBool)>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Instant::now()), AtomicBool::new(false))))
    }
}

impl Activity {
    /// Notes that bytes were sent or received.
    pub fn moved(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Notes that the server has answered.
    pub fn answered(&self) {
        self.0.1.store(true, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_answered(&self) -> bool {
        self.0.1.load(Ordering::Relaxed)
    }
}

/// How long operations are retried.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    /// The longest time without progress, all attempts and pauses included.
    pub stall_timeout: Duration,
    /// The progress of all operations.
    pub activity: Activity,
}

impl RetryBudget {
    /// Ends an operation after `stall_timeout` without progress.
    pub fn new(stall_timeout: Duration) -> Self {
        Self { stall_timeout, activity: Activity::default() }
    }

    /// How long one attempt may make no progress. It is a third of the whole, so that a dead connection is replaced
    /// before the operation fails.
    pub fn attempt_timeout(&self) -> Duration {
        self.stall_timeout / 3
    }

    /// How long the answer to a large request may take. Sent bytes may still be in a buffer of the system or of a proxy, in
    /// front of a slow link.
    pub fn answer_timeout(&self) -> Duration {
        self.stall_timeout / 2
    }

    /// A smaller budget for cleaning up. The link is often dead by then, and a later sweep removes the rest.
    #[must_use]
    pub fn for_cleaning_up(&self) -> Self {
        let stall_timeout = LONGEST_CLEAN_UP.min(self.stall_timeout / 2);
        Self { stall_timeout, activity: self.activity.clone() }
    }

    /// Begins to count attempts.
    pub fn attempts(&self) -> RetryAttempts {
        RetryAttempts {
            budget: self.clone(),
            failures: 0,
            begun: Instant::now(),
            idle: Duration::ZERO,
            is_uncertain: false,
        }
    }

    /// Retries until an attempt succeeds or fails permanently, or the budget is used up.
    ///
    /// # Errors
    ///
    /// The last failure.
    pub async fn retrying<T, F, E>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<AttemptFailure>,
    {
        let mut attempts = self.attempts();
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) => attempts.pause_after(failure).await?,
            }
        }
    }
}

/// The attempts at one operation.
#[derive(Debug)]
pub struct RetryAttempts {
    budget: RetryBudget,
    failures: u32,
    /// When the current attempt began.
    begun: Instant,
    /// The time without progress, in all attempts and between them.
    idle: Duration,
    is_uncertain: bool,
}

impl RetryAttempts {
    /// Notes progress that a later attempt keeps. Earlier failures do not count any more.
    pub fn progressed(&mut self) {
        self.failures = 0;
        self.idle = Duration::ZERO;
        self.begun = Instant::now();
    }

    /// Whether the server may have done an earlier attempt, because its answer was lost.
    pub fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    ///
    /// The failure, if there is no further attempt.
    pub async fn pause_after(&mut self, failure: impl Into<AttemptFailure>) -> Result<()> {
        let failure = failure.into();
        let activity = &self.budget.activity;
        let max_failures = match failure.error.kind() {
            ErrorKind::RateLimited => MAX_THROTTLED,
            _ if activity.has_answered() => MAX_FAILURES_OF_KNOWN,
            _ => MAX_FAILURES,
        };
        // A part that takes long on a slow link makes progress.
        let silence = activity.last().max(self.begun).elapsed();
        self.idle = self.idle.saturating_add(silence);
        if !failure.error.is_retryable() || self.failures >= max_failures {
            return Err(self.give_up(failure.error));
        }
        let backoff = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures));
        let backoff = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
        let pause = failure.retry_after.map_or(backoff, |asked| asked.max(backoff));
        if self.idle.saturating_add(pause) >= self.budget.stall_timeout {
            return Err(self.give_up(failure.error));
        }
        self.idle += pause;
        self.failures += 1;
        self.is_uncertain |= failure.is_uncertain;
        tokio::time::sleep(pause).await;
        self.begun = Instant::now();
        Ok(())
    }

    /// The error of the operation. The last attempt knows only its own silence.
    fn give_up(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Timeout || self.failures == 0 {
            return error;
        }
        let attempts = self.failures + 1;
        error.with_source(format!(
            "nothing was sent or received for {}, in {attempts} attempts",
            seconds(self.idle)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_backend::{Operation, error_chain};

    fn failure(kind: ErrorKind) -> AttemptFailure {
        Error::new(kind, Operation::Get, "s3://b/k").into()
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_failures_are_not_tried_again() {
        let mut attempts = RetryBudget::new(Duration::from_mins(1)).attempts();
        assert!(attempts.pause_after(failure(ErrorKind::PermissionDenied)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_are_bounded_and_progress_starts_anew() {
        let mut attempts = RetryBudget::new(Duration::from_mins(10)).attempts();
        for _ in 0..2 {
            for _ in 0..MAX_FAILURES {
                attempts.pause_after(failure(ErrorKind::Unavailable)).await.unwrap();
            }
            assert!(attempts.pause_after(failure(ErrorKind::Unavailable)).await.is_err());
            attempts.progressed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_how_long_to_wait_and_patience_has_an_end() {
        let mut attempts = RetryBudget::new(Duration::from_secs(30)).attempts();
        let asking = |seconds| AttemptFailure {
            retry_after: Some(Duration::from_secs(seconds)),
            ..failure(ErrorKind::RateLimited)
        };
        let before = tokio::time::Instant::now();
        attempts.pause_after(asking(7)).await.unwrap();
        assert!(before.elapsed() >= Duration::from_secs(7));
        assert!(attempts.pause_after(asking(40)).await.is_err());
        assert!(attempts.pause_after(asking(u64::MAX)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_answered_is_given_more_time() {
        let budget = RetryBudget::new(Duration::from_mins(10));
        budget.activity.answered();
        let mut attempts = budget.attempts();
        for _ in 0..MAX_FAILURES_OF_KNOWN {
            attempts.pause_after(failure(ErrorKind::Unavailable)).await.unwrap();
        }
        assert!(attempts.pause_after(failure(ErrorKind::Unavailable)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_times_out_after_the_stated_time() {
        let budget = RetryBudget::new(larder_backend::DEFAULT_STALL_TIMEOUT);
        let begun = Instant::now();
        let silent = || async {
            tokio::time::sleep(budget.attempt_timeout()).await;
            let silence = format!("nothing was sent or received for {}", seconds(budget.attempt_timeout()));
            Err::<(), _>(AttemptFailure::from(
                Error::new(ErrorKind::Timeout, Operation::Stat, "s3://b/k").with_source(silence),
            ))
        };
        let error = budget.retrying(silent).await.unwrap_err();
        let passed = begun.elapsed();
        assert_eq!(passed.as_secs(), 90, "{passed:?}");
        let text = error_chain(&error);
        assert!(text.contains(&format!("received for {}, in 3 attempts", seconds(passed))), "{text}");
        assert!(!text.contains("30 s"), "{text}");
    }
}
