//! `resumable-uploads` and `performing-resumable-uploads`.

use larder_testkit::gcs::GcsCall;
use larder_testkit::payload;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{BUCKET, QUANTUM, crc32c, put, send, server, start};

/// `performing-resumable-uploads`, "Initiate a resumable upload session": the answer is 200 with the URL of the session in
/// `Location`, whatever name the client uses for the server.
#[tokio::test]
async fn a_session_has_an_address_at_the_server_itself() {
    let server = server();
    let url = start(&server, "a%2Fb%20c", "").await;
    assert!(url.starts_with(&format!("{}/upload/storage/v1/b/{BUCKET}/o?", server.endpoint())), "{url}");
    assert!(url.contains("&upload_id="), "{url}");
    let [upload] = &server.open_uploads()[..] else { panic!("one upload is open") };
    assert_eq!((upload.bucket.as_str(), upload.object.as_str(), upload.persisted), (BUCKET, "a/b c", 0));
    server.announce("http://proxy.example:1");
    assert!(start(&server, "other", "").await.starts_with("http://proxy.example:1/upload/"));
}

/// `performing-resumable-uploads`, "Multiple chunk upload": chunks are multiples of 256 KiB, with an unknown total. The
/// answer is 308 with the stored range. The answer to the last chunk is 200 with the object.
#[tokio::test]
async fn chunks_become_an_object_with_the_last_one() {
    let server = server();
    let url = start(&server, "object", "").await;
    let bytes = payload(1, 10 * QUANTUM + 7);
    for (from, to) in [(0, 4 * QUANTUM), (4 * QUANTUM, 10 * QUANTUM)] {
        let answer = put(&server, &url, &format!("bytes {from}-{}/*", to - 1), bytes.slice(from..to)).await;
        assert_eq!((answer.status, answer.header("range")), (308, format!("bytes=0-{}", to - 1).as_str()));
        assert_eq!(server.objects(BUCKET).len(), 0);
    }
    let range = format!("bytes {}-{}/{}", 10 * QUANTUM, bytes.len() - 1, bytes.len());
    let answer = put(&server, &url, &range, bytes.slice(10 * QUANTUM..)).await;
    assert_eq!(answer.status, 200);
    let object = answer.json();
    assert_eq!(object["size"], bytes.len().to_string());
    assert_eq!(object["crc32c"], crc32c(&bytes));
    assert_eq!(object["name"], "object");
    assert!(server.contents(BUCKET, "object").unwrap() == bytes);
    assert!(server.open_uploads().is_empty());
    assert_eq!(server.count(|request| request.call() == GcsCall::UploadChunk), 3);
}

/// `performing-resumable-uploads`, "Multiple chunk upload": each chunk but the last is a multiple of 256 KiB. A shorter
/// chunk is refused. Of a longer one, the server stores whole multiples.
#[tokio::test]
async fn chunks_are_multiples_of_256_kib() {
    let server = server();
    let url = start(&server, "object", "").await;
    let answer = put(&server, &url, "bytes 0-99/*", payload(1, 100)).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "invalid"));
    assert_eq!(put(&server, &url, "bytes */*", "").await.header("range"), "");
    let answer = put(&server, &url, &format!("bytes 0-{QUANTUM}/*"), payload(1, QUANTUM + 1)).await;
    assert_eq!((answer.status, answer.header("range")), (308, "bytes=0-262143"));
}

/// `performing-resumable-uploads`, "Check the status of a resumable upload": the answer to an empty PUT with `bytes */…` is
/// 308 with the stored range, if there is any. For a complete upload it is 200 with the object.
#[tokio::test]
async fn the_status_of_an_upload_can_be_asked_for() {
    let server = server();
    let url = start(&server, "object", "").await;
    for range in ["bytes */*", "bytes */300000"] {
        let answer = put(&server, &url, range, "").await;
        assert_eq!((answer.status, answer.headers.contains_key("range")), (308, false), "{range}");
    }
    let bytes = payload(1, 300_000);
    put(&server, &url, "bytes 0-262143/300000", bytes.slice(..QUANTUM)).await;
    for range in ["bytes */*", "bytes */300000"] {
        let answer = put(&server, &url, range, "").await;
        assert_eq!((answer.status, answer.header("range")), (308, "bytes=0-262143"), "{range}");
    }
    let done = put(&server, &url, "bytes 262144-299999/300000", bytes.slice(QUANTUM..)).await;
    for range in ["bytes */*", "bytes */300000"] {
        let answer = put(&server, &url, range, "").await;
        assert_eq!((answer.status, answer.json()), (200, done.json()), "{range}");
    }
    assert_eq!(server.count(|request| request.call() == GcsCall::QueryUpload), 6);
}

