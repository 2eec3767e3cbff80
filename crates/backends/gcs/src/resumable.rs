//! Resumable uploads. The server keeps their chunks until the last one has come. See "Resumable uploads" and "Perform
//! resumable uploads" in the documentation of Cloud Storage.
//!
//! Google's own client could write too. Version 1.21.0 of `google-cloud-storage`, tried on 2026-11-30 against the testkit's
//! server, publishes wrong objects:
//!
//! - If sending a chunk fails with an I/O error, `buffered_resumable_attempt` returns before `handle_error`. The next
//!   attempt does not ask how much the server has. It replaces the buffer, so the object lacks a chunk.
//! - If the server keeps a part of a chunk, `handle_partial` splits a piece with `split_off(n - s)` instead of
//!   `split_off(s)`.
//! - A resumed upload carries no checksum, so the server publishes the object before the client compares checksums.
//!
//! It also reports a published object as failed if it cannot read the answer, and it has no timeout for a silent
//! connection.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use larder_backend::{Error, ErrorKind, ObjectMeta, Operation, Result};
use larder_backend_http::retry::AttemptFailure;
use serde_json::json;

use crate::checksum::encoded;
use crate::chunk::{Chunk, Occupied};
use crate::http::HttpAnswer;
use crate::write::{OBJECT_TYPE, PublishedObject, WriteTarget};

/// A resumable upload.
#[derive(Clone, Debug)]
pub(crate) struct ResumableSession {
    target: WriteTarget,
    url: String,
    /// How many bytes the server has.
    persisted: u64,
}

/// The state of an upload after a chunk was sent.
enum AfterChunk {
    /// The server has the chunk, and waits for more.
    Open,
    Published(PublishedObject),
}

impl ResumableSession {
    /// Begins a resumable upload.
    pub(crate) async fn begin(target: WriteTarget) -> Result<Self> {
        let context = Arc::clone(&target.context);
        let http = &context.connection().await?.http;
        let (location, object) = (target.location(), context.object(&target.key));
        let request_target = context.target(Operation::Put, &location);
        let url = context
            .retry_budget
            .retrying(|| async {
                let request = http
                    .client()
                    .post(target.url(&http.endpoint))
                    .query(&target.query("resumable", &object))
                    .header(CONTENT_TYPE, "application/json");
                let body = json!({ "contentType": OBJECT_TYPE }).to_string();
                let answer =
                    http.send(request, Chunk::from(Bytes::from(body)).read_from(0), request_target).await?;
                if answer.status != 200 {
                    return Err(request_target.answer(answer.status, &answer.headers, &answer.body));
                }
                let url = answer.headers.get(LOCATION).and_then(|url| url.to_str().ok());
                let url = url.filter(|url| is_below(url, &http.endpoint));
                url.map(str::to_owned).ok_or_else(|| {
                    let error = request_target.error(ErrorKind::Unsupported);
                    error
                        .with_source("the server gave no URL for the upload, or the URL of another server")
                        .into()
                })
            })
            .await?;
        Ok(Self { target, url, persisted: 0 })
    }

    /// Sends a chunk, a multiple of 256 KiB, that is not the last. Gives back its room as its bytes are sent.
    pub(crate) async fn send(&mut self, chunk: Chunk, occupied: &Occupied) -> Result<()> {
        match self.send_at(chunk, Some(occupied), None, Operation::Put).await? {
            AfterChunk::Open => Ok(()),
            AfterChunk::Published(_) => {
                let error = Error::new(ErrorKind::Unsupported, Operation::Put, self.target.location());
                Err(error.with_source("the server ended the upload too early"))
            }
        }
    }

    /// Sends the last chunk, which must not be empty, and so publishes the object.
    pub(crate) async fn finish(mut self, chunk: Chunk, crc32c: u32) -> Result<ObjectMeta, (Error, Self)> {
        let size = self.persisted + chunk.len() as u64;
        let crc32c = encoded(crc32c);
        match self.send_at(chunk, None, Some((size, &crc32c)), Operation::Commit).await {
            Ok(AfterChunk::Published(written)) => {
                self.target.check(written, &crc32c, size).await.map_err(|error| (error, self))
            }
            Ok(AfterChunk::Open) => {
                let error = Error::new(ErrorKind::Unsupported, Operation::Commit, self.target.location());
                Err((error.with_source("the server waits for more bytes than the object has"), self))
            }
            Err(error) => Err((error, self)),
        }
    }

