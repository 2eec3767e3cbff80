//! The number of requests of an operation, and their contents.

use std::time::Duration;

use bytes::Bytes;
use larder_backend::{
    Backend as _, DeleteOptions, ErrorKind, ListOptions, Prefix, PutMode, PutOptions, Upload,
};
use larder_backend_gcs::GcsBackend;
use larder_testkit::gcs::{GcsCall, GcsFailure, GcsRule, GcsServer};
use larder_testkit::payload;
use larder_testkit::proxy::LinkShape;
use libtest_mimic::Failed;

use futures::TryStreamExt as _;

use crate::server::{BUCKET, CHUNK, config_behind, config_of, explained, key, put, read, start};
use crate::trial::Outcome;

/// Returns the calls since the last query.
fn calls(server: &GcsServer) -> Vec<GcsCall> {
    server.take_requests().iter().map(larder_testkit::gcs::GcsRequest::call).collect()
}

pub(crate) async fn looking_at_an_object_is_one_request() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    assert!(backend.stat(&key("a/c/h")?).await.is_err_and(|error| error.is_not_found()));
    assert_eq!(calls(&server), [GcsCall::GetObject]);
    server.insert(BUCKET, "some/prefix/a/c/h", b"bytes");
    assert_eq!(backend.stat(&key("a/c/h")?).await?.size, 5);
    assert_eq!(calls(&server), [GcsCall::GetObject]);
    Ok(())
}

pub(crate) async fn a_small_object_takes_one_request_each_way() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    put(&backend, "a/c/h", payload(1, CHUNK)).await?;
    assert_eq!(calls(&server), [GcsCall::InsertObject]);
    assert_eq!(read(&backend, "a/c/h").await?, payload(1, CHUNK));
    assert_eq!(calls(&server), [GcsCall::ReadObject]);
    Ok(())
}

pub(crate) async fn a_large_object_goes_in_chunks_and_comes_by_ranges() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    let bytes = payload(1, 20 * CHUNK + 1);
    put(&backend, "a/c/h", bytes.clone()).await?;
    let mut expected = vec![GcsCall::StartUpload];
    expected.extend([GcsCall::UploadChunk; 21]);
    assert_eq!(calls(&server), expected);
    assert!(read(&backend, "a/c/h").await? == bytes, "the bytes are others");
    // Each has 8 MiB.
    assert_eq!(calls(&server), [GcsCall::ReadObject; 3]);
    Ok(())
}

pub(crate) async fn a_far_server_gets_larger_chunks() -> Outcome {
    const SIZE: usize = 160 << 20;
    let server = start()?;
    let (proxy, mut config) = config_behind(&server)?;
    config.chunk_size = None;
    proxy.shape(LinkShape::default().round_trip(Duration::from_millis(100)));
    put(&GcsBackend::new(config), "a/c/h", vec![1; SIZE].into()).await?;
    let chunks = calls(&server).iter().filter(|call| **call == GcsCall::UploadChunk).count();
    // The first one measures the round trip. The others have up to 32 MiB each.
    assert!((6..=8).contains(&chunks), "{chunks} chunks");
    Ok(())
}

/// Writes this many bytes of a larger expected size.
async fn begin_large(backend: &GcsBackend, size: usize) -> Result<Box<dyn Upload>, Failed> {
    let options = PutOptions::new(PutMode::CreateOnly).with_size_hint(1 << 30);
    let mut upload = backend.begin_put(&key("a/c/h")?, options).await?;
    for part in payload(1, size).chunks(100_000) {
        upload.write(Bytes::copy_from_slice(part)).await?;
    }
    Ok(upload)
}

pub(crate) async fn an_object_may_be_much_smaller_than_expected() -> Outcome {
    for (size, requests) in [
        (0, &[GcsCall::InsertObject][..]),
        (1, &[GcsCall::StartUpload, GcsCall::UploadChunk]),
        (900_000, &[GcsCall::StartUpload, GcsCall::UploadChunk]),
    ] {
        let server = start()?;
        let mut config = config_of(&server);
        config.chunk_size = None;
        let backend = GcsBackend::new(config);
        begin_large(&backend, size).await?.commit().await?;
        assert_eq!(calls(&server), requests, "{size} bytes");
        assert!(read(&backend, "a/c/h").await? == payload(1, size), "{size} bytes");
    }
    Ok(())
}

pub(crate) async fn an_upload_that_is_dropped_while_it_begins_is_aborted() -> Outcome {
    for is_dropped in [true, false] {
        let server = start()?;
        let (proxy, config) = config_behind(&server)?;
        // The answer is in transit when the upload is dropped.
        proxy.shape(LinkShape::default().round_trip(Duration::from_millis(400)));
        let backend = GcsBackend::new(config);
        let upload = begin_large(&backend, 10).await?;
        while server.open_uploads().is_empty() {
            tokio::task::yield_now().await;
        }
        if is_dropped {
            drop(upload);
        } else {
            upload.abort().await?;
        }
        backend.close().await?;
        assert!(server.open_uploads().is_empty(), "{:?}", calls(&server));
        assert!(backend.stat(&key("a/c/h")?).await.is_err_and(|error| error.is_not_found()));
    }
    Ok(())
}

