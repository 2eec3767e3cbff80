//! Writing one object: in one request, or in the chunks of a resumable upload, which the server keeps until the last one
//! has come. See "Resumable uploads" and "Perform resumable uploads" in the documentation of Cloud Storage.
//!
//! Google's own client could write too. Version 1.21.0 of `google-cloud-storage`, tried on 2026-11-30 against the testkit's
//! server, publishes wrong objects:
//!
//! - If sending a chunk fails with an I/O error, `buffered_resumable_attempt` returns before `handle_error`. The next attempt does
//!   not ask how much the server has. It replaces the buffer, so the object lacks a chunk.
//! - If the server keeps a part of a chunk, `handle_partial` splits a piece with `split_off(n - s)` instead of `split_off(s)`.
//! - A resumed upload carries no checksum, so the server publishes the object before the client compares checksums.
//!
//! It also reports a published object as failed if it cannot read the answer, and it has no timeout for a silent connection.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use larder_backend::{DeleteOptions, Error, ErrorKind, Key, ObjectMeta, Operation, PutMode, Result};
use larder_backend_http::retry::AttemptFailure as Failure;
use serde_json::{Value, json};

use crate::backend::Remote;
use crate::chunk::{Chunk, Occupied};
use crate::get::{self, Described};
use crate::http::Answer;

/// What objects are.
const OBJECT_TYPE: &str = "application/octet-stream";

/// Where an object is written to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    pub(crate) remote: Arc<Remote>,
    pub(crate) key: Key,
    pub(crate) mode: PutMode,
}

/// An object that was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) meta: ObjectMeta,
    crc32c: Option<String>,
}

/// A resumable upload.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    writing: Writing,
    url: String,
    /// How many bytes the server has.
    persisted: u64,
}

impl Writing {
    pub(crate) fn location(&self) -> String {
        self.remote.location(&self.key)
    }

    /// The parameters of what creates an object.
    fn query<'a>(&self, kind: &'a str, name: &'a str) -> Vec<(&'static str, &'a str)> {
        let mut query = vec![("uploadType", kind), ("name", name)];
        if self.mode == PutMode::CreateOnly {
            // There is no generation, so nothing exists.
            query.push(("ifGenerationMatch", "0"));
        }
        query
    }

    fn url(&self, endpoint: &str) -> String {
        format!("{endpoint}/upload/storage/v1/b/{}/o", self.remote.config.bucket)
    }

    /// Writes an object in one request.
    pub(crate) async fn at_once(&self, chunk: Chunk) -> Result<ObjectMeta> {
        let remote = &*self.remote;
        let http = &remote.connection().await?.http;
        let (location, object) = (self.location(), remote.object(&self.key));
        let target = remote.target(Operation::Commit, &location);
        let crc32c = encoded(chunk.crc32c());
        let mut attempts = remote.patience.attempts();
        loop {
            let request = http
                .client()
                .post(self.url(&http.endpoint))
                .query(&self.query("media", &object))
                .header(CONTENT_TYPE, OBJECT_TYPE)
                .header("x-goog-hash", format!("crc32c={crc32c}"));
            let failure = match http.send(request, chunk.clone().read_from(0), target).await {
                Ok(answer) if answer.status == 200 => {
                    let written = self.read(&answer, &crc32c, chunk.len() as u64).await?;
                    return self.check(written, &crc32c, chunk.len() as u64).await;
                }
                Ok(answer) => target.answer(answer.status, &answer.headers, &answer.body),
                Err(failure) => failure,
            };
            if failure.error.is_already_exists() && attempts.is_uncertain() {
                return self.ours(failure.error, &crc32c, chunk.len() as u64).await.map(|ours| ours.meta);
            }
            attempts.pause_after(failure).await?;
        }
    }

    /// Begins a resumable upload.
    pub(crate) async fn begin(self) -> Result<Session> {
        let remote = Arc::clone(&self.remote);
        let http = &remote.connection().await?.http;
        let (location, object) = (self.location(), remote.object(&self.key));
        let target = remote.target(Operation::Put, &location);
        let url = remote
            .patience
            .retrying(|| async {
                let request = http
                    .client()
                    .post(self.url(&http.endpoint))
                    .query(&self.query("resumable", &object))
                    .header(CONTENT_TYPE, "application/json");
                let body = json!({ "contentType": OBJECT_TYPE }).to_string();
                let answer = http.send(request, Chunk::from(Bytes::from(body)).read_from(0), target).await?;
                if answer.status != 200 {
                    return Err(target.answer(answer.status, &answer.headers, &answer.body));
                }
                let url = answer.headers.get(LOCATION).and_then(|url| url.to_str().ok());
                let url = url.filter(|url| is_below(url, &http.endpoint));
                url.map(str::to_owned).ok_or_else(|| {
                    let error = target.error(ErrorKind::Unsupported);
                    error
                        .with_source("the server does not say where the upload goes, or leads it elsewhere")
                        .into()
                })
            })
            .await?;
        Ok(Session { writing: self, url, persisted: 0 })
    }

    /// Reads the description of a published object from an answer, or asks for it if the answer cannot be read.
    async fn read(&self, answer: &Answer, crc32c: &str, size: u64) -> Result<Written> {
        match Written::read(self, answer) {
            Ok(written) => Ok(written),
            Err(error) => self.ours(error, crc32c, size).await,
        }
    }

    /// Looks for the object that an attempt has published without a readable answer. Size and checksum tell whether it is
    /// that object. Otherwise `error` is returned.
    async fn ours(&self, error: Error, crc32c: &str, size: u64) -> Result<Written> {
        match get::describe(&self.remote, &self.key, Operation::Commit).await {
            Ok(Described { meta, crc32c: found })
                if meta.size == size && found.as_deref() == Some(crc32c) =>
            {
                Ok(Written { meta, crc32c: found })
            }
            _ => Err(error),
        }
    }

    /// Makes sure that the object is what was sent. The server checks that too, where it knows the header.
    async fn check(&self, written: Written, crc32c: &str, size: u64) -> Result<ObjectMeta> {
        let is_right =
            written.meta.size == size && written.crc32c.as_deref().is_none_or(|theirs| theirs == crc32c);
        if is_right {
            return Ok(written.meta);
        }
        // Nobody should find it.
        if let Some(version) = written.meta.version {
            let options = DeleteOptions::default().with_version(version);
            get::delete(&self.remote, &self.key, &options).await.ok();
        }
        let error = Error::new(ErrorKind::Integrity, Operation::Commit, self.location());
        Err(error.with_source("the server has other bytes than were sent: they were removed again"))
    }
}

