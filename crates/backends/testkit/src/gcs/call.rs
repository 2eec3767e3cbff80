//! The requests that came.

use std::fmt;
use std::io::Write;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderValue};

/// What a request is for, whichever protocol it comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GcsCall {
    /// An upload in one request, `uploadType=media` or `multipart`.
    InsertObject,
    /// The begin of a resumable upload.
    StartUpload,
    /// Bytes of a resumable upload.
    UploadChunk,
    /// How far a resumable upload is, or its end without more bytes: `Content-Range: bytes */…`.
    QueryUpload,
    /// The end of a resumable upload without an object.
    CancelUpload,
    /// The bytes of an object.
    ReadObject,
    /// What is said about an object.
    GetObject,
    /// A page of a listing.
    ListObjects,
    /// The removal of an object.
    DeleteObject,
    /// A new bucket.
    CreateBucket,
    /// What is said about a bucket.
    GetBucket,
    /// What the server does not imitate.
    Other,
}

/// A request as it came, and how it was answered. Its headers are all but `Authorization`, so that a failed assertion can
/// print it.
#[derive(Clone, Debug)]
pub struct GcsRequest {
    pub(super) call: GcsCall,
    pub(super) is_grpc: bool,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) bucket: String,
    pub(super) object: String,
    pub(super) headers: HeaderMap,
    pub(super) is_authorized: bool,
    pub(super) status: Option<u16>,
}

impl GcsRequest {
    /// With the headers that came, of which the secret is taken.
    pub(super) fn new(call: GcsCall, is_grpc: bool, method: &str, target: &str, headers: &HeaderMap) -> Self {
        let is_authorized = headers.contains_key(AUTHORIZATION);
        let others = headers.iter().filter(|(name, _)| **name != AUTHORIZATION);
        // As they came they are parts of the buffer that was read, which holds much of a body too.
        let copied = others.filter_map(|(name, value)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        });
        let headers = copied.collect();
        Self {
            call,
            is_grpc,
            method: method.to_owned(),
            target: target.to_owned(),
            bucket: String::new(),
            object: String::new(),
            headers,
            is_authorized,
            status: None,
        }
    }

    /// What it is for.
    pub fn call(&self) -> GcsCall {
        self.call
    }

    /// Whether it came over gRPC.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// The method of HTTP, also for gRPC.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path with the query, percent-encoded as it came.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The bucket's name; empty where it names none.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The object's name, decoded; empty where it names none.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// A header's first value, if it is text; names have no case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str)?.ok()
    }

    /// Whether it came with credentials, which are not looked at.
    pub fn is_authorized(&self) -> bool {
        self.is_authorized
    }

    /// The status that the client was answered: of HTTP, or the code of gRPC, of which 0 is a success. None as long as,
    /// or because, there was no answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether it brings the bytes of an object, which come to an end with it.
    pub(super) fn is_whole(&self) -> bool {
        let range = self.header(CONTENT_RANGE.as_str());
        match self.call {
            GcsCall::InsertObject => true,
            GcsCall::UploadChunk => range.is_none_or(|range| !range.ends_with("/*") || range.contains("-*/")),
            _ => false,
        }
    }
}

/// A line of a log.
impl fmt::Display for GcsRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.is_grpc { "grpc" } else { "http" };
        write!(f, "{protocol} {} {}", self.method, self.target)?;
        for name in ["content-range", "range", "x-goog-request-params"] {
            if let Some(value) = self.header(name) {
                write!(f, " [{name}: {value}]")?;
            }
        }
        if self.is_grpc && !self.object.is_empty() {
            write!(f, " {}", self.object)?;
        }
        match self.status {
            Some(status) => write!(f, " -> {status}"),
            None => write!(f, " -> no answer"),
        }
    }
}

#[derive(Default)]
pub(super) struct Log {
    entries: Mutex<Entries>,
    sink: Mutex<Option<Box<dyn Write + Send>>>,
}

#[derive(Default)]
struct Entries {
    /// How many came before those that are still here.
    taken: usize,
    requests: Vec<GcsRequest>,
}

impl Log {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<GcsRequest> {
        self.entries().requests.clone()
    }

    pub(super) fn take(&self) -> Vec<GcsRequest> {
        let mut entries = self.entries();
        let requests = mem::take(&mut entries.requests);
        entries.taken += requests.len();
        requests
    }

    pub(super) fn write_to(&self, sink: Box<dyn Write + Send>) {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }

    /// Notes a request, and returns what notes its end.
    pub(super) fn add(&self, request: GcsRequest) -> Entry<'_> {
        let mut entries = self.entries();
        entries.requests.push(request);
        Entry { log: self, number: entries.taken + entries.requests.len() - 1 }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("requests", &self.entries().requests.len()).finish_non_exhaustive()
    }
}

/// A request under way. Dropped, it has ended, with or without an answer.
pub(super) struct Entry<'a> {
    log: &'a Log,
    number: usize,
}

impl Entry<'_> {
    pub(super) fn answered(&self, status: u16) {
        self.with(|request| request.status = Some(status));
    }

    fn with(&self, look: impl FnOnce(&mut GcsRequest)) {
        let mut entries = self.log.entries();
        let index = self.number.checked_sub(entries.taken);
        if let Some(request) = index.and_then(|index| entries.requests.get_mut(index)) {
            look(request);
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut sink = self.log.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = &mut *sink {
            let mut line = String::new();
            self.with(|request| line = request.to_string());
            // Whoever reads it may be gone.
            let _ = writeln!(sink, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_request_keeps_its_headers_and_not_the_buffer_that_they_came_in() {
        let buffer = Bytes::from(b"bytes 0-9/10".to_vec());
        let value = HeaderValue::from_maybe_shared(buffer.clone()).unwrap();
        let secret = HeaderValue::from_static("secret");
        let headers = HeaderMap::from_iter([(CONTENT_RANGE, value), (AUTHORIZATION, secret)]);
        let request = GcsRequest::new(GcsCall::UploadChunk, false, "PUT", "/", &headers);
        drop(headers);
        assert!(buffer.is_unique(), "it is still held");
        assert_eq!(request.header("content-range"), Some("bytes 0-9/10"));
        assert!(request.is_authorized() && request.header("authorization").is_none());
    }
}
