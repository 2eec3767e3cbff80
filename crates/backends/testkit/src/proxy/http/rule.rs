//! Rules for requests.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::fired::Fired;
use crate::proxy::http::request::HttpRequest;

/// A rule that applies to the next request, unless configured otherwise.
pub struct HttpRule {
    action: HttpAction,
    such: Box<dyn Fn(&HttpRequest) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
}

/// The action of a rule. Positions count the bytes of the answer's body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpAction {
    /// The proxy reads the request's body and answers. The server does not get the request.
    Respond(Reply),
    /// The server processes the request. The proxy reads its whole answer, and closes the connection without an answer.
    LoseAnswer,
    /// The server does not get the request, and the client never gets an answer.
    StallAnswer,
    /// The connection closes after this number of bytes of the answer's body. The length in its head does not change.
    /// The action does not apply to a body that is not longer.
    CutBody {
        /// The number of bytes that arrive.
        after: u64,
    },
    /// The answer's body stalls forever after this number of bytes. The action does not apply to a body that is not
    /// longer.
    StallBody {
        /// The number of bytes that arrive.
        after: u64,
    },
    /// The byte at this position arrives with all its bits flipped.
    CorruptBody {
        /// The number of bytes before it.
        at: u64,
    },
    /// The server gets the request without this header, and so behaves as a server that ignores it. The action does not
    /// apply to a request without the header. It breaks a signature that covers the header: strip `Authorization` too, and
    /// let the server accept anonymous requests.
    StripHeader(String),
}

/// An answer of the proxy.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// Creates an answer without headers and body.
    ///
    /// # Panics
    ///
    /// Panics if the number is not a valid status.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("the test passes a valid HTTP status");
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header.
    ///
    /// # Panics
    ///
    /// Panics if the name or the value is not valid.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the test passes a valid header name");
        let value: HeaderValue = value.parse().expect("the test passes a valid header value");
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<Reply> for HttpAction {
    fn from(reply: Reply) -> Self {
        Self::Respond(reply)
    }
}

impl HttpRule {
    /// Creates a rule for the next request.
    pub fn new(action: impl Into<HttpAction>) -> Self {
        Self { action: action.into(), such: Box::new(|_| true), skip: 0, times: 1 }
    }

    /// Restricts the rule to requests for which `such` returns true.
    #[must_use]
    pub fn on(mut self, such: impl Fn(&HttpRequest) -> bool + Send + Sync + 'static) -> Self {
        self.such = Box::new(such);
        self
    }

    /// Lets this number of requests pass first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Applies to this number of requests.
    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    /// Applies to all requests.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Whether the rule applies to a request. Counts the requests that pass first.
    fn hits(&mut self, request: &HttpRequest) -> bool {
        if self.times == 0 || !(self.such)(request) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    fn used(&mut self) {
        self.times -= usize::from(self.times != usize::MAX);
    }
}

impl fmt::Debug for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRule")
            .field("action", &self.action)
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct HttpRules(Mutex<Vec<(HttpRule, Fired)>>);

/// The action for a request, and the count to increase when it happens.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) action: HttpAction,
    pub(super) fired: Fired,
}

impl HttpRules {
    fn rules(&self) -> MutexGuard<'_, Vec<(HttpRule, Fired)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, rule: HttpRule) -> Fired {
        let fired = Fired::new();
        self.rules().push((rule, fired.clone()));
        fired
    }

    pub(super) fn clear(&self) {
        self.rules().clear();
    }

    /// Strips headers, and returns the other action for the request.
    pub(super) fn pick(&self, request: &HttpRequest, headers: &mut HeaderMap) -> Option<Pick> {
        let mut picked = None;
        for (rule, fired) in self.rules().iter_mut() {
            if let HttpAction::StripHeader(name) = &rule.action {
                let name = name.clone();
                if headers.contains_key(&name) && rule.hits(request) {
                    headers.remove(&name);
                    rule.used();
                    fired.add();
                }
            } else if rule.hits(request) && picked.is_none() {
                rule.used();
                picked = Some(Pick { action: rule.action.clone(), fired: fired.clone() });
            }
        }
        picked
    }
}