impl Written {
    /// Reads the description of an object: "Object resource" in the reference of the JSON API.
    fn read(writing: &Writing, answer: &Answer) -> Result<Self> {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| json[name].as_str().unwrap_or_default();
        let (size, generation) = (text("size").parse().ok(), text("generation").parse().ok());
        let created = text("timeCreated").parse::<jiff::Timestamp>().ok();
        let (Some(size), Some(generation), Some(created)) = (size, generation, created) else {
            let error = Error::new(ErrorKind::Unsupported, Operation::Commit, writing.location());
            return Err(
                error.with_source("the server published an object, but its description of it cannot be read")
            );
        };
        let crc32c = json["crc32c"].as_str().map(str::to_owned);
        let meta = get::meta(&writing.key, size, created.into(), generation);
        Ok(Self { meta, crc32c })
    }
}

/// How a chunk fared.
enum Sent {
    /// The server has it, and waits for more.
    More,
    /// The object is there.
    All(Written),
}

impl Session {
    /// Sends a chunk that others follow: a multiple of 256 KiB. Gives the room back that it occupies as it is sent.
    pub(crate) async fn send(&mut self, chunk: Chunk, occupied: &Occupied) -> Result<()> {
        match self.send_at(chunk, Some(occupied), None, Operation::Put).await? {
            Sent::More => Ok(()),
            Sent::All(_) => {
                let error = Error::new(ErrorKind::Unsupported, Operation::Put, self.writing.location());
                Err(error.with_source("the server has ended the upload before its end"))
            }
        }
    }

    /// Sends the last chunk, which is not empty, and so publishes the object.
    pub(crate) async fn finish(mut self, chunk: Chunk, crc32c: u32) -> Result<ObjectMeta, (Error, Self)> {
        let size = self.persisted + chunk.len() as u64;
        let crc32c = encoded(crc32c);
        match self.send_at(chunk, None, Some((size, &crc32c)), Operation::Commit).await {
            Ok(Sent::All(written)) => {
                self.writing.check(written, &crc32c, size).await.map_err(|error| (error, self))
            }
            Ok(Sent::More) => {
                let error = Error::new(ErrorKind::Unsupported, Operation::Commit, self.writing.location());
                Err((error.with_source("the server waits for more than there is"), self))
            }
            Err(error) => Err((error, self)),
        }
    }

