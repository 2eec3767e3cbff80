//! Uploads in one request, and the start of resumable uploads.

use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderName, LOCATION};
use hyper::http::request::Parts;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::gcs::GcsServerState;
use crate::gcs::checksums::Expected;
use crate::gcs::content::ContentWriter;
use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::ReplyDamage;
use crate::gcs::http::incoming::IncomingBody;
use crate::gcs::http::multipart::{Parted, malformed};
use crate::gcs::http::route::Route;
use crate::gcs::http::{End, HttpReply, answer};
use crate::gcs::object::{Metadata, StoredObject, check_name};
use crate::gcs::session::Purpose;

fn text<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

/// Reads the checksums in the headers.
pub(super) fn expected(head: &Parts) -> Result<Expected, GcsFailure> {
    text(head, "x-goog-hash").map(Expected::of_header).transpose().map(Option::unwrap_or_default)
}

fn parse(document: &[u8]) -> Result<Value, GcsFailure> {
    if document.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(document).map_err(|_| GcsFailure::new(400, "parseError", "Parse Error"))
}

/// Returns the target of an upload. The name in the query overrides the one in the metadata.
fn purpose(shared: &GcsServerState, route: &Route, resource: &Value) -> Result<Purpose, GcsFailure> {
    shared.store.bucket(&route.bucket)?;
    let object = match route.object.as_str() {
        "" => resource["name"].as_str().unwrap_or_default(),
        name => name,
    };
    if object.is_empty() {
        return Err(GcsFailure::new(400, "required", "Required"));
    }
    check_name(object)?;
    if shared.creatable().is_some_and(|prefix| !object.starts_with(&prefix)) {
        return Err(GcsFailure::permission_denied());
    }
    let mut metadata = Metadata::of_resource(resource);
    if metadata.content_encoding.is_none() {
        metadata.content_encoding = route.query.get("contentEncoding").map(str::to_owned);
    }
    Ok(Purpose {
        bucket: route.bucket.clone(),
        object: object.to_owned(),
        metadata,
        expected: Expected::of_metadata(resource)?,
        preconditions: route.query.preconditions()?,
        total: None,
    })
}

/// Starts a resumable upload:
/// <https://cloud.google.com/storage/docs/performing-resumable-uploads#initiate-session>.
pub(super) async fn start(
    shared: &GcsServerState,
    head: &Parts,
    route: &Route,
    body: &mut IncomingBody,
) -> Result<HttpReply, End> {
    let resource = parse(&body.document().await?)?;
    let mut purpose = purpose(shared, route, &resource)?;
    if purpose.metadata.content_type.is_none() {
        purpose.metadata.content_type = text(head, "x-upload-content-type").map(str::to_owned);
    }
    if let Some(total) = text(head, "x-upload-content-length") {
        let invalid = || GcsFailure::invalid(format!("Invalid X-Upload-Content-Length: {total}"));
        purpose.total = Some(total.parse().map_err(|_| invalid())?);
    }
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (bucket, object) = (encode(&purpose.bucket), encode(&purpose.object));
    let session = shared.sessions.begin(purpose, &shared.dir);
    let location = format!(
        "{}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={object}&upload_id={}",
        shared.announced(),
        session.id()
    );
    let mut answer = answer::empty(200);
    answer::set(answer.headers_mut(), LOCATION, &location);
    answer::set(answer.headers_mut(), HeaderName::from_static("x-guploader-uploadid"), session.id());
    Ok(answer)
}

/// Handles an upload in one request.
pub(super) async fn insert(
    shared: &GcsServerState,
    head: &Parts,
    route: &Route,
    body: &mut IncomingBody,
    damage: Option<&ReplyDamage>,
) -> Result<HttpReply, End> {
    let made = if route.query.get("uploadType") == Some("media") {
        media(shared, head, route, body).await?
    } else {
        multipart(shared, head, route, body).await?
    };
    Ok(answer::object(&made, damage))
}

/// Handles an upload of bytes without metadata:
/// <https://cloud.google.com/storage/docs/uploading-objects#rest-upload-objects>.
async fn media(
    shared: &GcsServerState,
    head: &Parts,
    route: &Route,
    body: &mut IncomingBody,
) -> Result<Arc<StoredObject>, End> {
    let mut purpose = purpose(shared, route, &Value::Null)?;
    purpose.metadata.content_type = text(head, CONTENT_TYPE.as_str()).map(str::to_owned);
    let mut writer = ContentWriter::new(&shared.dir);
    while let Some(chunk) = body.next().await? {
        writer.append(&chunk)?;
    }
    Ok(purpose.finish(&shared.store, writer, expected(head)?)?)
}

/// Handles a multipart upload: metadata, bytes, and optionally a third part with checksums that the client computed while
/// it sent the bytes:
/// <https://cloud.google.com/storage/docs/uploading-objects#rest-upload-objects>.
async fn multipart(
    shared: &GcsServerState,
    head: &Parts,
    route: &Route,
    body: &mut IncomingBody,
) -> Result<Arc<StoredObject>, End> {
    let mut parted = Parted::new(text(head, CONTENT_TYPE.as_str()).unwrap_or_default(), body)?;
    parted.next_part().await?.ok_or_else(malformed)?;
    let resource = parse(&parted.document().await?)?;
    let mut purpose = purpose(shared, route, &resource)?;
    let media = parted.next_part().await?.ok_or_else(malformed)?;
    if purpose.metadata.content_type.is_none() {
        purpose.metadata.content_type = media.content_type;
    }
    let mut writer = ContentWriter::new(&shared.dir);
    while let Some(chunk) = parted.next_chunk().await? {
        writer.append(&chunk)?;
    }
    let mut expected = expected(head)?;
    if parted.next_part().await?.is_some() {
        let trailing = parse(&parted.document().await?)?;
        expected = expected.or(Expected::of_metadata(&trailing)?);
        if parted.next_part().await?.is_some() {
            return Err(malformed().into());
        }
    }
    Ok(purpose.finish(&shared.store, writer, expected)?)
}