/// `performing-resumable-uploads`, "Single chunk upload": one PUT without `Content-Range` has all bytes. `bytes */N` completes
/// an empty object, and one that ends with a full chunk.
#[tokio::test]
async fn an_upload_may_come_at_once_and_end_without_bytes() {
    let server = server();
    let url = start(&server, "whole", "").await;
    assert_eq!(send(&server, "PUT", &url, &[], "all of it").await.status, 200);
    assert_eq!(server.contents(BUCKET, "whole").unwrap(), "all of it");

    let url = start(&server, "empty", "").await;
    assert_eq!(put(&server, &url, "bytes */0", "").await.json()["size"], "0");

    let url = start(&server, "full", "").await;
    assert_eq!(put(&server, &url, "bytes 0-262143/*", payload(1, QUANTUM)).await.status, 308);
    assert_eq!(put(&server, &url, "bytes */262144", "").await.json()["size"], "262144");

    // Google's client sends a stream of unknown length in this way.
    let url = start(&server, "stream", "").await;
    assert_eq!(put(&server, &url, "bytes 0-*/*", payload(2, 300_000)).await.status, 200);
    assert!(server.contents(BUCKET, "stream").unwrap() == payload(2, 300_000));
}

/// `resumable-uploads`, "Considerations": the server ignores bytes at an offset that it has stored, and refuses a gap.
#[tokio::test]
async fn bytes_that_are_kept_are_ignored_and_holes_refused() {
    let server = server();
    let url = start(&server, "object", "").await;
    let bytes = payload(1, 3 * QUANTUM);
    put(&server, &url, &format!("bytes 0-{}/*", 2 * QUANTUM - 1), bytes.slice(..2 * QUANTUM)).await;
    let hole = format!("bytes {}-{}/*", 3 * QUANTUM, 4 * QUANTUM - 1);
    let answer = put(&server, &url, &hole, payload(9, QUANTUM)).await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "invalid"));
    // The first of these bytes differ from the stored ones.
    let again = [&payload(9, QUANTUM)[..], &bytes[2 * QUANTUM..]].concat();
    let range = format!("bytes {}-{}/{}", QUANTUM, bytes.len() - 1, bytes.len());
    assert_eq!(put(&server, &url, &range, again).await.status, 200);
    assert!(server.contents(BUCKET, "object").unwrap() == bytes);
}

