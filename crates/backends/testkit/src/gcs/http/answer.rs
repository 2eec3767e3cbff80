//! Answers with Google's headers.

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::ReplyDamage;
use crate::gcs::http::HttpReply;
use crate::gcs::http::body::ReplyBody;
use crate::gcs::object::{Description, METAGENERATION, STORAGE_CLASS};

/// Creates an answer without headers and body.
pub(super) fn empty(status: u16) -> HttpReply {
    bytes(status, Bytes::new())
}

fn bytes(status: u16, body: impl Into<Bytes>) -> HttpReply {
    let mut answer = Response::new(ReplyBody::Bytes(Some(body.into())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

pub(super) fn json(value: &Value) -> HttpReply {
    let mut answer = bytes(200, value.to_string());
    set(answer.headers_mut(), CONTENT_TYPE, "application/json; charset=UTF-8");
    answer
}

/// Creates the answer for an error: text for a request for bytes, JSON for others.
pub(super) fn failure(failure: &GcsFailure, is_media: bool) -> HttpReply {
    let mut answer = match failure.status() {
        // These statuses have no body.
        status @ (304 | 499) => empty(status),
        status if is_media => {
            let mut answer = bytes(status, failure.message().to_owned());
            set(answer.headers_mut(), CONTENT_TYPE, "text/html; charset=UTF-8");
            answer
        }
        status => {
            let mut answer = bytes(status, failure.body());
            set(answer.headers_mut(), CONTENT_TYPE, "application/json; charset=UTF-8");
            answer
        }
    };
    if let Some(seconds) = failure.delay() {
        set(answer.headers_mut(), RETRY_AFTER, &seconds.to_string());
    }
    answer
}

/// Creates the answer with the metadata of an object.
pub(super) fn object(object: &Description, damage: Option<&ReplyDamage>) -> HttpReply {
    let checksums = match damage {
        Some(damage) if damage.takes_checksum() => object.checksums.wrong(),
        _ => object.checksums,
    };
    json(&object.resource(&checksums))
}

/// Sets the headers that describe the bytes of an object:
/// <https://cloud.google.com/storage/docs/xml-api/reference-headers#objectresponseheaders>.
pub(super) fn describe(headers: &mut HeaderMap, object: &Description, damage: Option<&ReplyDamage>) {
    let checksums = match damage {
        Some(damage) if damage.takes_checksum() => object.checksums.wrong(),
        _ => object.checksums,
    };
    let metadata = &object.metadata;
    let content_type = metadata.content_type.as_deref().unwrap_or("application/octet-stream");
    set(headers, CONTENT_TYPE, content_type);
    for (name, value) in [
        ("content-encoding", &metadata.content_encoding),
        ("content-disposition", &metadata.content_disposition),
        ("content-language", &metadata.content_language),
        ("cache-control", &metadata.cache_control),
    ] {
        if let Some(value) = value {
            set(headers, HeaderName::from_static(name), value);
        }
    }
    let modified = object.created.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [
        ("accept-ranges", "bytes".to_owned()),
        ("etag", object.etag()),
        ("last-modified", modified),
        ("x-goog-generation", object.generation.to_string()),
        ("x-goog-metageneration", METAGENERATION.to_string()),
        ("x-goog-storage-class", STORAGE_CLASS.to_owned()),
        ("x-goog-hash", checksums.header()),
        (
            "x-goog-stored-content-encoding",
            metadata.content_encoding.clone().unwrap_or_else(|| "identity".to_owned()),
        ),
        ("x-goog-stored-content-length", object.size.to_string()),
    ] {
        set(headers, HeaderName::from_static(name), &value);
    }
}

/// Sets a header. Skips a client's value that is not valid in a header.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(super) fn set_length(headers: &mut HeaderMap, len: u64) {
    headers.insert(CONTENT_LENGTH, len.into());
}
