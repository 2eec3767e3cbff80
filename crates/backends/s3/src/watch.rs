//! The SDK's HTTP client with a timeout for silence. The SDK's own timeouts are for whole attempts, or end when an answer
//! begins.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
use http_body::Body as _;
use larder_backend_http::progress::{ReceivedBody, SendProgress, SentBody};
use larder_backend_http::retry::RetryBudget;

/// The clock of the remote, from its last answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteClock(Arc<AtomicU64>);

impl RemoteClock {
    /// The time of the last answer, or the time of this machine before the first one.
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

/// The SDK's client, with watched bodies.
pub(crate) struct WatchedClient {
    build: Box<BuildConnector>,
    /// One connector for each of the few settings. A connector has a pool of connections.
    connectors: Mutex<Vec<(HttpConnectorSettings, SharedHttpConnector)>>,
    budget: RetryBudget,
    clock: RemoteClock,
}

impl WatchedClient {
    /// Watches the client that `build` makes.
    pub(crate) fn new(
        budget: RetryBudget,
        clock: RemoteClock,
        build: impl Fn(&HttpConnectorSettings, Option<SharedAsyncSleep>) -> SharedHttpConnector
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { build: Box::new(build), connectors: Mutex::default(), budget, clock }
    }
}

impl fmt::Debug for WatchedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedClient").field("patience", &self.budget).finish_non_exhaustive()
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
            budget: self.budget.clone(),
            clock: self.clock.clone(),
        });
        connectors.push((settings.clone(), connector.clone()));
        connector
    }
}

#[derive(Debug)]
struct WatchedConnector {
    inner: SharedHttpConnector,
    budget: RetryBudget,
    clock: RemoteClock,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let (budget, clock) = (self.budget.clone(), self.clock.clone());
        let progress = SendProgress::new(budget.activity.clone());
        let body = request.take_body();
        let length = body.size_hint().lower();
        *request.body_mut() = SdkBody::from_body_1_x(SentBody::new(body, progress.clone()));
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let answer = progress.watch(&budget, length, answer).await;
            let mut response = answer.map_err(|stalled| ConnectorError::timeout(stalled.into()))??;
            clock.note(&response);
            budget.activity.answered();
            let received = ReceivedBody::new(response.take_body(), &budget);
            *response.body_mut() = SdkBody::from_body_1_x(received);
            Ok(response)
        })
    }
}
