//! Bodies of requests and answers that fail if no byte moves.
//!
//! A timeout for a whole request does not suit a large part on a slow link. Here, each byte that is sent or received counts
//! as progress.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use larder_backend::seconds;
use tokio::time::{Instant, Sleep};

use crate::causes::find_cause;
use crate::retry::{Activity, RetryBudget};

type BodyError = Box<dyn StdError + Send + Sync>;

/// How much the connection gets at once, in bytes. A slow link (1 Mbit/s) sends it within the shortest sensible timeout.
pub const PIECE: usize = 128 * 1024;

/// The size of a large request, in bytes. Its last bytes may be in a buffer for a while after they were sent.
const LARGE: u64 = 64 * 1024;

/// The error of a silence that lasted too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent or received for {}", seconds(*.0))]
pub struct Stalled(pub Duration);

/// Whether a stall is the cause of an error.
pub fn is_stall(error: &(dyn StdError + 'static)) -> bool {
    find_cause::<Stalled>(error).is_some()
}

/// The time at which a byte of a request was sent last.
#[derive(Clone, Debug)]
pub struct SendProgress {
    state: Arc<Mutex<SendState>>,
    activity: Activity,
}

#[derive(Clone, Copy, Debug)]
struct SendState {
    last: Instant,
    /// All bytes were handed to the system.
    is_sent: bool,
}

impl SendProgress {
    /// Begins to watch a request.
    pub fn new(activity: Activity) -> Self {
        Self { state: Arc::new(Mutex::new(SendState { last: Instant::now(), is_sent: false })), activity }
    }

    /// Notes that the connection took a piece, and whether it was the last.
    pub fn note(&self, is_sent: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            SendState { last: Instant::now(), is_sent };
        self.activity.moved();
    }

    fn now(&self) -> SendState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the beginning of an answer as long as the request is being sent, and then as long as `budget` allows for a
    /// request of `length` bytes.
    ///
    /// # Errors
    ///
    /// No byte moved for too long.
    pub async fn watch<T>(
        &self,
        budget: &RetryBudget,
        length: u64,
        answer: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        let for_answer = if length > LARGE { budget.answer_timeout() } else { budget.attempt_timeout() };
        let mut answer = std::pin::pin!(answer);
        loop {
            let SendState { last, is_sent } = self.now();
            let allowed = if is_sent || length == 0 { for_answer } else { budget.attempt_timeout() };
            match tokio::time::timeout_at(last + allowed, &mut answer).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.now().last > last => {}
                Err(_) => return Err(Stalled(allowed)),
            }
        }
    }
}

/// The body of a request, in pieces. Notes each piece that the connection takes.
#[derive(Debug)]
pub struct SentBody<B> {
    inner: B,
    /// The rest of the last frame of `inner`.
    rest: Bytes,
    progress: SendProgress,
}

impl<B> SentBody<B> {
    /// Watches a body.
    pub fn new(inner: B, progress: SendProgress) -> Self {
        Self { inner, rest: Bytes::new(), progress }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin> Body for SentBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => {
                    self.progress.note(true);
                    return Poll::Ready(end.map(|end| end.map_err(Into::into)));
                }
            }
        }
        let piece = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(piece);
        // The connection asks for more as soon as it has room.
        self.progress.note(self.is_end_stream());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// The body of an answer. Fails if its next piece does not come in time.
#[derive(Debug)]
pub struct ReceivedBody<B> {
    inner: B,
    timeout: Duration,
    /// Runs only while a reader waits.
    silence: Option<Pin<Box<Sleep>>>,
    activity: Activity,
}

impl<B> ReceivedBody<B> {
    /// Watches a body.
    pub fn new(inner: B, budget: &RetryBudget) -> Self {
        let (timeout, activity) = (budget.attempt_timeout(), budget.activity.clone());
        Self { inner, timeout, silence: None, activity }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin> Body for ReceivedBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.silence = None;
            if matches!(frame, Some(Ok(_))) {
                self.activity.moved();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timeout = self.timeout;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stalled(timeout).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    fn budget() -> RetryBudget {
        RetryBudget::new(Duration::from_secs(30))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_moves_is_waited_for() {
        let (budget, bytes) = (budget(), Bytes::from(vec![7; 5 * PIECE + 1]));
        let progress = SendProgress::new(budget.activity.clone());
        let mut body = SentBody::new(Full::new(bytes.clone()), progress.clone());
        let slow = async {
            let mut sent = Vec::new();
            while let Some(frame) = body.frame().await {
                sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
            sent
        };
        let sent = progress.watch(&budget, bytes.len() as u64, slow).await.unwrap();
        assert_eq!(sent, bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_move_is_given_up() {
        for (length, expected) in [(0, 10), (PIECE as u64 + 1, 10)] {
            let progress = SendProgress::new(Activity::default());
            let stalled = progress.watch(&budget(), length, std::future::pending::<()>()).await.unwrap_err();
            assert_eq!(stalled.0, Duration::from_secs(expected));
            assert!(is_stall(&stalled));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_go_on_fails() {
        let frames = stream::unfold(0, |sent| async move {
            if sent > 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"first"))), sent + 1))
        });
        let mut body = ReceivedBody::new(StreamBody::new(Box::pin(frames)), &budget());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "nothing was sent or received for 10 s");
        assert!(is_stall(&*error));
    }
}
