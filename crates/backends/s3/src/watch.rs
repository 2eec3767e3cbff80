//! The HTTP client: the SDK's, which fails where nothing moves any more.
//!
//! The SDK's own timeouts are for a whole attempt, which says nothing about a large part on a slow link, or end when
//! an answer begins. Here each byte that is sent or received counts as progress.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::{DateTime, Format};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use larder_backend::retry::{Activity, Patience};
use tokio::time::{Instant, Sleep};

type BoxError = Box<dyn StdError + Send + Sync>;

/// How much is handed to the connection at once, in bytes: small enough that a slow link (1 Mbit/s) takes one within
/// the shortest sensible timeout.
const PIECE: usize = 128 * 1024;

/// Requests above this size, in bytes, may be in some buffer for a while when the last byte of them was sent.
const LARGE: u64 = 64 * 1024;

/// Nothing moved for too long.
#[derive(Debug)]
struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing was sent or received for {:?}", self.0)
    }
}

impl StdError for Stalled {}

/// Whether that is why something failed.
pub(crate) fn is_stall(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<Stalled>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The clock of the remote, as its last answer told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteClock(Arc<AtomicU64>);

impl RemoteClock {
    /// The time of the last answer; our own where there was none.
    pub(crate) fn last_answer(&self) -> SystemTime {
        match self.0.load(Ordering::Relaxed) {
            0 => SystemTime::now(),
            seconds => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    fn note(&self, response: &HttpResponse) {
        let date =
            response.headers().get("date").and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
        if let Some(seconds) = date.and_then(|date| u64::try_from(date.secs()).ok()) {
            self.0.store(seconds, Ordering::Relaxed);
        }
    }
}

type BuildConnector =
    dyn Fn(&HttpConnectorSettings, Option<SharedAsyncSleep>) -> SharedHttpConnector + Send + Sync;

/// The SDK's client, watched.
pub(crate) struct WatchedClient {
    build: Box<BuildConnector>,
    /// A connector has a pool of connections: one for each of the settings, of which there are few.
    connectors: Mutex<Vec<(HttpConnectorSettings, SharedHttpConnector)>>,
    patience: Patience,
    clock: RemoteClock,
}

impl WatchedClient {
    /// Watches what `build` makes.
    pub(crate) fn new(
        patience: Patience,
        clock: RemoteClock,
        build: impl Fn(&HttpConnectorSettings, Option<SharedAsyncSleep>) -> SharedHttpConnector
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { build: Box::new(build), connectors: Mutex::default(), patience, clock }
    }
}

impl fmt::Debug for WatchedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedClient").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl HttpClient for WatchedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let same = |known: &HttpConnectorSettings| {
            (known.connect_timeout(), known.read_timeout())
                == (settings.connect_timeout(), settings.read_timeout())
        };
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = connectors.iter().find(|(known, _)| same(known)) {
            return connector.clone();
        }
        let connector = SharedHttpConnector::new(WatchedConnector {
            inner: (self.build)(settings, components.sleep_impl()),
            patience: self.patience.clone(),
            clock: self.clock.clone(),
        });
        connectors.push((settings.clone(), connector.clone()));
        connector
    }
}

#[derive(Debug)]
struct WatchedConnector {
    inner: SharedHttpConnector,
    patience: Patience,
    clock: RemoteClock,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let (patience, clock) = (self.patience.clone(), self.clock.clone());
        let progress = Progress::new(patience.activity.clone());
        let body = request.take_body();
        let is_large = Body::size_hint(&body).lower() > LARGE;
        let sent = Sent { inner: body, rest: Bytes::new(), progress: progress.clone() };
        *request.body_mut() = SdkBody::from_body_1_x(sent);
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let timeout = patience.attempt_timeout();
            let for_answer = if is_large { patience.answer_timeout() } else { timeout };
            let mut response = progress.watch(timeout, for_answer, answer).await?;
            clock.note(&response);
            patience.activity.answered();
            let body = response.take_body();
            let received = Received { inner: body, timeout, silence: None, activity: patience.activity };
            *response.body_mut() = SdkBody::from_body_1_x(received);
            Ok(response)
        })
    }
}

/// When something of a request was sent last.
#[derive(Clone, Debug)]
struct Progress {
    state: Arc<Mutex<Sending>>,
    activity: Activity,
}

#[derive(Clone, Copy, Debug)]
struct Sending {
    last: Instant,
    /// All of it was handed to the system.
    is_over: bool,
}

impl Progress {
    fn new(activity: Activity) -> Self {
        let state = Sending { last: Instant::now(), is_over: false };
        Self { state: Arc::new(Mutex::new(state)), activity }
    }

    fn note(&self, is_over: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            Sending { last: Instant::now(), is_over };
        self.activity.moved();
    }

    fn now(&self) -> Sending {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the begin of an answer, as long as something is sent, and then for a while.
    async fn watch(
        &self,
        timeout: Duration,
        for_answer: Duration,
        mut answer: HttpConnectorFuture,
    ) -> Result<HttpResponse, ConnectorError> {
        loop {
            let Sending { last, is_over } = self.now();
            let allowed = if is_over { for_answer } else { timeout };
            match tokio::time::timeout_at(last + allowed, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if self.now().last > last => {}
                Err(_) => return Err(ConnectorError::timeout(Stalled(allowed).into())),
            }
        }
    }
}

/// The body of a request, in pieces whose sending can be seen.
struct Sent {
    inner: SdkBody,
    /// What is left of the frame that the body gave last.
    rest: Bytes,
    progress: Progress,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => {
                    self.progress.note(true);
                    return Poll::Ready(end);
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
        let mut hint = Body::size_hint(&self.inner);
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// The body of an answer, which fails where its next piece does not come.
struct Received {
    inner: SdkBody,
    timeout: Duration,
    /// Runs while somebody waits: who does not ask for more cannot be kept waiting.
    silence: Option<Pin<Box<Sleep>>>,
    activity: Activity,
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.silence = None;
            if matches!(frame, Some(Ok(_))) {
                self.activity.moved();
            }
            return Poll::Ready(frame);
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
        Body::size_hint(&self.inner)
    }
}
