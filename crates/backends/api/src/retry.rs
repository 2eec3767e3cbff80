//! Trying again, for backends whose servers are reached by HTTP: how often, with which pauses, and when it is enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// The first pause, which doubles from then on. Half of each is random, so that many clients do not return at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that is not the server's wish.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// How long cleaning up may take without progress, however patient the user is.
const LONGEST_CLEAN_UP: Duration = Duration::from_secs(10);
/// Failures in a row after which a server that has never answered is given up, with pauses of 2 s in all: its name or its
/// port may be wrong, and somebody waits.
const MAX_FAILURES: u32 = 4;
/// The same of one that has answered before: it may be starting again, and an upload of hours is worth 20 s.
const MAX_FAILURES_OF_KNOWN: u32 = 7;
/// The same where the server asks for patience, which says that it is worth it.
const MAX_THROTTLED: u32 = 8;

/// One attempt failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The server may have done what it was asked, because its answer never came.
    pub is_uncertain: bool,
}

impl Failure {
    /// The server wants to be left alone for so long.
    #[must_use]
    pub fn with_retry_after(mut self, time: Option<Duration>) -> Self {
        self.retry_after = time;
        self
    }

    /// Whether the server may have done what it was asked.
    #[must_use]
    pub fn with_uncertainty(mut self, is_uncertain: bool) -> Self {
        self.is_uncertain = is_uncertain;
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None, is_uncertain: false }
    }
}

/// When anything was sent or received last, on any connection, and whether there was ever an answer.
#[derive(Clone, Debug)]
pub struct Activity(Arc<(Mutex<Instant>, AtomicBool)>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Instant::now()), AtomicBool::new(false))))
    }
}

impl Activity {
    /// Something was sent or received.
    pub fn moved(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The server has answered.
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

/// For how long operations are tried.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Without progress, with all attempts and pauses.
    pub stall_timeout: Duration,
    /// What moves, of all operations.
    pub activity: Activity,
}

impl Patience {
    /// Gives operations up that have not moved for so long.
    pub fn new(stall_timeout: Duration) -> Self {
        Self { stall_timeout, activity: Activity::default() }
    }

    /// How long one attempt may be silent.
    pub fn attempt_timeout(&self) -> Duration {
        self.stall_timeout / 3
    }

    /// How long the answer to a large request may take: what was sent may still be in the buffers of the system, or of
    /// a proxy, in front of a slow link.
    pub fn answer_timeout(&self) -> Duration {
        self.stall_timeout / 2
    }

    /// For what is not why the user waits: often the link is dead by then, and what is left undone is swept later.
    #[must_use]
    pub fn for_cleaning_up(&self) -> Self {
        let stall_timeout = LONGEST_CLEAN_UP.min(self.stall_timeout / 2);
        Self { stall_timeout, activity: self.activity.clone() }
    }

    /// Begins to count.
    pub fn attempts(&self) -> Attempts {
        Attempts {
            patience: self.clone(),
            failures: 0,
            begun: Instant::now(),
            idle: Duration::ZERO,
            is_uncertain: false,
        }
    }

    /// Tries until it succeeds, fails for good, or patience is at its end.
    ///
    /// # Errors
    ///
    /// The last failure.
    pub async fn retrying<T, F, E>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<Failure>,
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

/// The attempts at one thing.
#[derive(Debug)]
pub struct Attempts {
    patience: Patience,
    failures: u32,
    /// When the attempt that is under way began.
    begun: Instant,
    /// For how long nothing has moved, in all attempts and between them.
    idle: Duration,
    is_uncertain: bool,
}

impl Attempts {
    /// Something came that will not have to come again: earlier failures do not count any more.
    pub fn progressed(&mut self) {
        self.failures = 0;
        self.idle = Duration::ZERO;
        self.begun = Instant::now();
    }

    /// Whether an earlier attempt may have been done, because its answer never came.
    pub fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    ///
    /// The failure, where another attempt is not worth it.
    pub async fn pause_after(&mut self, failure: impl Into<Failure>) -> Result<()> {
        let failure = failure.into();
        let activity = &self.patience.activity;
        let max_failures = match failure.error.kind() {
            ErrorKind::RateLimited => MAX_THROTTLED,
            _ if activity.has_answered() => MAX_FAILURES_OF_KNOWN,
            _ => MAX_FAILURES,
        };
        if !failure.error.is_retryable() || self.failures >= max_failures {
            return Err(failure.error);
        }
        let backoff = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures));
        let backoff = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
        let pause = failure.retry_after.map_or(backoff, |asked| asked.max(backoff));
        // A part that took long because the link is slow was not idle.
        let silence = activity.last().max(self.begun).elapsed();
        self.idle = self.idle.saturating_add(silence).saturating_add(pause);
        if self.idle >= self.patience.stall_timeout {
            return Err(failure.error);
        }
        self.failures += 1;
        self.is_uncertain |= failure.is_uncertain;
        tokio::time::sleep(pause).await;
        self.begun = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;

    fn failure(kind: ErrorKind) -> Failure {
        Error::new(kind, Operation::Get, "s3://b/k").into()
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_failures_are_not_tried_again() {
        let mut attempts = Patience::new(Duration::from_mins(1)).attempts();
        assert!(attempts.pause_after(failure(ErrorKind::PermissionDenied)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_are_bounded_and_progress_starts_anew() {
        let mut attempts = Patience::new(Duration::from_mins(10)).attempts();
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
        let mut attempts = Patience::new(Duration::from_secs(30)).attempts();
        let asking = |seconds| Failure {
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
        let patience = Patience::new(Duration::from_mins(10));
        patience.activity.answered();
        let mut attempts = patience.attempts();
        for _ in 0..MAX_FAILURES_OF_KNOWN {
            attempts.pause_after(failure(ErrorKind::Unavailable)).await.unwrap();
        }
        assert!(attempts.pause_after(failure(ErrorKind::Unavailable)).await.is_err());
    }
}
