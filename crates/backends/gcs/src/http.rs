//! HTTP requests that write, with a timeout that suits them. A timeout for a whole request is too short for a large chunk
//! on a slow link, or too long for a dead connection. Here, each byte that is sent counts as progress.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::{Extensions, HeaderMap};
use larder_backend::{Error, ErrorKind, Operation, Result, error_chain};
use larder_backend_http::progress::{SendProgress, SentBody, Stalled};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};
use reqwest::{Client, RequestBuilder};

use crate::chunk::Unread;
use crate::error::GcsTarget;

/// The longest time for a connection, even if the no-progress timeout is longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes. Answers describe an object or an error.
const MAX_ANSWER: usize = 256 * 1024;

/// A client that watches the progress of its requests.
#[derive(Debug)]
pub(crate) struct WatchedHttp {
    client: Client,
    /// The URL of the server.
    pub(crate) endpoint: String,
    credentials: Credentials,
    retry_budget: RetryBudget,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body, or its beginning if it broke off: the status says already whether the server did what it was asked.
    pub(crate) body: Bytes,
}

impl WatchedHttp {
    pub(crate) fn new(
        endpoint: &str,
        credentials: Credentials,
        retry_budget: RetryBudget,
        location: &str,
    ) -> Result<Self> {
        let client = Client::builder()
            // A redirect would send the credentials to another host.
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT.min(retry_budget.attempt_timeout()))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Other, Operation::Open, location)
                    .with_hint("the HTTP client could not be set up")
                    .with_source(error_chain(&error))
            })?;
        Ok(Self { client, endpoint: endpoint.to_owned(), credentials, retry_budget })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request once, and waits for its answer while bytes move.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        body: Unread,
        target: GcsTarget<'_>,
    ) -> Result<HttpAnswer, AttemptFailure> {
        let timeout = self.retry_budget.attempt_timeout();
        let headers = match tokio::time::timeout(timeout, self.credentials.headers(Extensions::new())).await {
            Ok(Ok(CacheableResource::New { data, .. })) => data,
            Ok(Ok(CacheableResource::NotModified)) => HeaderMap::new(),
            Ok(Err(error)) => return Err(target.no_credentials(&error)),
            Err(_) => return Err(target.stalled(timeout)),
        };
        let progress = SendProgress::new(self.retry_budget.activity.clone());
        let length = body.len() as u64;
        let body = SentBody::new(body, progress.clone());
        let sending = request.headers(headers).body(reqwest::Body::wrap(body)).send();
        let mut response = match progress.watch(&self.retry_budget, length, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(target.without_answer(&error, error.is_timeout())),
            Err(Stalled(time)) => return Err(target.stalled(time)),
        };
        self.retry_budget.activity.moved();
        self.retry_budget.activity.answered();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = BytesMut::new();
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(timeout, response.chunk()).await {
            let room = MAX_ANSWER - answer.len();
            answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if answer.len() >= MAX_ANSWER {
                break;
            }
        }
        Ok(HttpAnswer { status, headers, body: answer.freeze() })
    }
}
