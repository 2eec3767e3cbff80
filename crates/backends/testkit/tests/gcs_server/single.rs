//! `uploading-objects`: uploads in one request.

use larder_testkit::payload;

use crate::client::{BUCKET, crc32c, send, server};

/// `json_api/v1/objects/insert`, "uploadType=media": bytes only, and the name in the query.
#[tokio::test]
async fn media_brings_bytes_only() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=a%2Fb%3F+c");
    let bytes = payload(1, 3_000_000);
    let answer = send(&server, "POST", &target, &[("content-type", "text/plain")], bytes.clone()).await;
    assert_eq!(answer.status, 200);
    let object = answer.json();
    assert_eq!((&object["kind"], &object["name"]), (&"storage#object".into(), &"a/b? c".into()));
    assert_eq!((&object["contentType"], &object["size"]), (&"text/plain".into(), &"3000000".into()));
    assert_eq!(object["metageneration"], "1");
    assert!(server.contents(BUCKET, "a/b? c").unwrap() == bytes);
    let wrong = format!("crc32c={}", crc32c(b"other"));
    assert_eq!(send(&server, "POST", &target, &[("x-goog-hash", &wrong)], bytes).await.status, 400);
}

fn body(boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, bytes) in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

const JSON: &str = "Content-Type: application/json; charset=UTF-8";

/// `uploading-objects`, "multipart upload": the first part is the metadata, and the second part is the bytes. The bytes may
/// contain text that looks like a boundary.
#[tokio::test]
async fn multipart_brings_metadata_and_bytes() {
    let server = server();
    let tricky = b"\r\n--boundar\r\n--\r\n\r\n--boundarx".repeat(50_000);
    for (name, bytes) in
        [("empty", Vec::new()), ("tricky", tricky), ("large", payload(1, 3_000_000).to_vec())]
    {
        let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart&name={name}");
        let metadata = format!(r#"{{"contentType":"image/png","crc32c":"{}"}}"#, crc32c(&bytes));
        let parts: [(&str, &[u8]); 2] = [(JSON, metadata.as_bytes()), ("Content-Type: text/plain", &bytes)];
        let headers = [("content-type", "multipart/related; boundary=boundary")];
        let answer = send(&server, "POST", &target, &headers, body("boundary", &parts)).await;
        assert_eq!((answer.status, &answer.json()["contentType"]), (200, &"image/png".into()), "{name}");
        assert!(server.contents(BUCKET, name).unwrap() == bytes, "{name}");
    }
}

/// `json_api/v1/objects#resource`, `crc32c`: the server compares a checksum in the metadata, or in the third part that
/// Google's client sends after the bytes.
#[tokio::test]
async fn multipart_compares_checksums() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=multipart&name=object");
    let headers = [("content-type", r#"multipart/related; boundary="b""#)];
    let (right, wrong) = (
        format!(r#"{{"crc32c":"{}"}}"#, crc32c(b"hello")).into_bytes(),
        format!(r#"{{"crc32c":"{}"}}"#, crc32c(b"hallo")).into_bytes(),
    );
    let media: (&str, &[u8]) = ("Content-Type: application/octet-stream", b"hello");
    for (parts, status) in [
        (&[(JSON, &wrong[..]), media][..], 400),
        (&[(JSON, b"{}"), media, (JSON, &wrong)], 400),
        (&[(JSON, b"{}"), media, (JSON, &right)], 200),
        (&[(JSON, &right), media], 200),
        (&[(JSON, &right)], 400),
    ] {
        server.remove(BUCKET, "object");
        let answer = send(&server, "POST", &target, &headers, body("b", parts)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(server.objects(BUCKET).len(), usize::from(status == 200));
    }
    assert_eq!(send(&server, "POST", &target, &[], body("b", &[media])).await.reason(), "badRequest");
}