pub(crate) async fn a_refused_start_of_an_upload_is_reported() -> Outcome {
    let server = start()?;
    server.fail(GcsRule::new(GcsFailure::permission_denied()).on_call(GcsCall::StartUpload).always());
    let backend = GcsBackend::new(config_of(&server));
    let error = begin_large(&backend, 10).await?.commit().await.err().ok_or("it was published")?;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(backend.stat(&key("a/c/h")?).await.is_err_and(|error| error.is_not_found()));
    Ok(())
}

pub(crate) async fn getting_ready_takes_no_request() -> Outcome {
    let server = start()?;
    GcsBackend::new(config_of(&server)).get_ready().await?;
    assert_eq!(calls(&server), []);
    Ok(())
}

pub(crate) async fn permission_to_create_is_checked_without_an_upload() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    let key = key("a/c/h")?;
    backend.check_put(&key).await?;
    assert_eq!(calls(&server), [GcsCall::TestPermissions]);

    // An emulator may lack this request.
    for status in [404, 501] {
        let absent = GcsFailure::new(status, "", "Not Found");
        server.fail(GcsRule::new(absent).on_call(GcsCall::TestPermissions));
        backend.check_put(&key).await?;
        assert_eq!(calls(&server), [GcsCall::TestPermissions]);
    }

    // A condition grants the permission for the names of this remote only.
    server.restrict_creation("some/prefix/");
    backend.check_put(&key).await?;
    assert_eq!(calls(&server), [GcsCall::TestPermissions, GcsCall::StartUpload, GcsCall::CancelUpload]);

    server.restrict_creation("some/other/");
    let denied = backend.check_put(&key).await.err().ok_or("it is allowed")?;
    assert_eq!(calls(&server), [GcsCall::TestPermissions, GcsCall::StartUpload]);
    let refused = put(&backend, "a/c/h", payload(1, CHUNK + 1)).await.err().ok_or("it was published")?;
    assert_eq!((denied.kind(), explained(&denied)), (ErrorKind::PermissionDenied, explained(&refused)));
    assert!(server.open_uploads().is_empty());
    assert!(server.objects(BUCKET).is_empty());
    Ok(())
}

pub(crate) async fn a_listing_takes_a_request_for_each_page() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    for number in 0..1_001 {
        server.insert(BUCKET, &format!("some/prefix/a/c/{number}"), b"x");
    }
    server.insert(BUCKET, "some/prefixed/a/c/other", b"x");
    let listed: Vec<_> = backend.list(&Prefix::parse("a/c/")?, ListOptions::default()).try_collect().await?;
    assert_eq!(listed.len(), 1_001);
    assert_eq!(calls(&server), [GcsCall::ListObjects; 2]);
    let listed: Vec<_> =
        backend.list(&Prefix::root(), ListOptions::default().with_delimiter()).try_collect().await?;
    assert_eq!(listed.len(), 1);
    assert_eq!(calls(&server), [GcsCall::ListObjects]);
    Ok(())
}

pub(crate) async fn sweeping_takes_no_request() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    backend.sweep(&[]).await?;
    backend.close().await?;
    assert_eq!(calls(&server), []);
    Ok(())
}

pub(crate) async fn objects_are_bytes_without_an_encoding() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    put(&backend, "a/c/small", payload(1, 10)).await?;
    put(&backend, "a/c/large", payload(1, CHUNK + 10)).await?;
    for object in server.objects(BUCKET) {
        assert_eq!(object.content_type.as_deref(), Some("application/octet-stream"), "{object:?}");
        assert_eq!(object.content_encoding, None, "{object:?}");
    }
    let checked = |call| {
        let requests = server.requests();
        requests
            .iter()
            .filter(|request| request.call() == call)
            .any(|request| request.header("x-goog-hash").is_some_and(|hash| hash.starts_with("crc32c=")))
    };
    assert!(checked(GcsCall::InsertObject) && checked(GcsCall::UploadChunk), "no checksum is sent");
    Ok(())
}

pub(crate) async fn anonymous_requests_send_no_credentials() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    put(&backend, "a/c/h", payload(1, CHUNK + 1)).await?;
    read(&backend, "a/c/h").await?;
    backend.delete(&key("a/c/h")?, DeleteOptions::default()).await?;
    assert_eq!(server.count(larder_testkit::gcs::GcsRequest::is_authorized), 0);
    Ok(())
}
