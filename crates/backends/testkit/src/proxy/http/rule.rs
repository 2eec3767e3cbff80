//! What happens to which requests.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::fired::Fired;
use crate::proxy::http::request::HttpRequest;

/// Something that happens to one request, the next one, unless it is told otherwise.
pub struct HttpRule {
    action: HttpAction,
    such: Box<dyn Fn(&HttpRequest) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
}

/// What happens to a request. Positions count the bytes of the answer's body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpAction {
    /// The proxy answers, after it has read the request's body. The server does not hear of the request.
    Respond(Reply),
    /// The server does what it should, and its whole answer is read; then the connection is closed without one.
    LoseAnswer,
    /// The server does not hear of the request, and nothing is ever answered.
    StallAnswer,
    /// The answer's body ends behind so many bytes, with its connection; the length in its head stays what it was. A
    /// body that is not longer is not hit.
    CutBody {
        /// How many bytes arrive.
        after: u64,
    },
    /// The answer's body stops behind so many bytes, and nothing more ever comes. A body that is not longer is not hit.
    StallBody {
        /// How many bytes arrive.
        after: u64,
    },
    /// The byte at this position arrives with all its bits flipped.
    CorruptBody {
        /// How many bytes come before it.
        at: u64,
    },
    /// The server gets the request without this header, and imitates one that ignores it. A request without the header
    /// is not hit. A signature that covers the header no longer fits: strip `Authorization` too, and let the server
    /// take anonymous requests.
    StripHeader(String),
}

/// An answer in the server's place.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// An answer without headers and body.
    ///
    /// # Panics
    ///
    /// The number is no status.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("the test gives a status of HTTP");
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header.
    ///
    /// # Panics
    ///
    /// It is no header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the test gives a name of a header");
        let value: HeaderValue = value.parse().expect("the test gives a value of a header");
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
    /// Hits the next request, whatever it is.
    pub fn new(action: impl Into<HttpAction>) -> Self {
        Self { action: action.into(), such: Box::new(|_| true), skip: 0, times: 1 }
    }

    /// Hits only such requests.
    #[must_use]
    pub fn on(mut self, such: impl Fn(&HttpRequest) -> bool + Send + Sync + 'static) -> Self {
        self.such = Box::new(such);
        self
    }

    /// Lets so many requests pass first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Hits so many requests.
    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    /// Hits all requests.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Whether the rule hits a request, which it then has done.
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
pub(super) struct Rules(Mutex<Vec<(HttpRule, Fired)>>);

/// What is to happen to a request, and the count for whoever makes it happen.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) action: HttpAction,
    pub(super) fired: Fired,
}

impl Rules {
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

    /// Strips headers, and returns what else is to happen.
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
