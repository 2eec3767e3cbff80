//! Injected faults. The bodies of errors are those of `json_api/v1/status-codes`.

use std::time::Duration;

use googleapis_tonic_google_storage_v2::google::rpc::{RetryInfo, Status as RpcStatus};
use hyper::body::Bytes;
use larder_testkit::gcs::{GcsAction, GcsCall, GcsFailure, GcsRequest, GcsRule, GcsServer};
use larder_testkit::payload;
use prost::Message as _;
use tokio::time::timeout;
use tonic::Code;

use crate::client::{Answer, BUCKET, QUANTUM, crc32c, get, put, send, server, start, try_send};
use crate::rpc;

/// The timeout for events that must happen.
const LONG: Duration = Duration::from_secs(30);
/// The time after which a test concludes that nothing happens.
const SHORT: Duration = Duration::from_millis(200);

fn media(object: &str) -> String {
    format!("/storage/v1/b/{BUCKET}/o/{object}?alt=media")
}

fn object_url() -> String {
    format!("/storage/v1/b/{BUCKET}/o/object")
}

async fn download(server: &GcsServer) -> hyper::Result<Answer> {
    timeout(LONG, try_send(server, "GET", &media("object"), &[], "")).await.unwrap()
}

/// `json_api/v1/status-codes`: the reasons of 401, 403, 429 and 503; `retry-strategy`: `Retry-After`.
#[tokio::test]
async fn errors_are_googles_over_http() {
    let server = server();
    server.insert(BUCKET, "object", b"hello");
    let object = object_url();
    for (failure, status, reason) in [
        (GcsFailure::unavailable(), 503, "backendError"),
        (GcsFailure::internal(), 500, "internalError"),
        (GcsFailure::too_many_requests(), 429, "rateLimitExceeded"),
        (GcsFailure::unauthenticated(), 401, "authError"),
        (GcsFailure::anonymous(), 401, "required"),
        (GcsFailure::permission_denied(), 403, "forbidden"),
    ] {
        let fired = server.fail(GcsRule::new(failure.retry_after(7)).on_call(GcsCall::GetObject).times(2));
        for _ in 0..2 {
            let answer = get(&server, &object, &[]).await;
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
            assert_eq!(answer.header("retry-after"), "7");
        }
        assert_eq!((get(&server, &object, &[]).await.status, fired.count()), (200, 2));
    }
}

/// `google.rpc.Code` for the same, and `google.rpc.RetryInfo` (`https://google.aip.dev/193`).
#[tokio::test]
async fn errors_are_googles_over_grpc() {
    let server = server();
    server.insert(BUCKET, "object", b"hello");
    let mut client = rpc::connect(&server).await;
    for (failure, code) in [
        (GcsFailure::unavailable(), Code::Unavailable),
        (GcsFailure::internal(), Code::Internal),
        (GcsFailure::too_many_requests(), Code::ResourceExhausted),
        (GcsFailure::unauthenticated(), Code::Unauthenticated),
        (GcsFailure::permission_denied(), Code::PermissionDenied),
    ] {
        let fired = server.fail(GcsRule::new(failure.retry_after(7)).on(GcsRequest::is_grpc));
        let status = client.get_object(rpc::get("object")).await.unwrap_err();
        assert_eq!(status.code(), code);
        let details = RpcStatus::decode(status.details()).unwrap();
        assert_eq!(details.code, i32::from(code));
        let retry = RetryInfo::decode(&details.details[0].value[..]).unwrap();
        assert_eq!(retry.retry_delay.unwrap().seconds, 7);
        client.get_object(rpc::get("object")).await.unwrap();
        assert_eq!(fired.count(), 1);
    }
}

/// A rule applies only to matching requests.
#[tokio::test]
async fn a_rule_applies_to_matching_requests() {
    let server = server();
    server.insert(BUCKET, "object", b"hello");
    server.insert(BUCKET, "other", b"hello");
    let rule = GcsRule::new(GcsFailure::unavailable()).on(|request| request.object() == "object");
    let fired = server.fail(rule.after(1).times(1));
    let mut statuses = Vec::new();
    for object in ["object", "other", "object", "object"] {
        statuses.push(get(&server, &media(object), &[]).await.status);
    }
    assert_eq!((statuses, fired.count()), (vec![200, 200, 503, 200], 1));
    let always = server.fail(GcsRule::new(GcsFailure::internal()).always());
    assert_eq!(get(&server, &media("object"), &[]).await.status, 500);
    server.heal();
    assert_eq!((get(&server, &media("object"), &[]).await.status, always.count()), (200, 1));
    // An action for uploads does not apply to a download.
    let upload = server.fail(GcsRule::new(GcsAction::ResetUpload { after: 0 }));
    assert_eq!((get(&server, &media("object"), &[]).await.status, upload.count()), (200, 0));
}

