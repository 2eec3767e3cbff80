//! Looking at objects and reading them.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_storage::model::Object;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;
use larder_backend::{Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result, Version};
use larder_backend_http::read_ahead::{Body, RangeSource, ReadAhead};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};

use crate::checksum::encoded;
use crate::context::GcsContext;

/// How much one request reads, in bytes. One request reads an object up to this size. Several requests read a larger one at
/// the same time.
const CHUNK: u64 = 8 * 1024 * 1024;

/// How many requests read ahead at once. Together they cover the bandwidth times delay of 1 Gbit/s and 400 ms. A download
/// keeps only their unread bytes in memory.
const CHUNKS_AHEAD: usize = 6;

const READ_AHEAD: ReadAhead = ReadAhead::new(CHUNK, CHUNKS_AHEAD);

/// The largest start of a range, in bytes. No object is as large, and Google's client adds to this number.
const LARGEST: u64 = 1 << 60;

/// An object, and its checksum as the JSON API writes it.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) meta: ObjectMeta,
    pub(crate) crc32c: Option<String>,
}

/// Describes an object. Its version is its generation, which is unique.
pub(crate) fn meta(key: &Key, size: u64, created: SystemTime, generation: i64) -> ObjectMeta {
    ObjectMeta::new(key.clone(), size, created).with_version(Version::new(generation.to_string()))
}

/// Reads the description of an object that the control client returns.
pub(crate) fn meta_of(key: &Key, object: &Object) -> ObjectMeta {
    let created = object.create_time.and_then(|time| {
        let seconds = u64::try_from(time.seconds()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(time.nanos()).ok()?))
    });
    let created = created.unwrap_or(SystemTime::UNIX_EPOCH);
    meta(key, u64::try_from(object.size).unwrap_or_default(), created, object.generation)
}

/// Looks at one object.
pub(crate) async fn stat(context: &GcsContext, key: &Key) -> Result<ObjectMeta> {
    describe(context, key, Operation::Stat).await.map(|described| described.meta)
}

/// Looks at one object, as a part of `operation`.
pub(crate) async fn describe(context: &GcsContext, key: &Key, operation: Operation) -> Result<Described> {
    let connection = context.connection().await?;
    let location = context.location(key);
    let target = context.target(operation, &location);
    context
        .retry_budget
        .retrying(|| async {
            let request = connection
                .control
                .get_object()
                .set_bucket(context.bucket())
                .set_object(context.object(key))
                .with_attempt_timeout(context.retry_budget.attempt_timeout());
            let object = context.watched(target, request.send()).await?;
            let crc32c = object.checksums.as_ref().and_then(|checksums| checksums.crc32c).map(encoded);
            Ok::<_, AttemptFailure>(Described { meta: meta_of(key, &object), crc32c })
        })
        .await
}

/// Parses a version. This backend's versions are generations.
pub(crate) fn generation(
    version: &Version,
    context: &GcsContext,
    key: &Key,
    operation: Operation,
) -> Result<i64> {
    let generation = version.as_str().parse();
    // No object here has any other version.
    generation.map_err(|_| Error::new(ErrorKind::Conflict, operation, context.location(key)))
}

/// Reads an object, or a range of it.
pub(crate) async fn get(context: Arc<GcsContext>, key: Key, options: GetOptions) -> Result<GetResult> {
    let wanted = options.range.unwrap_or(0..u64::MAX);
    let generation = match &options.if_version {
        Some(version) => Some(self::generation(version, &context, &key, Operation::Get)?),
        None => None,
    };
    if wanted.is_empty() {
        return empty(&context, &key, wanted.start, false, generation).await;
    }
    let first = wanted.start..wanted.end.min(wanted.start.saturating_add(CHUNK));
    let mut attempts = context.retry_budget.attempts();
    let (response, size) = loop {
        let failure = match open(&context, &key, first.clone(), generation).await {
            Ok(response) => {
                let size = u64::try_from(response.object().size).unwrap_or_default();
                break (response, size);
            }
            // The object ends before the range.
            Err(OpenFailure::Empty) => return empty(&context, &key, wanted.start, true, generation).await,
            Err(OpenFailure::Failed(failure)) => failure,
        };
        attempts.pause_after(failure).await?;
    };
    let generation = response.object().generation;
    let meta = meta(&key, size, time_of(generation), generation);
    let end = wanted.end.min(size).max(wanted.start);
    let first = first.start..first.end.min(end);
    let rest = first.end..end;
    let reader = Arc::new(GcsRangeSource { context, key, generation });
    let body = reader.body(response);
    Ok(GetResult::new(meta, READ_AHEAD.read(reader, first, body, rest)))
}

