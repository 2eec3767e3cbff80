//! Looking at objects and reading them.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use futures::stream::{self, StreamExt as _};
use http_body::Body as _;
use larder_backend::{
    ByteStream, Error, ErrorKind, GetOptions, GetResult, Key, ObjectMeta, Operation, Result, Version,
};
use larder_backend_http::read_ahead::{Body, RangeSource, ReadAhead};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};

use crate::context::S3Context;
use crate::error::S3Failure;

/// How much one request reads, in bytes, as in other clients of S3. One request reads an object up to this size. Several
/// requests read a larger one at the same time.
const CHUNK: u64 = 8 * 1024 * 1024;

/// How many requests read ahead at once. Together they cover the bandwidth times delay of 1 Gbit/s and 400 ms. A download
/// keeps only their unread bytes in memory.
const CHUNKS_AHEAD: usize = 6;

const READ_AHEAD: ReadAhead = ReadAhead::new(CHUNK, CHUNKS_AHEAD);

/// Looks at one object.
pub(crate) async fn stat(context: &S3Context, key: &Key) -> Result<ObjectMeta> {
    let connection = context.connection().await?;
    let location = context.location(key);
    let target = context.target(Operation::Stat, &location);
    context
        .retry_budget
        .retrying(|| async {
            let request = connection
                .client
                .head_object()
                .bucket(&context.config.bucket)
                .key(context.object(key))
                .set_request_payer(context.request_payer());
            match Box::pin(request.send()).await {
                Ok(output) => {
                    let size = output.content_length().unwrap_or_default();
                    Ok(meta(key, size, output.last_modified(), output.e_tag()))
                }
                Err(error) => Err(explain_head(context, key, target.failure(&error)).await),
            }
        })
        .await
}

/// Explains a failed HEAD with a request for one byte. An answer to HEAD has no body. So a wrong clock, a wrong secret
/// and a denial look alike, and a missing bucket looks like a missing object.
async fn explain_head(context: &S3Context, key: &Key, failure: S3Failure) -> S3Failure {
    let is_vague =
        failure.code.is_empty() && matches!(failure.status, Some(301 | 307 | 400 | 401 | 403 | 404));
    if !is_vague {
        return failure;
    }
    if failure.status == Some(404) && context.is_known_to_exist() {
        return failure;
    }
    match get_range(context, key, Operation::Stat, Some(&(0..1)), None).await {
        Err(explained) if !explained.code.is_empty() => {
            if explained.error.is_not_found() {
                context.exists();
            }
            explained
        }
        Err(explained) if explained.status == Some(404) => {
            let location = context.location(key);
            context.target(Operation::Stat, &location).no_s3().into()
        }
        _ => failure,
    }
}

/// Reads an object, or a range of it.
pub(crate) async fn get(context: Arc<S3Context>, key: Key, options: GetOptions) -> Result<GetResult> {
    let wanted = options.range.unwrap_or(0..u64::MAX);
    let version = options.if_version.as_ref();
    if wanted.is_empty() {
        return empty(&context, &key, wanted.start, false, version).await;
    }
    let first = wanted.start..wanted.end.min(wanted.start.saturating_add(CHUNK));
    let mut attempts = context.retry_budget.attempts();
    let mut asked = Some(&first);
    let (output, answer) = loop {
        let output = match get_range(&context, &key, Operation::Get, asked, version).await {
            Ok(output) => output,
            // The object ends before the range.
            Err(failure) if failure.status == Some(416) => {
                return empty(&context, &key, wanted.start, true, version).await;
            }
            Err(failure) => {
                attempts.pause_after(failure).await?;
                continue;
            }
        };
        let answer = RangeAnswer::read(&output, asked).map_err(|problem| {
            Error::new(ErrorKind::Unsupported, Operation::Get, context.location(&key)).with_source(problem)
        })?;
        if answer.is_range && answer.size > answer.range.end && !is_strong(output.e_tag()) {
            // Several requests might read several versions. So one request reads everything.
            asked = None;
            continue;
        }
        break (output, answer);
    };
    context.exists();
    let meta =
        meta(&key, i64::try_from(answer.size).unwrap_or(i64::MAX), output.last_modified(), output.e_tag());
    let wanted = wanted.start..wanted.end.min(answer.size).max(wanted.start);
    let reader = Arc::new(S3RangeSource { context, key, version: meta.version.clone() });
    let rest = if answer.is_range { answer.range.end..wanted.end } else { 0..0 };
    let body = reader.body(output.body.into_inner());
    let stream = READ_AHEAD.with_ranges(answer.is_range).read(reader, answer.range, body, rest);
    let stream = if answer.is_range { stream } else { cut(stream, wanted) };
    Ok(GetResult::new(meta, stream))
}