    /// Sends what the server has not got, until it has all of the chunk. `end` is the size and the checksum of the whole
    /// object, where it ends here.
    async fn send_at(
        &mut self,
        chunk: Chunk,
        occupied: Option<&Occupied>,
        end: Option<(u64, &str)>,
        operation: Operation,
    ) -> Result<Sent> {
        let remote = Arc::clone(&self.writing.remote);
        let http = &remote.connection().await?.http;
        let location = self.writing.location();
        let target = remote.target(operation, &location);
        let start = self.persisted;
        let chunk_end = start + chunk.len() as u64;
        let total = end.map_or("*".to_owned(), |(size, _)| size.to_string());
        let mut attempts = remote.patience.attempts();
        let mut is_in_doubt = false;
        loop {
            let mut request = http.client().put(&self.url);
            let body = if is_in_doubt {
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
                        Some((size, crc32c)) => self.writing.read(&answer, crc32c, size).await?,
                        None => Written::read(&self.writing, &answer)?,
                    };
                    return Ok(Sent::All(written));
                }
                Ok(answer) if answer.status == 308 => {
                    let persisted = persisted(&answer);
                    if persisted < start || persisted > chunk_end {
                        return Err(self.lost("the server has lost a part of the upload"));
                    }
                    let has_moved = persisted > self.persisted;
                    self.persisted = persisted;
                    if persisted == chunk_end && end.is_none() {
                        return Ok(Sent::More);
                    }
                    if persisted == chunk_end {
                        // It has everything, and nobody has said that this is all: asking with the size says it.
                        let error = target.error(ErrorKind::Unavailable);
                        is_in_doubt = true;
                        attempts
                            .pause_after(error.with_source("the server has not ended the upload"))
                            .await?;
                        continue;
                    }
                    let was_asked = is_in_doubt;
                    is_in_doubt = false;
                    if has_moved {
                        attempts.progressed();
                        continue;
                    }
                    if was_asked {
                        continue;
                    }
                    Failure::from(
                        target
                            .error(ErrorKind::Unavailable)
                            .with_source("the server took nothing of a chunk"),
                    )
                }
                Ok(answer) => target.answer(answer.status, &answer.headers, &answer.body),
                Err(failure) => failure,
            };
            if failure.error.is_already_exists()
                && attempts.is_uncertain()
                && let Some((size, crc32c)) = end
            {
                return Ok(Sent::All(self.writing.ours(failure.error, crc32c, size).await?));
            }
            is_in_doubt = true;
            attempts.pause_after(failure).await?;
        }
    }

    fn lost(&self, how: &'static str) -> Error {
        // All of it has to be sent again, and only the caller can.
        Error::new(ErrorKind::Conflict, Operation::Put, self.writing.location()).with_source(how)
    }

    /// Gives the upload up. What stays the server forgets after a week, and nobody is billed for it.
    pub(crate) async fn abort(self) -> Result<()> {
        let remote = &*self.writing.remote;
        let http = &remote.connection().await?.http;
        let location = self.writing.location();
        let target = remote.target(Operation::Abort, &location);
        let patience = remote.patience.for_cleaning_up();
        patience
            .retrying(|| async {
                let answer =
                    http.send(http.client().delete(&self.url), Chunk::default().read_from(0), target).await?;
                match answer.status {
                    // 499 is what Google says of an upload that was cancelled.
                    200..300 | 404 | 410 | 499 => Ok(()),
                    _ => Err(target.answer(answer.status, &answer.headers, &answer.body)),
                }
            })
            .await
    }
}

/// How many bytes the server has, as an answer that waits for more says it: `Range: bytes=0-42`.
fn persisted(answer: &Answer) -> u64 {
    let range = answer.headers.get(RANGE).and_then(|range| range.to_str().ok());
    let last =
        range.and_then(|range| range.strip_prefix("bytes=0-")).and_then(|last| last.parse::<u64>().ok());
    last.map_or(0, |last| last.saturating_add(1))
}

/// A checksum as the interface writes it.
pub(crate) fn encoded(crc32c: u32) -> String {
    BASE64_STANDARD.encode(crc32c.to_be_bytes())
}

/// Whether a URL is at the server: the credentials go there.
fn is_below(url: &str, endpoint: &str) -> bool {
    url.strip_prefix(endpoint).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_to_the_server_that_was_asked() {
        assert!(is_below("https://storage.googleapis.com/upload/x?id=1", "https://storage.googleapis.com"));
        for other in
            ["https://storage.googleapis.com.evil/x", "https://evil/x", "http://storage.googleapis.com/x"]
        {
            assert!(!is_below(other, "https://storage.googleapis.com"), "{other}");
        }
    }

    #[test]
    fn what_the_server_has_is_read() {
        let answer = |range: Option<&'static str>| {
            let mut headers = http::HeaderMap::new();
            if let Some(range) = range {
                headers.insert(RANGE, http::HeaderValue::from_static(range));
            }
            persisted(&Answer { status: 308, headers, body: Bytes::new() })
        };
        assert_eq!(answer(None), 0);
        assert_eq!(answer(Some("bytes=0-262143")), 262_144);
        assert_eq!(answer(Some("bytes=0-18446744073709551615")), u64::MAX);
        assert_eq!(answer(Some("nonsense")), 0);
    }
}
