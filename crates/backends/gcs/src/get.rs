//! Looking at objects, reading them and deleting them.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_storage::model::Object;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;
use larder_backend::{
    DeleteOptions, Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result, Version,
};
use larder_backend_http::read_ahead::{Body, RangeSource, ReadAhead};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};

use crate::backend::Remote;
use crate::write::encoded;

/// How much one request reads, in bytes. An object up to this size takes one request; a larger one is read by several at
/// once.
const CHUNK: u64 = 8 * 1024 * 1024;

/// How many requests read ahead at once. Together they cover the bandwidth times delay of 1 Gbit/s and 400 ms; what
/// they have read and nobody has taken yet is all that a download keeps in memory.
const CHUNKS_AHEAD: usize = 6;

const READ_AHEAD: ReadAhead = ReadAhead::new(CHUNK, CHUNKS_AHEAD);

/// No object is as large, and Google's client computes with the next numbers.
const LARGEST: u64 = 1 << 60;

/// An object, and its checksum as the interface writes it.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) meta: ObjectMeta,
    pub(crate) crc32c: Option<String>,
}

/// Describes an object. Its version is its generation, which no other object ever has.
pub(crate) fn meta(key: &Key, size: u64, created: SystemTime, generation: i64) -> ObjectMeta {
    ObjectMeta::new(key.clone(), size, created).with_version(Version::new(generation.to_string()))
}

/// Describes an object as the control client tells of it.
pub(crate) fn meta_of(key: &Key, object: &Object) -> ObjectMeta {
    let created = object.create_time.and_then(|time| {
        let seconds = u64::try_from(time.seconds()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(time.nanos()).ok()?))
    });
    let created = created.unwrap_or(SystemTime::UNIX_EPOCH);
    meta(key, u64::try_from(object.size).unwrap_or_default(), created, object.generation)
}

/// Looks at one object.
pub(crate) async fn stat(remote: &Remote, key: &Key) -> Result<ObjectMeta> {
    describe(remote, key, Operation::Stat).await.map(|described| described.meta)
}

/// Looks at one object, for an operation.
pub(crate) async fn describe(remote: &Remote, key: &Key, operation: Operation) -> Result<Described> {
    let connection = remote.connection().await?;
    let location = remote.location(key);
    let target = remote.target(operation, &location);
    remote
        .patience
        .retrying(|| async {
            let request = connection
                .control
                .get_object()
                .set_bucket(remote.bucket())
                .set_object(remote.object(key))
                .with_attempt_timeout(remote.patience.attempt_timeout());
            let object = remote.watched(target, request.send()).await?;
            let crc32c = object.checksums.as_ref().and_then(|checksums| checksums.crc32c).map(encoded);
            Ok::<_, AttemptFailure>(Described { meta: meta_of(key, &object), crc32c })
        })
        .await
}

/// Reads a version that this backend gave.
fn generation(version: &Version, remote: &Remote, key: &Key, operation: Operation) -> Result<i64> {
    let generation = version.as_str().parse();
    // Anything else is the version of no object here.
    generation.map_err(|_| Error::new(ErrorKind::Conflict, operation, remote.location(key)))
}