/// A connection is lost within a chunk. The server stores whole quanta of 256 KiB, and the upload continues after them
/// (`performing-resumable-uploads`, "Resume an interrupted upload").
#[tokio::test]
async fn an_upload_that_is_reset_can_be_resumed() {
    let server = server();
    let url = start(&server, "object", "").await;
    let bytes = payload(1, 4 * QUANTUM);
    let range = format!("bytes 0-{}/{}", bytes.len() - 1, bytes.len());
    let reset = server.fail(GcsRule::new(GcsAction::ResetUpload { after: 2 * QUANTUM as u64 + 5 }));
    let headers = [("content-range", range.as_str())];
    try_send(&server, "PUT", &url, &headers, bytes.clone()).await.unwrap_err();
    assert_eq!(reset.count(), 1);
    assert_eq!(server.open_uploads()[0].persisted, 2 * QUANTUM as u64);
    let answer = put(&server, &url, "bytes */*", "").await;
    assert_eq!((answer.status, answer.header("range")), (308, "bytes=0-524287"));
    let range = format!("bytes 524288-{}/{}", bytes.len() - 1, bytes.len());
    assert_eq!(put(&server, &url, &range, bytes.slice(2 * QUANTUM..)).await.status, 200);
    assert!(server.contents(BUCKET, "object").unwrap() == bytes);
}

/// A client that stops waiting takes over the session with its next request. Later bytes of the first request are lost.
#[tokio::test]
async fn an_upload_that_stalls_can_be_taken_over() {
    let server = server();
    let url = start(&server, "object", "").await;
    let bytes = payload(1, 2 * QUANTUM);
    let stalled = server.fail(GcsRule::new(GcsAction::StallUpload { after: QUANTUM as u64 }));
    let waiting = put(&server, &url, "bytes 0-524287/524288", bytes.clone());
    timeout(SHORT, waiting).await.unwrap_err();
    assert_eq!(stalled.count(), 1);
    assert_eq!(put(&server, &url, "bytes */*", "").await.header("range"), "bytes=0-262143");
    let rest = bytes.slice(QUANTUM..);
    assert_eq!(put(&server, &url, "bytes 262144-524287/524288", rest).await.status, 200);
    assert!(server.contents(BUCKET, "object").unwrap() == bytes);
}

/// An interrupted upload in one request leaves nothing.
#[tokio::test]
async fn an_upload_in_one_request_that_is_reset_leaves_nothing() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=object");
    server.fail(GcsRule::new(GcsAction::ResetUpload { after: 99_999 }));
    try_send(&server, "POST", &target, &[], payload(1, 100_000)).await.unwrap_err();
    assert!(server.objects(BUCKET).is_empty());
    // The action does not apply to a body that is not longer.
    let missed = server.fail(GcsRule::new(GcsAction::ResetUpload { after: 100_000 }));
    assert_eq!(send(&server, "POST", &target, &[], payload(1, 100_000)).await.status, 200);
    assert_eq!(missed.count(), 0);
}

/// `performing-resumable-uploads`, "Check the status": a client that lost the last answer learns that the upload is complete.
#[tokio::test]
async fn an_answer_is_lost_of_what_is_done() {
    let server = server();
    let url = start(&server, "object", "&ifGenerationMatch=0").await;
    let lost = server.fail(GcsRule::new(GcsAction::LoseAnswer).on_call(GcsCall::UploadChunk));
    try_send(&server, "PUT", &url, &[], "hello").await.unwrap_err();
    assert_eq!((lost.count(), server.contents(BUCKET, "object").unwrap()), (1, Bytes::from("hello")));
    assert_eq!(put(&server, &url, "bytes */*", "").await.json()["size"], "5");
    assert_eq!(server.requests()[1].status(), None);

    let lost = server.fail(GcsRule::new(GcsAction::LoseAnswer).on_call(GcsCall::GetObject));
    rpc::connect(&server).await.get_object(rpc::get("object")).await.unwrap_err();
    assert_eq!(lost.count(), 1);
    rpc::connect(&server).await.get_object(rpc::get("object")).await.unwrap();
}