/// `resumable-uploads`, "Integrity checks": the server compares a hash in the last chunk's headers or in the metadata. If it
/// is wrong, the answer is 400, and no object is created.
#[tokio::test]
async fn a_wrong_checksum_makes_no_object() {
    let server = server();
    let (right, wrong) = (format!("crc32c={}", crc32c(b"hello")), format!("crc32c={}", crc32c(b"hallo")));
    for (name, hash, status) in [
        ("right", right.as_str(), 200),
        ("wrong", &wrong, 400),
        ("md5", "md5=XUFAKrxLKna5cZ2REBfFkg==", 200),
        ("bad-md5", "md5=XUFAKrxLKna5cZ2REBfFkQ==", 400),
    ] {
        let url = start(&server, name, "").await;
        let headers = [("content-range", "bytes 0-4/5"), ("x-goog-hash", hash)];
        let answer = send(&server, "PUT", &url, &headers, "hello").await;
        assert_eq!(answer.status, status, "{name}");
        if status == 400 {
            assert_eq!(answer.reason(), "invalid");
            // The session has ended.
            assert_eq!(put(&server, &url, "bytes */*", "").await.status, 400);
        }
    }
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=said");
    let metadata = format!(r#"{{"crc32c":"{}"}}"#, crc32c(b"hallo"));
    let url = send(&server, "POST", &target, &[], metadata).await.header("location").to_owned();
    assert_eq!(send(&server, "PUT", &url, &[], "hello").await.status, 400);
    let names: Vec<String> = server.objects(BUCKET).into_iter().map(|object| object.name).collect();
    assert_eq!(names, ["md5", "right"]);
    assert!(server.open_uploads().is_empty());
}

/// `performing-resumable-uploads`, "Cancel a resumable upload": the answer to DELETE is 499. Later requests get a 4xx status.
#[tokio::test]
async fn a_cancelled_upload_is_gone() {
    let server = server();
    let url = start(&server, "object", "").await;
    put(&server, &url, "bytes 0-262143/*", payload(1, QUANTUM)).await;
    assert_eq!(send(&server, "DELETE", &url, &[("content-length", "0")], "").await.status, 499);
    assert!(server.open_uploads().is_empty());
    assert_eq!(put(&server, &url, "bytes */*", "").await.status, 499);
    assert_eq!(put(&server, &url, "bytes 262144-262153/262154", payload(1, 10)).await.status, 499);
    assert!(server.objects(BUCKET).is_empty());
    let unknown = url.replace("upload_id=", "upload_id=0");
    let answer = put(&server, &unknown, "bytes */*", "").await;
    assert_eq!((answer.status, answer.reason().as_str()), (404, "notFound"));
}

/// `performing-resumable-uploads`, "Resume an interrupted upload": the upload continues at the reported offset. So later
/// bytes of an earlier request must not count.
#[tokio::test]
async fn an_abandoned_request_changes_nothing() {
    let server = server();
    let url = start(&server, "object", "").await;
    let bytes = payload(1, 2 * QUANTUM);
    let mut early = TcpStream::connect(server.address()).await.unwrap();
    let target = url.strip_prefix(&server.endpoint()).unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nContent-Range: bytes 0-524287/524288\r\n\r\n",
        bytes.len()
    );
    early.write_all(head.as_bytes()).await.unwrap();
    early.write_all(&bytes[..QUANTUM + 5]).await.unwrap();
    while server.open_uploads()[0].persisted == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(put(&server, &url, "bytes */*", "").await.header("range"), "bytes=0-262143");
    early.write_all(&bytes[QUANTUM + 5..]).await.unwrap();
    // The connection ends cleanly or with a reset, and the unread bytes are discarded.
    let answered = early.read(&mut [0; 1]).await;
    assert!(matches!(answered, Ok(0) | Err(_)), "{answered:?}");
    assert_eq!((server.objects(BUCKET).len(), server.open_uploads()[0].persisted), (0, QUANTUM as u64));
    let rest = bytes.slice(QUANTUM..);
    assert_eq!(put(&server, &url, "bytes 262144-524287/524288", rest).await.status, 200);
}

/// `performing-resumable-uploads`, "Initiate a resumable upload session": `X-Upload-Content-Type` and `-Length` describe the
/// content. The body of the request has the metadata of the object.
#[tokio::test]
async fn options_of_the_start_apply_at_the_end() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable");
    let headers = [("x-upload-content-type", "image/png"), ("x-upload-content-length", "5")];
    let metadata = r#"{"name":"a/b","metadata":{"mine":"yes"}}"#;
    let url = send(&server, "POST", &target, &headers, metadata).await.header("location").to_owned();
    assert_eq!(put(&server, &url, "bytes 0-5/6", "longer").await.status, 400);
    let object = put(&server, &url, "bytes 0-4/5", "right").await.json();
    assert_eq!(object["name"], "a/b");
    assert_eq!(object["contentType"], "image/png");
    assert_eq!(object["metadata"]["mine"], "yes");
    assert_eq!(object["bucket"], BUCKET);
}

/// `json_api/v1/status-codes`, "404—Not Found" and "400—Bad Request".
#[tokio::test]
async fn an_upload_needs_a_bucket_and_a_name() {
    let server = server();
    let answer =
        send(&server, "POST", "/upload/storage/v1/b/none/o?uploadType=resumable&name=a", &[], "").await;
    assert_eq!((answer.status, answer.reason().as_str()), (404, "notFound"));
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable");
    let answer = send(&server, "POST", &target, &[], "{}").await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "required"));
    let answer = send(&server, "POST", &target, &[], "{").await;
    assert_eq!((answer.status, answer.reason().as_str()), (400, "parseError"));
}
