//! The requests of uploads.

use futures::TryStreamExt as _;
use larder_backend::{Backend as _, BackendExt as _, ErrorKind, GetOptions, PutOptions};
use larder_backend_s3::S3Backend;
use larder_testkit::payload;
use larder_testkit::proxy::{HttpProxy, HttpRequest, HttpRule, Reply};

use crate::server::{PART_SIZE, Server, key, put, put_with};
use crate::trial::Outcome;

/// A part above 64 MiB is kept in a file.
const SPOOLED: usize = 65 * 1024 * 1024;

pub(crate) async fn parts_that_are_kept_in_files_arrive() -> Outcome {
    let server = Server::required()?;
    let backend = S3Backend::new(server.config(&server.prefix()).with_part_size(SPOOLED));
    let small = payload(1, 100_000);
    put(&backend, "a/c/small", small.clone()).await?;
    assert!(backend.get_bytes(&key("a/c/small")?, GetOptions::default(), usize::MAX).await? == small);
    let large = payload(2, SPOOLED + 1_000);
    put(&backend, "a/c/large", large.clone()).await?;
    let mut stream = backend.get(&key("a/c/large")?, GetOptions::default()).await?.stream;
    let mut at = 0;
    while let Some(bytes) = stream.try_next().await? {
        assert!(large[at..].starts_with(&bytes), "the bytes are others behind {at}");
        at += bytes.len();
    }
    assert_eq!(at, large.len());
    Ok(())
}

pub(crate) async fn all_parts_but_the_last_have_one_size() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = server.through(&proxy.url());
    put(&backend, "a/c/h", payload(1, 4 * PART_SIZE - 1)).await?;
    let part = |request: &HttpRequest| {
        let number = request.query()?.split('&').find_map(|pair| pair.strip_prefix("partNumber="))?;
        Some((number.parse::<u32>().ok()?, request.header("content-length")?.parse::<usize>().ok()?))
    };
    let mut parts: Vec<_> = proxy.requests().iter().filter_map(part).collect();
    parts.sort_unstable();
    assert_eq!(parts, [(1, PART_SIZE), (2, PART_SIZE), (3, PART_SIZE), (4, PART_SIZE - 1)]);
    Ok(())
}

pub(crate) async fn every_byte_is_covered_by_a_checksum() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = server.through(&proxy.url());
    put(&backend, "a/c/small", payload(1, 100)).await?;
    put(&backend, "a/c/large", payload(1, 2 * PART_SIZE)).await?;
    let with_bytes = |request: &HttpRequest| request.method() == "PUT";
    let all = proxy.count(with_bytes);
    let covered = proxy.count(|it| with_bytes(it) && it.header("x-amz-checksum-crc32").is_some());
    assert_eq!((all, covered), (5, 5), "the probe twice, a small object, and two parts");
    let begun = |it: &HttpRequest| it.has_query("uploads");
    assert_eq!(proxy.count(|it| begun(it) && it.header("x-amz-checksum-algorithm") == Some("CRC32")), 1);
    // The server refuses bytes that were damaged in transit, and they are sent again.
    let bad = Reply::new(400)
        .header("content-type", "application/xml")
        .body("<Error><Code>XAmzContentChecksumMismatch</Code><Message>no</Message></Error>");
    let fired = proxy.add(HttpRule::new(bad).on(|it| it.path().ends_with("/again")));
    put(&backend, "a/c/again", payload(1, 100)).await?;
    assert_eq!(fired.count(), 1);
    Ok(())
}

pub(crate) async fn options_reach_the_server() -> Outcome {
    const OPTIONS: [(&str, &str, &str); 4] = [
        ("storage_class", "STANDARD_IA", "x-amz-storage-class"),
        ("sse", "aws:kms", "x-amz-server-side-encryption"),
        ("sse_kms_key_id", "a-key", "x-amz-server-side-encryption-aws-kms-key-id"),
        ("request_payer", "requester", "x-amz-request-payer"),
    ];
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    // A server that ignores checksums accepts what MinIO refuses.
    let answer = "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>";
    let is_create = |request: &HttpRequest| request.has_query("uploads");
    proxy.add(HttpRule::new(Reply::new(200).body(answer)).on(is_create).always());
    proxy.add(HttpRule::new(Reply::new(200).header("etag", "\"1\"")).on(|it| it.method() == "PUT").always());
    proxy.add(HttpRule::new(Reply::new(204)).on(|it| it.method() == "DELETE").always());
    let mut config = server.config_at(&server.prefix(), &proxy.url());
    config.options.storage_class = Some("STANDARD_IA".into());
    config.options.sse = Some("aws:kms".into());
    config.options.sse_kms_key_id = Some("a-key".into());
    config.options.request_payer = true;
    let backend = S3Backend::new(config);
    put_with(&backend, "a/c/small", payload(1, 10), PutOptions::default()).await?;
    let mut large = backend.begin_put(&key("a/c/large")?, PutOptions::default()).await?;
    large.write(payload(1, PART_SIZE + 1)).await?;
    large.abort().await?;
    let requests = proxy.requests();
    let is_small = |it: &HttpRequest| it.method() == "PUT" && it.path().ends_with("/small");
    let with_options: Vec<_> = requests.iter().filter(|it| is_create(it) || is_small(it)).collect();
    assert_eq!(with_options.len(), 2);
    for request in with_options {
        for (name, given, header) in OPTIONS {
            assert_eq!(request.header(header), Some(given), "{name}");
        }
        assert_eq!(request.header("content-type"), Some("application/octet-stream"));
        assert_eq!(request.header("content-encoding"), None);
    }
    Ok(())
}

pub(crate) async fn an_anonymous_request_is_not_signed() -> Outcome {
    let server = Server::required()?;
    let mut config = server.config(&server.prefix());
    config.options.anonymous = true;
    let backend = S3Backend::new(config);
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("a private bucket was read")?;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(backend.stat_if_exists(&key("a/c/h")?).await.is_err(), "a denial is no miss");
    Ok(())
}