/// Takes a generation as the time of its creation in microseconds. "Object versioning" in Google's documentation shows
/// such numbers, but does not promise them. This saves a request, and nothing depends on the time. Listings and `stat`
/// return the documented time.
fn time_of(generation: i64) -> SystemTime {
    let micros = u64::try_from(generation).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn conflict(context: &GcsContext, key: &Key) -> Error {
    Error::new(ErrorKind::Conflict, Operation::Get, context.location(key))
}

/// Answers a request for an empty range.
async fn empty(
    context: &GcsContext,
    key: &Key,
    start: u64,
    server_said_empty: bool,
    generation: Option<i64>,
) -> Result<GetResult> {
    let meta = describe(context, key, Operation::Get).await?.meta;
    let wanted = generation.map(|generation| Version::new(generation.to_string()));
    let is_another = wanted.is_some() && meta.version != wanted;
    // The server has said that the object ends before the range, so it was replaced since by a larger one.
    let has_grown = server_said_empty && meta.size > start;
    if is_another || has_grown {
        return Err(conflict(context, key));
    }
    Ok(GetResult::new(meta, stream::empty().boxed()))
}

/// Why a range could not be opened.
enum OpenFailure {
    /// The object ends before the range.
    Empty,
    Failed(AttemptFailure),
}

/// Opens a range with one request.
async fn open(
    context: &GcsContext,
    key: &Key,
    range: Range<u64>,
    generation: Option<i64>,
) -> Result<ReadObjectResponse, OpenFailure> {
    if range.start > LARGEST {
        return Err(OpenFailure::Empty);
    }
    let connection = context.connection().await.map_err(|error| OpenFailure::Failed(error.into()))?;
    let location = context.location(key);
    let target = context.target(Operation::Get, &location);
    let request = connection
        .storage
        .read_object(context.bucket(), context.object(key))
        .set_read_range(ReadRange::segment(range.start, range.end - range.start))
        .set_generation(generation.unwrap_or_default());
    match tokio::time::timeout(context.retry_budget.attempt_timeout(), request.send()).await {
        Ok(Ok(response)) => {
            context.retry_budget.activity.answered();
            Ok(response)
        }
        Ok(Err(error)) if error.http_status_code() == Some(416) => Err(OpenFailure::Empty),
        Ok(Err(error)) => {
            let mut failure = target.failure(&error);
            if generation.is_some() && failure.error.is_not_found() {
                // The generation was deleted or replaced.
                failure = conflict(context, key).into();
            }
            Err(OpenFailure::Failed(failure))
        }
        Err(_) => Err(OpenFailure::Failed(target.stalled(context.retry_budget.attempt_timeout()))),
    }
}

/// One generation of an object, which several requests read.
struct GcsRangeSource {
    context: Arc<GcsContext>,
    key: Key,
    generation: i64,
}

#[async_trait]
impl RangeSource for GcsRangeSource {
    async fn open(&self, range: Range<u64>) -> Result<Body, AttemptFailure> {
        match open(&self.context, &self.key, range, Some(self.generation)).await {
            Ok(response) => Ok(self.body(response)),
            Err(OpenFailure::Empty) => Err(conflict(&self.context, &self.key).into()),
            Err(OpenFailure::Failed(failure)) => Err(failure),
        }
    }

    fn location(&self) -> String {
        self.context.location(&self.key)
    }

    fn retry_budget(&self) -> &RetryBudget {
        &self.context.retry_budget
    }
}

impl GcsRangeSource {
    /// The bytes of an answer. The stream fails if the next bytes do not come in time.
    fn body(&self, response: ReadObjectResponse) -> Body {
        let (context, location) = (Arc::clone(&self.context), self.location());
        stream::unfold(Some(response), move |response| {
            let (context, location) = (Arc::clone(&context), location.clone());
            async move {
                let mut response = response?;
                let timeout = context.retry_budget.attempt_timeout();
                let target = context.target(Operation::Get, &location);
                let failure = match tokio::time::timeout(timeout, response.next()).await {
                    Ok(Some(Ok(bytes))) => {
                        context.retry_budget.activity.moved();
                        return Some((Ok(bytes), Some(response)));
                    }
                    Ok(None) => return None,
                    Ok(Some(Err(error))) => target.failure(&error),
                    Err(_) => target.stalled(timeout),
                };
                Some((Err(failure), None))
            }
        })
        .boxed()
    }
}