    /// Sends a chunk until the server has all of it. `end` is the size and the checksum of the whole object, if the chunk
    /// is the last.
    async fn send_at(
        &mut self,
        chunk: Chunk,
        occupied: Option<&Occupied>,
        end: Option<(u64, &str)>,
        operation: Operation,
    ) -> Result<AfterChunk> {
        let context = Arc::clone(&self.target.context);
        let http = &context.connection().await?.http;
        let location = self.target.location();
        let target = context.target(operation, &location);
        let start = self.persisted;
        let chunk_end = start + chunk.len() as u64;
        let total = end.map_or("*".to_owned(), |(size, _)| size.to_string());
        let mut attempts = context.retry_budget.attempts();
        let mut has_to_ask = false;
        loop {
            let mut request = http.client().put(&self.url);
            let body = if has_to_ask {
                request = request.header(CONTENT_RANGE, format!("bytes */{total}"));
                Chunk::default().read_from(0)
            } else {
                let skip = usize::try_from(self.persisted - start).unwrap_or(usize::MAX).min(chunk.len());
                let range = format!("bytes {}-{}/{total}", self.persisted, chunk_end - 1);
                request = request.header(CONTENT_RANGE, range);
                if let Some((_, crc32c)) = end {
                    request = request.header("x-goog-hash", format!("crc32c={crc32c}"));
                }
                chunk.clone().read_from(skip).giving_back(occupied.cloned())
            };
            let failure = match http.send(request, body, target).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    let written = match end {
                        Some((size, crc32c)) => self.target.read(&answer, crc32c, size).await?,
                        None => PublishedObject::read(&self.target, &answer)?,
                    };
                    return Ok(AfterChunk::Published(written));
                }
                Ok(answer) if answer.status == 308 => {
                    let persisted = persisted(&answer);
                    if persisted < start || persisted > chunk_end {
                        return Err(self.lost("the server lost a part of the upload"));
                    }
                    let has_moved = persisted > self.persisted;
                    self.persisted = persisted;
                    if persisted == chunk_end && end.is_none() {
                        return Ok(AfterChunk::Open);
                    }
                    if persisted == chunk_end {
                        // The server has all bytes, but does not know so. A question that names the size tells it.
                        let error = target.error(ErrorKind::Unavailable);
                        has_to_ask = true;
                        attempts.pause_after(error.with_source("the server did not end the upload")).await?;
                        continue;
                    }
                    let was_asked = has_to_ask;
                    has_to_ask = false;
                    if has_moved {
                        attempts.progressed();
                        continue;
                    }
                    if was_asked {
                        continue;
                    }
                    AttemptFailure::from(
                        target
                            .error(ErrorKind::Unavailable)
                            .with_source("the server did not take any byte of a chunk"),
                    )
                }
                Ok(answer) => target.answer(answer.status, &answer.headers, &answer.body),
                Err(failure) => failure,
            };
            if failure.error.is_already_exists()
                && attempts.is_uncertain()
                && let Some((size, crc32c)) = end
            {
                return Ok(AfterChunk::Published(self.target.ours(failure.error, crc32c, size).await?));
            }
            has_to_ask = true;
            attempts.pause_after(failure).await?;
        }
    }

    fn lost(&self, how: &'static str) -> Error {
        // Only the caller can send everything again.
        Error::new(ErrorKind::Conflict, Operation::Put, self.target.location()).with_source(how)
    }

    /// Aborts the upload. If that fails, the server deletes the upload after a week, and bills nobody for it.
    pub(crate) async fn abort(self) -> Result<()> {
        let context = &*self.target.context;
        let http = &context.connection().await?.http;
        let location = self.target.location();
        let target = context.target(Operation::Abort, &location);
        let budget = context.retry_budget.for_cleaning_up();
        budget
            .retrying(|| async {
                let answer =
                    http.send(http.client().delete(&self.url), Chunk::default().read_from(0), target).await?;
                match answer.status {
                    // Google answers 499 if an upload was canceled.
                    200..300 | 404 | 410 | 499 => Ok(()),
                    _ => Err(target.answer(answer.status, &answer.headers, &answer.body)),
                }
            })
            .await
    }
}

/// Reads how many bytes the server has from an answer such as `Range: bytes=0-42`.
fn persisted(answer: &HttpAnswer) -> u64 {
    let range = answer.headers.get(RANGE).and_then(|range| range.to_str().ok());
    let last =
        range.and_then(|range| range.strip_prefix("bytes=0-")).and_then(|last| last.parse::<u64>().ok());
    last.map_or(0, |last| last.saturating_add(1))
}

/// Whether a URL is on the server `endpoint`. Requests to it carry credentials.
fn is_below(url: &str, endpoint: &str) -> bool {
    url.strip_prefix(endpoint).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_stays_on_its_server() {
        assert!(is_below("https://storage.googleapis.com/upload/x?id=1", "https://storage.googleapis.com"));
        for other in
            ["https://storage.googleapis.com.evil/x", "https://evil/x", "http://storage.googleapis.com/x"]
        {
            assert!(!is_below(other, "https://storage.googleapis.com"), "{other}");
        }
    }

    #[test]
    fn the_number_of_persisted_bytes_is_read() {
        let answer = |range: Option<&'static str>| {
            let mut headers = http::HeaderMap::new();
            if let Some(range) = range {
                headers.insert(RANGE, http::HeaderValue::from_static(range));
            }
            persisted(&HttpAnswer { status: 308, headers, body: Bytes::new() })
        };
        assert_eq!(answer(None), 0);
        assert_eq!(answer(Some("bytes=0-262143")), 262_144);
        assert_eq!(answer(Some("bytes=0-18446744073709551615")), u64::MAX);
        assert_eq!(answer(Some("nonsense")), 0);
    }
}
