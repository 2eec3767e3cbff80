//! The log of requests.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// A request and the status of its answer. It has all headers but `Authorization`, so that a failed assertion can print
/// it.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    method: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    status: Option<u16>,
    server_status: Option<u16>,
}

impl HttpRequest {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let mut headers = request.headers().clone();
        headers.remove(AUTHORIZATION);
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
            headers,
            status: None,
            server_status: None,
        }
    }

    /// Returns the method, in capitals.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the path, percent-encoded as in the request.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the query, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Whether the query has a parameter of this name, with or without a value.
    pub fn has_query(&self, name: &str) -> bool {
        let pairs = self.query().unwrap_or_default().split('&');
        pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name)).any(|found| found == name)
    }

    /// Returns the first value of a header, if it is text. Names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str)?.ok()
    }

    /// Returns the status that the client got. `None` means that there is no answer, or not yet.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the status of the server's answer, even if the client never got it.
    pub fn server_status(&self) -> Option<u16> {
        self.server_status
    }
}

#[derive(Debug, Default)]
pub(super) struct RequestLog(Mutex<LoggedRequests>);

#[derive(Debug, Default)]
struct LoggedRequests {
    /// The number of requests that were taken from the log.
    taken: usize,
    requests: Vec<HttpRequest>,
}

impl RequestLog {
    fn entries(&self) -> MutexGuard<'_, LoggedRequests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<HttpRequest> {
        self.entries().requests.clone()
    }

    pub(super) fn take(&self) -> Vec<HttpRequest> {
        let mut entries = self.entries();
        let requests = mem::take(&mut entries.requests);
        entries.taken += requests.len();
        requests
    }

    /// Adds a request, and returns its number.
    pub(super) fn add(&self, request: HttpRequest) -> usize {
        let mut entries = self.entries();
        entries.requests.push(request);
        entries.taken + entries.requests.len() - 1
    }

    pub(super) fn answered(&self, number: usize, status: u16) {
        self.update(number, |request| request.status = Some(status));
    }

    pub(super) fn server_answered(&self, number: usize, status: u16) {
        self.update(number, |request| request.server_status = Some(status));
    }

    fn update(&self, number: usize, update: impl FnOnce(&mut HttpRequest)) {
        let mut entries = self.entries();
        let index = number.checked_sub(entries.taken);
        if let Some(request) = index.and_then(|index| entries.requests.get_mut(index)) {
            update(request);
        }
    }
}