/// The answer to a request for a range, or for the whole object.
#[derive(Debug, PartialEq, Eq)]
struct RangeAnswer {
    /// The bytes that follow.
    range: Range<u64>,
    /// The size of the object.
    size: u64,
    /// Whether this is the range that was requested. Otherwise the server does not support ranges, and sends the whole
    /// object.
    is_range: bool,
}

impl RangeAnswer {
    fn read(output: &GetObjectOutput, asked: Option<&Range<u64>>) -> Result<Self, &'static str> {
        let length = output.content_length().and_then(|length| u64::try_from(length).ok());
        Self::of(output.content_range(), length, asked)
    }

    fn of(
        content_range: Option<&str>,
        length: Option<u64>,
        asked: Option<&Range<u64>>,
    ) -> Result<Self, &'static str> {
        let Some(text) = content_range else {
            let size = length.ok_or("the server did not send the size of the object")?;
            return Ok(Self { range: 0..size, size, is_range: false });
        };
        let (range, size) = parse_content_range(text).ok_or("the server did not say which range it sent")?;
        let asked = asked.ok_or("the server sent a range that larder did not request")?;
        let is_asked = range.start == asked.start && range.end == asked.end.min(size);
        if !is_asked || length.is_some_and(|length| length != range.end - range.start) {
            return Err("the server sent another range than larder requested");
        }
        Ok(Self { range, size, is_range: true })
    }
}

/// Whether an `ETag` identifies the exact bytes. A weak one does not, and no request can depend on it.
pub(crate) fn is_strong(e_tag: Option<&str>) -> bool {
    e_tag.is_some_and(|e_tag| !e_tag.starts_with("W/"))
}

/// Answers a request for an empty range.
async fn empty(
    context: &S3Context,
    key: &Key,
    start: u64,
    said_empty: bool,
    version: Option<&Version>,
) -> Result<GetResult> {
    let meta = match stat(context, key).await {
        Ok(meta) => meta,
        Err(error) if error.is_not_found() => {
            return Err(Error::new(ErrorKind::NotFound, Operation::Get, context.location(key)));
        }
        Err(error) => return Err(error),
    };
    let is_another = version.is_some_and(|version| meta.version.as_ref() != Some(version));
    // The server has said that the object ends before the range, so it was replaced since by a larger one.
    let has_grown = said_empty && meta.size > start;
    if is_another || has_grown {
        return Err(Error::new(ErrorKind::Conflict, Operation::Get, context.location(key)));
    }
    Ok(GetResult::new(meta, stream::empty().boxed()))
}

/// Sends one request. (The SDK's futures are large, so they are boxed.)
async fn get_range(
    context: &S3Context,
    key: &Key,
    operation: Operation,
    range: Option<&Range<u64>>,
    version: Option<&Version>,
) -> Result<GetObjectOutput, S3Failure> {
    let connection = context.connection().await?;
    let location = context.location(key);
    let request = connection
        .client
        .get_object()
        .bucket(&context.config.bucket)
        .key(context.object(key))
        .set_range(range.map(|range| format!("bytes={}-{}", range.start, range.end - 1)))
        .set_if_match(version.map(|version| version.as_str().to_owned()))
        .set_request_payer(context.request_payer());
    Box::pin(request.send()).await.map_err(|error| {
        let failure = context.target(operation, &location).failure(&error);
        // A failed precondition means that the object was replaced.
        if failure.status == Some(412) { failure.into_kind(ErrorKind::Conflict, operation) } else { failure }
    })
}

/// One version of an object, which several requests read.
struct S3RangeSource {
    context: Arc<S3Context>,
    key: Key,
    version: Option<Version>,
}

#[async_trait]
impl RangeSource for S3RangeSource {
    async fn open(&self, range: Range<u64>) -> Result<Body, AttemptFailure> {
        let output =
            get_range(&self.context, &self.key, Operation::Get, Some(&range), self.version.as_ref()).await?;
        match RangeAnswer::read(&output, Some(&range)) {
            Ok(answer) if answer.is_range => Ok(self.body(output.body.into_inner())),
            other => {
                let problem = other.err().unwrap_or("the server sent the whole object instead of a range");
                let error = Error::new(ErrorKind::Unsupported, Operation::Get, self.location());
                Err(error.with_source(problem).into())
            }
        }
    }

    fn location(&self) -> String {
        self.context.location(&self.key)
    }

    fn retry_budget(&self) -> &RetryBudget {
        &self.context.retry_budget
    }
}

