//! Reads of objects, metadata and listings.

use hyper::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::gcs::GcsServerState;
use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::ReplyDamage;
use crate::gcs::http::body::{DownloadBody, ReplyBody};
use crate::gcs::http::range::{WantedRange, wanted};
use crate::gcs::http::route::Route;
use crate::gcs::http::{HttpReply, answer};
use crate::gcs::listing::Selection;
use crate::gcs::object::{METAGENERATION, Metadata, STORAGE_CLASS};

/// The permission to create objects.
const CREATE_PERMISSION: &str = "storage.objects.create";

fn text<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

/// Returns the bytes of an object, or a range of them.
pub(super) fn media(
    shared: &GcsServerState,
    head: &Parts,
    route: &Route,
    damage: Option<ReplyDamage>,
) -> Result<HttpReply, GcsFailure> {
    let (generation, preconditions) = (route.query.number("generation")?, route.query.preconditions()?);
    let object = shared.store.get(&route.bucket, &route.object, generation, &preconditions)?;
    refuse_transcoding(head, &object.metadata)?;
    let size = object.content.len();
    let range = text(head, RANGE.as_str());
    let (status, offset, len) = match wanted(range, size) {
        WantedRange::Whole => (StatusCode::OK, 0, size),
        WantedRange::Part { offset, len } => (StatusCode::PARTIAL_CONTENT, offset, len),
        WantedRange::Unsatisfiable => {
            let message = "The requested range cannot be satisfied.";
            let failure = GcsFailure::new(416, "requestedRangeNotSatisfiable", message);
            let mut refusal = answer::failure(&failure, true);
            answer::set(refusal.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(refusal);
        }
    };
    let mut described = Response::new(());
    answer::describe(described.headers_mut(), &object, damage.as_ref());
    let download = DownloadBody::new(object.content.clone(), offset, len, damage);
    let mut answer = described.map(|()| ReplyBody::DownloadBody(download));
    *answer.status_mut() = status;
    answer::set_length(answer.headers_mut(), len);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {offset}-{}/{size}", offset + len - 1);
        answer::set(answer.headers_mut(), CONTENT_RANGE, &range);
    }
    Ok(answer)
}

/// Refuses a read for which Google would decompress the object: <https://cloud.google.com/storage/docs/transcoding>.
fn refuse_transcoding(head: &Parts, metadata: &Metadata) -> Result<(), GcsFailure> {
    let takes_gzip = text(head, ACCEPT_ENCODING.as_str()).is_some_and(|accepted| accepted.contains("gzip"));
    let stays = metadata.cache_control.as_deref().is_some_and(|control| control.contains("no-transform"));
    if metadata.content_encoding.as_deref() == Some("gzip") && !takes_gzip && !stays {
        return Err(GcsFailure::unsupported("decompressive transcoding: the client does not accept gzip"));
    }
    Ok(())
}

/// Returns the metadata of an object.
pub(super) fn metadata(
    shared: &GcsServerState,
    route: &Route,
    damage: Option<&ReplyDamage>,
) -> Result<HttpReply, GcsFailure> {
    let (generation, preconditions) = (route.query.number("generation")?, route.query.preconditions()?);
    let object = shared.store.get(&route.bucket, &route.object, generation, &preconditions)?;
    Ok(answer::object(&object, damage))
}

/// Deletes an object.
pub(super) fn delete(shared: &GcsServerState, route: &Route) -> Result<HttpReply, GcsFailure> {
    let (generation, preconditions) = (route.query.number("generation")?, route.query.preconditions()?);
    shared.store.delete(&route.bucket, &route.object, generation, &preconditions)?;
    Ok(answer::empty(204))
}

/// Returns a page of a listing.
pub(super) fn list(shared: &GcsServerState, route: &Route) -> Result<HttpReply, GcsFailure> {
    let text = |name: &str| route.query.get(name).unwrap_or_default().to_owned();
    let page_size = route.query.number("maxResults")?.unwrap_or_default();
    let selection = Selection {
        prefix: text("prefix"),
        delimiter: text("delimiter"),
        start: text("startOffset"),
        end: text("endOffset"),
        token: text("pageToken"),
        page_size: usize::try_from(page_size).unwrap_or_default(),
        with_trailing_delimiter: text("includeTrailingDelimiter") == "true",
    };
    let page = shared.store.list(&route.bucket, &selection)?;
    let mut found = json!({ "kind": "storage#objects" });
    let items: Vec<Value> = page.objects.iter().map(|object| object.resource(&object.checksums)).collect();
    // Google omits empty lists.
    if !items.is_empty() {
        found["items"] = items.into();
    }
    if !page.prefixes.is_empty() {
        found["prefixes"] = page.prefixes.into();
    }
    if !page.next_token.is_empty() {
        found["nextPageToken"] = page.next_token.into();
    }
    Ok(answer::json(&found))
}

/// Returns those of the given permissions that the caller has on a bucket:
/// <https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions>.
pub(super) fn permissions(shared: &GcsServerState, route: &Route) -> Result<HttpReply, GcsFailure> {
    shared.store.bucket(&route.bucket)?;
    let is_restricted = shared.creatable().is_some();
    let asked = route.query.all("permissions");
    let held: Vec<&str> = asked.filter(|name| *name != CREATE_PERMISSION || !is_restricted).collect();
    let mut answer = json!({ "kind": "storage#testIamPermissionsResponse" });
    // Google omits empty lists.
    if !held.is_empty() {
        answer["permissions"] = held.into();
    }
    Ok(answer::json(&answer))
}

/// Returns the metadata of a bucket.
pub(super) fn bucket(shared: &GcsServerState, route: &Route) -> Result<HttpReply, GcsFailure> {
    let created = shared.store.bucket(&route.bucket)?.to_string();
    Ok(answer::json(&json!({
        "kind": "storage#bucket",
        "id": route.bucket,
        "name": route.bucket,
        "metageneration": METAGENERATION.to_string(),
        "storageClass": STORAGE_CLASS,
        "timeCreated": created,
        "updated": created,
    })))
}
