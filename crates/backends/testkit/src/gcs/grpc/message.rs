//! Conversions to and from messages.

use googleapis_tonic_google_storage_v2::google::rpc::{RetryInfo, Status as RpcStatus};
use googleapis_tonic_google_storage_v2::google::storage::v2::{Bucket, Object as Message, ObjectChecksums};
use jiff::Timestamp;
use prost::Message as _;
use prost_types::{Any, Duration};
use tonic::{Code, Status};

use crate::gcs::failure::GcsFailure;
use crate::gcs::object::{METAGENERATION, STORAGE_CLASS, StoredObject};

/// The prefix of [bucket names](https://cloud.google.com/storage/docs/reference/rpc/google.storage.v2#google.storage.v2.Bucket).
pub(super) const BUCKETS: &str = "projects/_/buckets/";

/// Returns the name of a bucket in a message.
pub(super) fn bucket(name: &str) -> Result<&str, GcsFailure> {
    let invalid = || GcsFailure::invalid(format!("Invalid bucket name: '{name}'"));
    name.strip_prefix(BUCKETS).filter(|name| !name.is_empty()).ok_or_else(invalid)
}

fn time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

pub(super) fn object(object: &StoredObject) -> Message {
    let created = Some(time(object.created));
    let metadata = object.metadata.clone();
    let checksums = ObjectChecksums {
        crc32c: Some(object.checksums.crc32c),
        md5_hash: object.checksums.md5.map(|md5| md5.to_vec().into()).unwrap_or_default(),
    };
    Message {
        name: object.name.clone(),
        bucket: format!("{BUCKETS}{}", object.bucket),
        etag: object.etag(),
        generation: object.generation,
        metageneration: METAGENERATION,
        storage_class: STORAGE_CLASS.to_owned(),
        size: i64::try_from(object.content.len()).unwrap_or(i64::MAX),
        content_type: metadata.content_type.unwrap_or_default(),
        content_encoding: metadata.content_encoding.unwrap_or_default(),
        content_disposition: metadata.content_disposition.unwrap_or_default(),
        content_language: metadata.content_language.unwrap_or_default(),
        cache_control: metadata.cache_control.unwrap_or_default(),
        metadata: metadata.custom,
        checksums: Some(checksums),
        create_time: created,
        update_time: created,
        finalize_time: created,
        update_storage_class_time: created,
        ..Message::default()
    }
}

pub(super) fn bucket_message(name: &str, created: Timestamp) -> Bucket {
    Bucket {
        name: format!("{BUCKETS}{name}"),
        bucket_id: name.to_owned(),
        project: "projects/larder".to_owned(),
        metageneration: METAGENERATION,
        storage_class: STORAGE_CLASS.to_owned(),
        create_time: Some(time(created)),
        update_time: Some(time(created)),
        ..Bucket::default()
    }
}

/// Maps an HTTP status to a gRPC code: <https://cloud.google.com/apis/design/errors#handling_errors>.
fn code(status: u16) -> Code {
    match status {
        // 304 means that the object is not modified.
        304 | 412 => Code::FailedPrecondition,
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        416 => Code::OutOfRange,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        500 => Code::Internal,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}

/// Converts an error, with the details of `google.rpc.Status`: <https://google.aip.dev/193>.
pub(super) fn status(failure: &GcsFailure) -> Status {
    let (code, message) = (code(failure.status()), failure.message().to_owned());
    let Some(seconds) = failure.delay() else { return Status::new(code, message) };
    let delay = Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 };
    let retry = RetryInfo { retry_delay: Some(delay) };
    let details = vec![Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: retry.encode_to_vec(),
    }];
    let details = RpcStatus { code: code.into(), message: message.clone(), details };
    Status::with_details(code, message, details.encode_to_vec().into())
}
