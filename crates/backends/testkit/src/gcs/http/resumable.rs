//! Resumable uploads, after their start: <https://cloud.google.com/storage/docs/performing-resumable-uploads>.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_RANGE, HeaderName, RANGE};
use hyper::http::request::Parts;

use crate::gcs::GcsServerState;
use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::ReplyDamage;
use crate::gcs::http::incoming::IncomingBody;
use crate::gcs::http::range::Given;
use crate::gcs::http::route::Route;
use crate::gcs::http::upload::expected;
use crate::gcs::http::{End, HttpReply, answer};
use crate::gcs::session::{QUANTUM, UploadProgress, UploadSession, cancelled};

fn session(shared: &GcsServerState, route: &Route) -> Result<Arc<UploadSession>, GcsFailure> {
    shared.sessions.get(route.query.get("upload_id").unwrap_or_default())
}

/// Stores bytes, or reports the progress of the upload. The last request creates the object.
pub(super) async fn put(
    shared: &GcsServerState,
    head: &Parts,
    route: &Route,
    body: &mut IncomingBody,
    damage: Option<&ReplyDamage>,
) -> Result<HttpReply, End> {
    let session = session(shared, route)?;
    let given = match head.headers.get(CONTENT_RANGE) {
        Some(header) => Given::parse(header.to_str().unwrap_or_default())?,
        None => Given::WHOLE,
    };
    let expected = expected(head)?;
    let (turn, progress) = session.take();
    let persisted = match progress? {
        UploadProgress::Open(persisted) => persisted,
        UploadProgress::Done(object) => return Ok(answer::object(&object, damage)),
    };
    let (is_last, persisted) = match given.first {
        Some(first) => {
            let skip = check(&session, &given, first, persisted, body)?;
            (given.is_last(), receive(&session, turn, &given, skip, persisted, body).await?)
        }
        None => (is_complete(&given, persisted)?, persisted),
    };
    if !is_last {
        return Ok(incomplete(&session, persisted));
    }
    if session.purpose.total.is_some_and(|total| total != persisted) {
        return Err(GcsFailure::invalid("The upload has another length than X-Upload-Content-Length.").into());
    }
    let object = session.finish(turn, &shared.store, expected)??;
    Ok(answer::object(&object, damage))
}

/// Returns how many of the sent bytes are already stored. The server ignores bytes that are sent again.
fn check(
    session: &UploadSession,
    given: &Given,
    first: u64,
    persisted: u64,
    body: &IncomingBody,
) -> Result<u64, GcsFailure> {
    let skip = persisted.checked_sub(first).ok_or_else(|| {
        GcsFailure::invalid(format!(
            "Invalid request. According to the Content-Range header, the upload offset is {first} byte(s), which \
             exceeds already uploaded size of {persisted} byte(s)."
        ))
    })?;
    let len = given.len.or(body.len());
    if given.len.zip(body.len()).is_some_and(|(said, comes)| said != comes) {
        return Err(GcsFailure::invalid(
            "Invalid request. The Content-Range header does not match the body.",
        ));
    }
    if !given.is_last() && len.is_some_and(|len| len < QUANTUM as u64) {
        return Err(GcsFailure::invalid(format!(
            "Invalid request. The number of bytes uploaded is required to be equal or greater than {QUANTUM}, except \
             for the final request (it's recommended to be the exact multiple of {QUANTUM}). The received request \
             contained {} bytes, which does not meet this requirement.",
            len.unwrap_or_default()
        )));
    }
    let end = given.len.map_or(first, |len| first + len);
    if session
        .purpose
        .total
        .is_some_and(|total| end > total || given.total.is_some_and(|given| given != total))
    {
        return Err(GcsFailure::invalid("The Content-Range header does not match X-Upload-Content-Length."));
    }
    Ok(skip)
}

/// Stores the received bytes in whole quanta. The rest of an interrupted chunk is lost. Returns the number of stored bytes.
async fn receive(
    session: &UploadSession,
    turn: u64,
    given: &Given,
    skip: u64,
    persisted: u64,
    body: &mut IncomingBody,
) -> Result<u64, End> {
    let (mut kept, mut received, mut skip) = (persisted, 0, skip);
    // The bytes of an incomplete quantum.
    let (mut tail, mut tail_len) = (Vec::<Bytes>::new(), 0);
    while let Some(mut chunk) = body.next().await? {
        received += chunk.len() as u64;
        let known = usize::try_from(skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        drop(chunk.split_to(known));
        skip -= known as u64;
        tail_len += chunk.len();
        if tail_len >= QUANTUM {
            let over = tail_len % QUANTUM;
            let rest = chunk.split_off(chunk.len() - over);
            tail.push(chunk);
            session.append(turn, &tail)??;
            kept += (tail_len - over) as u64;
            tail.clear();
            (chunk, tail_len) = (rest, over);
        }
        if !chunk.is_empty() {
            tail.push(chunk);
        }
    }
    if given.len.is_some_and(|len| len != received) {
        return Err(GcsFailure::invalid(
            "Invalid request. The Content-Range header does not match the body.",
        )
        .into());
    }
    if given.is_last() && tail_len > 0 {
        session.append(turn, &tail)??;
        kept += tail_len as u64;
    }
    Ok(kept)
}

/// Whether the request completes the upload: `bytes */N`, with all N bytes stored. Otherwise it queries the progress.
fn is_complete(given: &Given, persisted: u64) -> Result<bool, GcsFailure> {
    match given.total {
        Some(total) if total < persisted => Err(GcsFailure::invalid(format!(
            "Invalid request. According to the Content-Range header, the final size of the upload is {total} \
             byte(s), which is less than the already uploaded size of {persisted} byte(s)."
        ))),
        total => Ok(total == Some(persisted)),
    }
}

/// Creates the answer 308, which Google calls "Resume Incomplete".
fn incomplete(session: &UploadSession, persisted: u64) -> HttpReply {
    let mut answer = answer::empty(308);
    if persisted > 0 {
        answer::set(answer.headers_mut(), RANGE, &format!("bytes=0-{}", persisted - 1));
    }
    answer::set(answer.headers_mut(), HeaderName::from_static("x-guploader-uploadid"), session.id());
    answer
}

/// Cancels an upload. The answer is 499.
pub(super) fn cancel(shared: &GcsServerState, route: &Route) -> Result<HttpReply, GcsFailure> {
    session(shared, route)?.cancel();
    Ok(answer::failure(&cancelled(), false))
}
