//! `json_api/v1/objects/get` and `downloading-objects`.

use larder_testkit::payload;

use crate::client::{BUCKET, crc32c, get, send, server};

fn media(object: &str) -> String {
    format!("/storage/v1/b/{BUCKET}/o/{object}?alt=media")
}

/// `json_api/v1/objects/get`, "alt=media", and `xml-api/reference-headers`, "Response headers": the bytes, described by
/// headers.
#[tokio::test]
async fn a_download_has_the_bytes_and_their_headers() {
    let server = server();
    let bytes = payload(1, 3_000_000);
    let generation = server.insert(BUCKET, "a/b c", &bytes).to_string();
    let answer = get(&server, &media("a%2Fb%20c"), &[("accept-encoding", "gzip")]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == bytes);
    for (name, value) in [
        ("content-length", "3000000"),
        ("x-goog-generation", &generation),
        ("x-goog-metageneration", "1"),
        ("x-goog-stored-content-encoding", "identity"),
        ("x-goog-stored-content-length", "3000000"),
        ("x-goog-storage-class", "STANDARD"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let hash = answer.header("x-goog-hash");
    assert!(hash.starts_with(&format!("crc32c={},md5=", crc32c(&bytes))), "{hash}");

    let download = format!("/download/storage/v1/b/{BUCKET}/o/a%2Fb%20c?alt=media");
    assert!(get(&server, &download, &[]).await.body == bytes);
    server.insert(BUCKET, "empty", b"");
    let empty = get(&server, &media("empty"), &[]).await;
    assert_eq!((empty.status, empty.header("content-length"), &empty.body[..]), (200, "0", &b""[..]));
}

/// `json_api/v1/parameters#range`: 206 with the bytes and their range, or 416 if the range has no bytes.
#[tokio::test]
async fn a_range_gets_its_bytes() {
    let server = server();
    let bytes = payload(1, 3_000_000);
    server.insert(BUCKET, "object", &bytes);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-1048576", 5, 1_048_577),
        ("bytes=2999999-", 2_999_999, 3_000_000),
        ("bytes=2999999-9999999", 2_999_999, 3_000_000),
        ("bytes=-7", 2_999_993, 3_000_000),
    ] {
        let answer = get(&server, &media("object"), &[("range", range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/3000000", to - 1));
        assert_eq!(answer.header("content-length"), (to - from).to_string());
        assert_eq!(answer.header("x-goog-stored-content-length"), "3000000");
        assert!(answer.body == bytes[from..to], "{range}");
    }
    let answer = get(&server, &media("object"), &[("range", "bytes=3000000-")]).await;
    assert_eq!((answer.status, answer.header("content-range")), (416, "bytes */3000000"));
}

/// `json_api/v1/objects/get`, "generation": a replaced generation is not found, and neither is an object that never existed.
/// An answer to `alt=media` is text.
#[tokio::test]
async fn missing_objects_are_not_found() {
    let server = server();
    let old = server.insert(BUCKET, "object", b"old");
    let new = server.insert(BUCKET, "object", b"new");
    assert!(new > old);
    let pinned = |generation| format!("{}&generation={generation}", media("object"));
    assert_eq!(&get(&server, &pinned(new), &[]).await.body[..], b"new");
    for target in [pinned(old), media("none")] {
        let answer = get(&server, &target, &[]).await;
        assert_eq!(answer.status, 404, "{target}");
        assert!(answer.body.starts_with(b"No such object: larder/"), "{answer:?}");
    }
    for target in [format!("/storage/v1/b/{BUCKET}/o/none"), "/storage/v1/b/none/o/object".to_owned()] {
        let answer = get(&server, &target, &[]).await;
        assert_eq!((answer.status, answer.reason().as_str()), (404, "notFound"), "{target}");
    }
    assert_eq!(get(&server, "/storage/v1/b/none", &[]).await.reason(), "notFound");
    assert_eq!(get(&server, "/storage/v1/b/larder", &[]).await.json()["name"], "larder");
}

/// `json_api/v1/objects#resource`: 64-bit numbers are text, times are RFC 3339, hashes are base64.
#[tokio::test]
async fn metadata_are_a_resource() {
    let server = server();
    let generation = server.insert(BUCKET, "a/b", b"hello");
    let object = get(&server, &format!("/storage/v1/b/{BUCKET}/o/a%2Fb"), &[]).await.json();
    assert_eq!(object["kind"], "storage#object");
    assert_eq!(object["id"], format!("{BUCKET}/a/b/{generation}"));
    assert_eq!(object["generation"], generation.to_string());
    assert_eq!(object["size"], "5");
    assert_eq!(object["crc32c"], "mnG7TA==");
    assert_eq!(object["md5Hash"], "XUFAKrxLKna5cZ2REBfFkg==");
    let created = object["timeCreated"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
}

/// `transcoding`, "Decompressive transcoding": Google decompresses a gzip object for a client that does not accept gzip. This
/// server reports that as unsupported. A client that accepts gzip gets the stored bytes.
#[tokio::test]
async fn objects_stored_as_gzip_are_sent_unchanged_or_refused() {
    let server = server();
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=o&contentEncoding=gzip");
    send(&server, "POST", &target, &[], "packed").await;
    let answer = get(&server, &media("o"), &[("accept-encoding", "gzip")]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"packed"[..]));
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("x-goog-stored-content-encoding"), "gzip");
    assert_eq!(get(&server, &media("o"), &[]).await.status, 501);
}

/// `json_api/v1/objects/list` and `delete`.
#[tokio::test]
async fn listings_and_removals_work_over_http_too() {
    let server = server();
    for name in ["a/1", "a/2", "b"] {
        server.insert(BUCKET, name, b"");
    }
    let target = format!("/storage/v1/b/{BUCKET}/o?delimiter=%2F&maxResults=1");
    let first = get(&server, &target, &[]).await.json();
    assert_eq!((&first["prefixes"][0], first["items"].is_null()), (&"a/".into(), true));
    let token = first["nextPageToken"].as_str().unwrap();
    let second = get(&server, &format!("{target}&pageToken={token}"), &[]).await.json();
    assert_eq!((&second["items"][0]["name"], second["nextPageToken"].is_null()), (&"b".into(), true));
    let object = format!("/storage/v1/b/{BUCKET}/o/b");
    assert_eq!(send(&server, "DELETE", &object, &[], "").await.status, 204);
    assert_eq!(send(&server, "DELETE", &object, &[], "").await.status, 404);
}

/// The server reports an unsupported request as an error.
#[tokio::test]
async fn unsupported_requests_are_errors() {
    let server = server();
    let answer = send(&server, "POST", "/storage/v1/b/larder/o/a/rewriteTo/b/larder/o/b", &[], "").await;
    assert_eq!((answer.status, answer.reason().as_str()), (501, "notImplemented"));
}