/// Deletes an object. An absent one is a success.
pub(crate) async fn delete(remote: &Remote, key: &Key, options: &DeleteOptions) -> Result<()> {
    let generation = match &options.if_version {
        Some(version) => Some(generation(version, remote, key, Operation::Delete)?),
        None => None,
    };
    let connection = remote.connection().await?;
    let location = remote.location(key);
    let target = remote.target(Operation::Delete, &location);
    let deleted = remote
        .patience
        .retrying(|| async {
            let request = connection
                .control
                .delete_object()
                .set_bucket(remote.bucket())
                .set_object(remote.object(key))
                .set_or_clear_if_generation_match(generation)
                .with_attempt_timeout(remote.patience.attempt_timeout());
            remote.watched(target, request.send()).await
        })
        .await;
    match deleted {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Reads an object, or a range of it.
pub(crate) async fn get(remote: Arc<Remote>, key: Key, options: GetOptions) -> Result<GetResult> {
    let wanted = options.range.unwrap_or(0..u64::MAX);
    let generation = match &options.if_version {
        Some(version) => Some(self::generation(version, &remote, &key, Operation::Get)?),
        None => None,
    };
    if wanted.is_empty() {
        return empty(&remote, &key, wanted.start, false, generation).await;
    }
    let first = wanted.start..wanted.end.min(wanted.start.saturating_add(CHUNK));
    let mut attempts = remote.patience.attempts();
    let (response, size) = loop {
        let failure = match open(&remote, &key, first.clone(), generation).await {
            Ok(response) => {
                let size = u64::try_from(response.object().size).unwrap_or_default();
                break (response, size);
            }
            // Nothing is in the range.
            Err(Opening::Empty) => return empty(&remote, &key, wanted.start, true, generation).await,
            Err(Opening::Failed(failure)) => failure,
        };
        attempts.pause_after(failure).await?;
    };
    let generation = response.object().generation;
    let meta = meta(&key, size, time_of(generation), generation);
    let end = wanted.end.min(size).max(wanted.start);
    let first = first.start..first.end.min(end);
    let rest = first.end..end;
    let reader = Arc::new(Reader { remote, key, generation });
    let body = reader.body(response);
    Ok(GetResult::new(meta, READ_AHEAD.read(reader, first, body, rest)))
}

/// A generation is the time of its making in microseconds, which saves asking for it: "Object versioning" shows such
/// numbers, and does not promise them. Nothing is decided by this time; listings and looks have the documented one.
fn time_of(generation: i64) -> SystemTime {
    let micros = u64::try_from(generation).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn conflict(remote: &Remote, key: &Key) -> Error {
    Error::new(ErrorKind::Conflict, Operation::Get, remote.location(key))
}

/// The object without bytes.
async fn empty(
    remote: &Remote,
    key: &Key,
    start: u64,
    said_empty: bool,
    generation: Option<i64>,
) -> Result<GetResult> {
    let meta = describe(remote, key, Operation::Get).await?.meta;
    let wanted = generation.map(|generation| Version::new(generation.to_string()));
    let is_another = wanted.is_some() && meta.version != wanted;
    // The server has said that nothing is there: it was replaced since. (An empty range begins anywhere.)
    let has_grown = said_empty && meta.size > start;
    if is_another || has_grown {
        return Err(conflict(remote, key));
    }
    Ok(GetResult::new(meta, stream::empty().boxed()))
}

/// Why a range could not be opened.
enum Opening {
    /// The object ends before it.
    Empty,
    Failed(AttemptFailure),
}

/// One request.
async fn open(
    remote: &Remote,
    key: &Key,
    range: Range<u64>,
    generation: Option<i64>,
) -> Result<ReadObjectResponse, Opening> {
    if range.start > LARGEST {
        return Err(Opening::Empty);
    }
    let connection = remote.connection().await.map_err(|error| Opening::Failed(error.into()))?;
    let location = remote.location(key);
    let target = remote.target(Operation::Get, &location);
    let request = connection
        .storage
        .read_object(remote.bucket(), remote.object(key))
        .set_read_range(ReadRange::segment(range.start, range.end - range.start))
        .set_generation(generation.unwrap_or_default());
    match tokio::time::timeout(remote.patience.attempt_timeout(), request.send()).await {
        Ok(Ok(response)) => {
            remote.patience.activity.answered();
            Ok(response)
        }
        Ok(Err(error)) if error.http_status_code() == Some(416) => Err(Opening::Empty),
        Ok(Err(error)) => {
            let mut failure = target.failure(&error);
            if generation.is_some() && failure.error.is_not_found() {
                // Of this very generation there is nothing any more.
                failure = conflict(remote, key).into();
            }
            Err(Opening::Failed(failure))
        }
        Err(_) => Err(Opening::Failed(target.stalled(remote.patience.attempt_timeout()))),
    }
}

/// What all requests for one object share.
struct Reader {
    remote: Arc<Remote>,
    key: Key,
    generation: i64,
}

#[async_trait]
impl RangeSource for Reader {
    async fn open(&self, range: Range<u64>) -> Result<Body, AttemptFailure> {
        match open(&self.remote, &self.key, range, Some(self.generation)).await {
            Ok(response) => Ok(self.body(response)),
            Err(Opening::Empty) => Err(conflict(&self.remote, &self.key).into()),
            Err(Opening::Failed(failure)) => Err(failure),
        }
    }

    fn location(&self) -> String {
        self.remote.location(&self.key)
    }

    fn retry_budget(&self) -> &RetryBudget {
        &self.remote.patience
    }
}

impl Reader {
    /// The bytes of an answer, which fails where the next of them do not come.
    fn body(&self, response: ReadObjectResponse) -> Body {
        let (remote, location) = (Arc::clone(&self.remote), self.location());
        stream::unfold(Some(response), move |response| {
            let (remote, location) = (Arc::clone(&remote), location.clone());
            async move {
                let mut response = response?;
                let timeout = remote.patience.attempt_timeout();
                let target = remote.target(Operation::Get, &location);
                let failure = match tokio::time::timeout(timeout, response.next()).await {
                    Ok(Some(Ok(bytes))) => {
                        remote.patience.activity.moved();
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