/// The object is published even if the client cannot read its description.
#[tokio::test]
async fn an_answer_cannot_be_read_of_what_is_done() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=object");
    let garbled = server.fail(GcsRule::new(GcsAction::GarbleAnswer));
    let answer = send(&server, "POST", &target, &[], "hello").await;
    assert_eq!((answer.status, answer.body[0], garbled.count()), (200, !b'{', 1));
    assert_eq!(answer.body[1..], send(&server, "GET", &object_url(), &[], "").await.body[1..]);
    for after in [0, 10] {
        let cut = server.fail(GcsRule::new(GcsAction::CutAnswer { after }));
        try_send(&server, "POST", &target, &[], "other").await.unwrap_err();
        assert_eq!((cut.count(), server.contents(BUCKET, "object").unwrap()), (1, Bytes::from("other")));
    }
    // The action does not apply to an answer that is not longer.
    let missed = server.fail(GcsRule::new(GcsAction::CutAnswer { after: 1 << 20 }));
    assert_eq!((send(&server, "POST", &target, &[], "last").await.status, missed.count()), (200, 0));
}

/// Requests of both protocols get no answer.
#[tokio::test]
async fn an_answer_never_comes_of_what_is_not_done() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=object");
    let stalled = server.fail(GcsRule::new(GcsAction::StallAnswer).times(2));
    timeout(SHORT, try_send(&server, "POST", &target, &[], "hello")).await.unwrap_err();
    let mut client = rpc::connect(&server).await;
    timeout(SHORT, client.get_object(rpc::get("object"))).await.unwrap_err();
    assert_eq!((stalled.count(), server.objects(BUCKET).len()), (2, 0));
}

/// Downloads end early, stall, or have a changed byte.
#[tokio::test]
async fn downloads_go_wrong_at_a_byte() {
    let server = server();
    let bytes = payload(1, 1_000_000);
    server.insert(BUCKET, "object", &bytes);
    for after in [0, 300_000, 999_999] {
        let reset = server.fail(GcsRule::new(GcsAction::ResetDownload { after }));
        download(&server).await.unwrap_err();
        assert_eq!(reset.count(), 1, "{after}");
        let stalled = server.fail(GcsRule::new(GcsAction::StallDownload { after }));
        timeout(SHORT, download(&server)).await.unwrap_err();
        assert_eq!(stalled.count(), 1, "{after}");
        let corrupted = server.fail(GcsRule::new(GcsAction::CorruptDownload { at: after }));
        let mut expected = bytes.to_vec();
        let at = usize::try_from(after).unwrap();
        expected[at] = !expected[at];
        assert!(download(&server).await.unwrap().body == expected, "{after}");
        assert_eq!(corrupted.count(), 1, "{after}");
        assert!(download(&server).await.unwrap().body == bytes, "{after}");
    }
    let missed = server.fail(GcsRule::new(GcsAction::ResetDownload { after: 1_000_000 }));
    assert_eq!((download(&server).await.unwrap().status, missed.count()), (200, 0));
}

/// Answers have a wrong CRC32C.
#[tokio::test]
async fn checksums_are_wrong() {
    let server = server();
    let wrong = || server.fail(GcsRule::new(GcsAction::WrongChecksum));
    let right = crc32c(b"hello");
    let url = start(&server, "object", "").await;
    let fired = wrong();
    let answer = send(&server, "PUT", &url, &[], "hello").await;
    assert_eq!((answer.json()["crc32c"] == right, fired.count()), (false, 1));
    let fired = wrong();
    let hash = download(&server).await.unwrap().header("x-goog-hash").to_owned();
    assert_eq!((hash.contains(&right), fired.count()), (false, 1));
    let fired = wrong();
    let mut client = rpc::connect(&server).await;
    let object = client.get_object(rpc::get("object")).await.unwrap().into_inner();
    let said = object.checksums.unwrap().crc32c;
    assert_eq!((said, fired.count()), (Some(!crc32c::crc32c(b"hello")), 1));
    assert!(download(&server).await.unwrap().header("x-goog-hash").contains(&right));
}

/// The log shows that a request has credentials, but not the credentials.
#[tokio::test]
async fn the_log_has_no_secrets() {
    let server = server();
    let (logged, mut reader) = (Shared::default(), Shared::default());
    reader.0 = std::sync::Arc::clone(&logged.0);
    server.log_to(logged);
    get(&server, &media("none"), &[("authorization", "Bearer secret"), ("range", "bytes=0-1")]).await;
    let request = server.take_requests().remove(0);
    assert!(request.is_authorized() && !format!("{request:?}").contains("secret"));
    assert_eq!(request.header("range"), Some("bytes=0-1"));
    assert!(server.requests().is_empty());
    let line = String::from_utf8(reader.0.lock().unwrap().clone()).unwrap();
    assert_eq!(line, "http GET /storage/v1/b/larder/o/none?alt=media [range: bytes=0-1] -> 404\n");
}

#[derive(Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
