//! The log of requests.

use std::fmt;
use std::io::Write;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{AUTHORIZATION, CONTENT_RANGE, HeaderMap, HeaderValue};

/// The purpose of a request, for both protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GcsCall {
    /// An upload in one request, `uploadType=media` or `multipart`.
    InsertObject,
    /// The start of a resumable upload.
    StartUpload,
    /// Bytes of a resumable upload.
    UploadChunk,
    /// A query for the progress of a resumable upload, or its end without more bytes: `Content-Range: bytes */…`.
    QueryUpload,
    /// The cancellation of a resumable upload.
    CancelUpload,
    /// The bytes of an object.
    ReadObject,
    /// The metadata of an object.
    GetObject,
    /// A page of a listing.
    ListObjects,
    /// The deletion of an object.
    DeleteObject,
    /// A new bucket.
    CreateBucket,
    /// The metadata of a bucket.
    GetBucket,
    /// The question which permissions the caller has on a bucket.
    TestPermissions,
    /// A request that the server does not support.
    Other,
}

/// A request and the status of its answer. It has all headers but `Authorization`, so that a failed assertion can print it.
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
    /// Copies all headers except the secret one.
    pub(super) fn new(call: GcsCall, is_grpc: bool, method: &str, target: &str, headers: &HeaderMap) -> Self {
        let is_authorized = headers.contains_key(AUTHORIZATION);
        let others = headers.iter().filter(|(name, _)| **name != AUTHORIZATION);
        // Copy the values: they are slices of the read buffer, which also holds a part of the body.
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

    /// Returns the purpose of the request.
    pub fn call(&self) -> GcsCall {
        self.call
    }

    /// Whether the request came over gRPC.
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// Returns the HTTP method, also for gRPC.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the path with the query, percent-encoded as in the request.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the name of the bucket, or an empty string.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the decoded name of the object, or an empty string.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Returns the first value of a header, if it is text. Names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str)?.ok()
    }

    /// Whether the request has credentials. The server does not check them.
    pub fn is_authorized(&self) -> bool {
        self.is_authorized
    }

    /// Returns the status that the client got: an HTTP status, or a gRPC code, where 0 means success. `None` means that
    /// there is no answer, or not yet.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the request completes the bytes of an object.
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
pub(super) struct CallLog {
    entries: Mutex<CallEntries>,
    sink: Mutex<Option<Box<dyn Write + Send>>>,
}

#[derive(Default)]
struct CallEntries {
    /// The number of requests that were taken from the log.
    taken: usize,
    requests: Vec<GcsRequest>,
}

impl CallLog {
    fn entries(&self) -> MutexGuard<'_, CallEntries> {
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

    /// Adds a request, and returns a guard that logs its end.
    pub(super) fn add(&self, request: GcsRequest) -> CallEntry<'_> {
        let mut entries = self.entries();
        entries.requests.push(request);
        CallEntry { log: self, number: entries.taken + entries.requests.len() - 1 }
    }
}

impl fmt::Debug for CallLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallLog").field("requests", &self.entries().requests.len()).finish_non_exhaustive()
    }
}

/// A request in progress. It ends when this guard is dropped, with or without an answer.
pub(super) struct CallEntry<'a> {
    log: &'a CallLog,
    number: usize,
}

impl CallEntry<'_> {
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

impl Drop for CallEntry<'_> {
    fn drop(&mut self) {
        let mut sink = self.log.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = &mut *sink {
            let mut line = String::new();
            self.with(|request| line = request.to_string());
            // The reader of the log may be gone.
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
        assert!(buffer.is_unique(), "the request still holds the buffer");
        assert_eq!(request.header("content-range"), Some("bytes 0-9/10"));
        assert!(request.is_authorized() && request.header("authorization").is_none());
    }
}
