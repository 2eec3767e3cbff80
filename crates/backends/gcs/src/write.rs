//! Writing an object in one request, and checking what the server has published.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use larder_backend::{DeleteOptions, Error, ErrorKind, Key, ObjectMeta, Operation, PutMode, Result};
use serde_json::Value;

use crate::checksum::encoded;
use crate::chunk::Chunk;
use crate::context::GcsContext;
use crate::delete;
use crate::get::{self, Described};
use crate::http::HttpAnswer;

/// The media type of objects.
pub(crate) const OBJECT_TYPE: &str = "application/octet-stream";

/// The key of a new object, and whether it may replace another.
#[derive(Clone, Debug)]
pub(crate) struct WriteTarget {
    pub(crate) context: Arc<GcsContext>,
    pub(crate) key: Key,
    pub(crate) mode: PutMode,
}

/// An object that the server has published.
#[derive(Debug)]
pub(crate) struct PublishedObject {
    meta: ObjectMeta,
    crc32c: Option<String>,
}

impl WriteTarget {
    pub(crate) fn location(&self) -> String {
        self.context.location(&self.key)
    }

    /// The query of a request that creates an object.
    pub(crate) fn query<'a>(&self, kind: &'a str, name: &'a str) -> Vec<(&'static str, &'a str)> {
        let mut query = vec![("uploadType", kind), ("name", name)];
        if self.mode == PutMode::CreateOnly {
            // Generation 0 means that no object exists.
            query.push(("ifGenerationMatch", "0"));
        }
        query
    }

    pub(crate) fn url(&self, endpoint: &str) -> String {
        format!("{endpoint}/upload/storage/v1/b/{}/o", self.context.config.bucket)
    }

    /// Writes an object in one request.
    pub(crate) async fn at_once(&self, chunk: Chunk) -> Result<ObjectMeta> {
        let context = &*self.context;
        let http = &context.connection().await?.http;
        let (location, object) = (self.location(), context.object(&self.key));
        let target = context.target(Operation::Commit, &location);
        let crc32c = encoded(chunk.crc32c());
        let mut attempts = context.retry_budget.attempts();
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

    /// Reads the description of a published object from an answer, or asks for it if the answer cannot be read.
    pub(crate) async fn read(&self, answer: &HttpAnswer, crc32c: &str, size: u64) -> Result<PublishedObject> {
        match PublishedObject::read(self, answer) {
            Ok(written) => Ok(written),
            Err(error) => self.ours(error, crc32c, size).await,
        }
    }

    /// Looks for the object that an attempt has published without a readable answer. Size and checksum tell whether it is
    /// that object. Otherwise `error` is returned.
    pub(crate) async fn ours(&self, error: Error, crc32c: &str, size: u64) -> Result<PublishedObject> {
        match get::describe(&self.context, &self.key, Operation::Commit).await {
            Ok(Described { meta, crc32c: found })
                if meta.size == size && found.as_deref() == Some(crc32c) =>
            {
                Ok(PublishedObject { meta, crc32c: found })
            }
            _ => Err(error),
        }
    }

    /// Compares the object with the bytes that were sent. The server does so too, if it knows the checksum header.
    pub(crate) async fn check(
        &self,
        written: PublishedObject,
        crc32c: &str,
        size: u64,
    ) -> Result<ObjectMeta> {
        let is_right =
            written.meta.size == size && written.crc32c.as_deref().is_none_or(|theirs| theirs == crc32c);
        if is_right {
            return Ok(written.meta);
        }
        // Nobody may find the damaged object.
        if let Some(version) = written.meta.version {
            let options = DeleteOptions::default().with_version(version);
            delete::delete(&self.context, &self.key, &options).await.ok();
        }
        let error = Error::new(ErrorKind::Integrity, Operation::Commit, self.location());
        Err(error
            .with_source("the server stored other bytes than larder sent, and the object was deleted again"))
    }
}

impl PublishedObject {
    /// Reads the description of an object: "Object resource" in the reference of the JSON API.
    pub(crate) fn read(target: &WriteTarget, answer: &HttpAnswer) -> Result<Self> {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| json[name].as_str().unwrap_or_default();
        let (size, generation) = (text("size").parse().ok(), text("generation").parse().ok());
        let created = text("timeCreated").parse::<jiff::Timestamp>().ok();
        let (Some(size), Some(generation), Some(created)) = (size, generation, created) else {
            let error = Error::new(ErrorKind::Unsupported, Operation::Commit, target.location());
            return Err(
                error.with_source("the server published an object, but its description of it cannot be read")
            );
        };
        let crc32c = json["crc32c"].as_str().map(str::to_owned);
        let meta = get::meta(&target.key, size, created.into(), generation);
        Ok(Self { meta, crc32c })
    }
}