impl S3RangeSource {
    /// The bytes of an answer.
    fn body(&self, body: SdkBody) -> Body {
        let (context, location) = (Arc::clone(&self.context), self.location());
        stream::unfold(Some(body), move |body| {
            let (context, location) = (Arc::clone(&context), location.clone());
            async move {
                let mut body = body?;
                loop {
                    let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
                    return match frame? {
                        Ok(frame) => match frame.into_data() {
                            Ok(bytes) => Some((Ok(bytes), Some(body))),
                            Err(_) => continue,
                        },
                        Err(error) => {
                            let target = context.target(Operation::Get, &location);
                            Some((Err(target.broken_body(&*error).into()), None))
                        }
                    };
                }
            }
        })
        .boxed()
    }
}

/// Cuts a range out of a stream of the whole object.
fn cut(stream: ByteStream, wanted: Range<u64>) -> ByteStream {
    let mut at = 0;
    stream
        .filter_map(move |piece| {
            let piece = piece.map(|bytes| {
                let begin = at;
                at += bytes.len() as u64;
                let within = |offset: u64| {
                    usize::try_from(offset.saturating_sub(begin)).unwrap_or(usize::MAX).min(bytes.len())
                };
                bytes.slice(within(wanted.start)..within(wanted.end).max(within(wanted.start)))
            });
            std::future::ready(match piece {
                Ok(bytes) if bytes.is_empty() => None,
                piece => Some(piece),
            })
        })
        .boxed()
}

/// Reads `bytes 0-99/1234`: the range, and the size of the object.
fn parse_content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last, size): (u64, u64, u64) = (start.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (start <= last && last < size).then(|| (start..last + 1, size))
}

/// Describes an object. Times are cut to seconds. HEAD has no smaller unit, and a listing must agree with it.
pub(crate) fn meta(key: &Key, size: i64, modified: Option<&DateTime>, e_tag: Option<&str>) -> ObjectMeta {
    let seconds = modified.map_or(0, DateTime::secs);
    let modified = SystemTime::try_from(DateTime::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
    let meta = ObjectMeta::new(key.clone(), u64::try_from(size).unwrap_or_default(), modified);
    match e_tag {
        Some(e_tag) => meta.with_version(version(e_tag)),
        None => meta,
    }
}

/// Makes a version of an `ETag`. Some servers omit its quotes in some answers.
pub(crate) fn version(e_tag: &str) -> Version {
    if e_tag.ends_with('"') { Version::new(e_tag) } else { Version::new(format!("\"{e_tag}\"")) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::TryStreamExt as _;

    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), Some((0..100, 1234)));
        assert_eq!(
            parse_content_range("bytes 8388608-9999999/10000000"),
            Some((8_388_608..10_000_000, 10_000_000))
        );
        for text in ["bytes */0", "bytes 0-9/*", "bytes 5-4/10", "bytes 0-10/10", "0-1/2", "bytes 0-1"] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
        let largest = u64::MAX;
        assert_eq!(parse_content_range(&format!("bytes {}-{largest}/{largest}", largest - 5)), None);
    }

    #[test]
    fn an_answer_is_what_was_asked_for_or_all_of_it() {
        let asked = 10..20;
        let answer = |range, length| RangeAnswer::of(range, length, Some(&asked));
        let right = RangeAnswer { range: 10..20, size: 100, is_range: true };
        assert_eq!(answer(Some("bytes 10-19/100"), Some(10)), Ok(right));
        let short = RangeAnswer { range: 10..15, size: 15, is_range: true };
        assert_eq!(answer(Some("bytes 10-14/15"), None), Ok(short));
        assert_eq!(answer(None, Some(100)), Ok(RangeAnswer { range: 0..100, size: 100, is_range: false }));
        for (range, length) in [
            (None, None),
            (Some("bytes 11-19/100"), Some(9)),
            (Some("bytes 10-99/100"), Some(90)),
            (Some("bytes 10-14/100"), Some(5)),
            (Some("bytes 10-19/100"), Some(100)),
            (Some("bytes 18446744073709551610-18446744073709551614/18446744073709551615"), Some(5)),
        ] {
            assert!(answer(range, length).is_err(), "{range:?} {length:?}");
        }
        assert!(RangeAnswer::of(Some("bytes 0-9/10"), Some(10), None).is_err());
    }

    #[tokio::test]
    async fn a_range_is_cut_out_of_a_stream() {
        for (wanted, expected) in [(0..9, "abcdefghi"), (2..4, "cd"), (3..6, "def"), (1..1, ""), (8..20, "i")]
        {
            let all = stream::iter(["abc", "def", "ghi"].map(|text| Ok(Bytes::from(text)))).boxed();
            let pieces: Vec<Bytes> = cut(all, wanted).try_collect().await.unwrap();
            assert_eq!(pieces.concat(), expected.as_bytes());
        }
    }
}
