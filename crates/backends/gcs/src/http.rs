//! Requests that write. Google's client has no timeouts for them that a large chunk on a slow link and a connection that
//! died in silence could both live with; here each byte that is sent counts as progress.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::{Extensions, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use larder_backend::{Error, ErrorKind, Operation, Result, error_chain};
use larder_backend_http::progress::{SendProgress, Stalled};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};
use reqwest::{Client, RequestBuilder};

use crate::chunk::Unread;
use crate::error::Target;

/// How much is handed to the connection at once, in bytes: small enough that a slow link (1 Mbit/s) takes one within
/// the shortest sensible timeout.
const PIECE: usize = 64 * 1024;
/// The longest that a connection may take, however patient the user is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer: a description of an object, or an error.
const MAX_ANSWER: usize = 256 * 1024;

/// What requests are sent with.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    /// The URL of the server.
    pub(crate) endpoint: String,
    credentials: Credentials,
    patience: RetryBudget,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body, or its beginning if it broke off: the status says already whether the server did what it was asked.
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new(
        endpoint: &str,
        credentials: Credentials,
        patience: RetryBudget,
        location: &str,
    ) -> Result<Self> {
        let client = Client::builder()
            // Whoever is led elsewhere would take the credentials along.
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT.min(patience.attempt_timeout()))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Other, Operation::Open, location)
                    .with_hint("no HTTP client can be made")
                    .with_source(error_chain(&error))
            })?;
        Ok(Self { client, endpoint: endpoint.to_owned(), credentials, patience })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request once, and waits for its answer as long as something moves.
    pub(crate) async fn send(
        &self,
        request: RequestBuilder,
        body: Unread,
        target: Target<'_>,
    ) -> Result<Answer, AttemptFailure> {
        let timeout = self.patience.attempt_timeout();
        let headers = match tokio::time::timeout(timeout, self.credentials.headers(Extensions::new())).await {
            Ok(Ok(CacheableResource::New { data, .. })) => data,
            Ok(Ok(CacheableResource::NotModified)) => HeaderMap::new(),
            Ok(Err(error)) => {
                let may_pass = error.is_transient();
                let mut failure = target.no_credentials(&error);
                failure.error = failure.error.with_retryable(may_pass);
                return Err(failure);
            }
            Err(_) => return Err(target.stalled(timeout)),
        };
        let progress = SendProgress::new(self.patience.activity.clone());
        let length = body.len() as u64;
        let watched = Watched { rest: body, progress: progress.clone() };
        let sending = request.headers(headers).body(reqwest::Body::wrap(watched)).send();
        let mut response = match progress.watch(&self.patience, length, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(target.without_answer(&error, error.is_timeout())),
            Err(Stalled(time)) => return Err(target.stalled(time)),
        };
        self.patience.activity.moved();
        self.patience.activity.answered();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = BytesMut::new();
        loop {
            match tokio::time::timeout(timeout, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let room = MAX_ANSWER - answer.len();
                    answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if answer.len() >= MAX_ANSWER {
                        break;
                    }
                }
                Ok(Ok(None)) | Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(Answer { status, headers, body: answer.freeze() })
    }
}

/// The body of a request, in pieces whose sending can be seen.
struct Watched {
    rest: Unread,
    progress: SendProgress,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            self.progress.note(true);
            return Poll::Ready(None);
        }
        let piece = self.rest.next(PIECE);
        // The connection asks for more as soon as it has room.
        self.progress.note(self.rest.is_empty());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
