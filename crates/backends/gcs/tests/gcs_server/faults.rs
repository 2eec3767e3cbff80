//! Faults of the connection and of the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_backend::{Backend as _, BackendExt as _, Error, ErrorKind, PutMode};
use larder_backend_gcs::GcsBackend;
use larder_testkit::gcs::{GcsAction, GcsCall, GcsFailure, GcsRule, GcsServer};
use larder_testkit::payload;
use larder_testkit::proxy::{Direction, LinkFault, LinkShape, TcpProxy};
use libtest_mimic::Failed;

use crate::server::{CHUNK, config_at, config_behind, config_of, explained, key, put, put_with, read, start};
use crate::trial::Outcome;

/// The no-progress timeout.
const PATIENCE: Duration = Duration::from_secs(3);
/// An upper bound that only a very busy machine exceeds.
const SLACK: Duration = Duration::from_secs(15);

const SIZE: usize = 3 * CHUNK + 17;

/// Bytes of a connection after which something happens to it: in the head of a request, at its end, in the first chunk,
/// at the edges of chunks, and late.
const OFFSETS: [u64; 6] = [0, 1, 700, 300_000, CHUNK as u64 + 600, 2 * CHUNK as u64 + 1];

type MakeFault = fn(Direction, u64) -> LinkFault;
const FAULTS: [(&str, MakeFault); 3] =
    [("cut", LinkFault::cut_after), ("reset", LinkFault::reset_after), ("stall", LinkFault::stall_after)];

/// Starts a proxy that injects faults, and a remote behind it.
fn behind(server: &GcsServer) -> Result<(TcpProxy, GcsBackend), Failed> {
    let (proxy, config) = config_behind(server)?;
    Ok((proxy, GcsBackend::new(config.with_stall_timeout(Some(PATIENCE)))))
}

pub(crate) async fn an_upload_survives_a_fault_of_the_link() -> Outcome {
    one_fault_is_survived(Direction::Up, true).await
}

pub(crate) async fn an_upload_survives_a_fault_of_the_answer() -> Outcome {
    one_fault_is_survived(Direction::Down, true).await
}

pub(crate) async fn a_download_survives_a_fault_of_the_link() -> Outcome {
    one_fault_is_survived(Direction::Down, false).await
}

async fn one_fault_is_survived(direction: Direction, upload: bool) -> Outcome {
    let bytes = payload(1, SIZE);
    for (what, fault) in FAULTS {
        for offset in OFFSETS {
            // The answers to an upload are short.
            if upload && direction == Direction::Down && offset > 1000 {
                continue;
            }
            let server = start()?;
            let (proxy, backend) = behind(&server)?;
            let wrong =
                |error: Error| -> Failed { format!("{what} at {offset}: {}", explained(&error)).into() };
            if !upload {
                put(&backend, "a/c/h", bytes.clone()).await?;
            }
            let fired = proxy.inject(fault(direction, offset).in_total());
            if upload {
                put(&backend, "a/c/h", bytes.clone()).await.map_err(wrong)?;
            }
            let came = read(&backend, "a/c/h").await.map_err(wrong)?;
            assert!(came == bytes, "{what} at {offset}: the bytes are others");
            assert_eq!(fired.count(), 1, "{what} at {offset} did not happen");
            backend.close().await?;
        }
    }
    Ok(())
}

fn assert_failed_in_time(error: &Error, started: Instant, what: &str, offset: u64) {
    let said = explained(error);
    assert!(
        matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable),
        "{what} at {offset}: {said}"
    );
    assert!(said.contains("check the network"), "{said}");
    assert!(started.elapsed() < PATIENCE + SLACK, "{what} at {offset}: {:?}", started.elapsed());
}

pub(crate) async fn a_permanent_fault_ends_an_upload_in_time() -> Outcome {
    for (what, fault) in FAULTS {
        for offset in [0, 300_000] {
            let server = start()?;
            let (proxy, backend) = behind(&server)?;
            // The link stays dead after the fault. If only each connection broke there, the upload would continue a little.
            let fired = proxy.inject(fault(Direction::Up, offset).in_total().always());
            let started = Instant::now();
            let error = put(&backend, "a/c/h", payload(1, SIZE)).await.err().ok_or("it was published")?;
            assert_failed_in_time(&error, started, what, offset);
            assert!(fired.count() > 1, "{what} at {offset}: it was not tried again");
            backend.close().await?;
            assert_eq!(server.objects(crate::server::BUCKET), [], "{what} at {offset}: half an object");
        }
    }
    Ok(())
}

pub(crate) async fn a_permanent_fault_ends_a_download_in_time() -> Outcome {
    let server = start()?;
    put(&GcsBackend::new(config_of(&server)), "a/c/h", payload(1, 10 << 20)).await?;
    for (what, fault) in FAULTS {
        for offset in [0, 300_000, 9_000_000] {
            let (proxy, backend) = behind(&server)?;
            proxy.inject(fault(Direction::Down, offset).in_total().always());
            let started = Instant::now();
            let error = read(&backend, "a/c/h").await.err().ok_or("all of it came")?;
            assert_failed_in_time(&error, started, what, offset);
        }
    }
    // The same over the other protocol.
    for (what, fault) in FAULTS {
        let proxy = TcpProxy::start(server.grpc_address())?;
        let config = config_at(&server.endpoint(), &format!("http://{}", proxy.address()));
        let backend = GcsBackend::new(config.with_stall_timeout(Some(PATIENCE)));
        proxy.inject(fault(Direction::Down, 0).always());
        let started = Instant::now();
        let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
        assert_failed_in_time(&error, started, what, 0);
    }
    Ok(())
}

pub(crate) async fn a_server_that_asks_for_a_pause_gets_it() -> Outcome {
    let calls = [
        GcsCall::StartUpload,
        GcsCall::UploadChunk,
        GcsCall::ReadObject,
        GcsCall::GetObject,
        GcsCall::InsertObject,
    ];
    let failures: [fn() -> GcsFailure; 2] = [GcsFailure::too_many_requests, GcsFailure::unavailable];
    for failure in failures {
        for call in calls {
            let server = start()?;
            let backend = GcsBackend::new(config_of(&server));
            let fired = server.fail(GcsRule::new(failure().retry_after(1)).on_call(call).times(2));
            let started = Instant::now();
            put(&backend, "a/c/large", payload(1, SIZE)).await?;
            put(&backend, "a/c/small", payload(1, 10)).await?;
            backend.stat(&key("a/c/large")?).await?;
            assert!(read(&backend, "a/c/large").await? == payload(1, SIZE));
            assert_eq!(fired.count(), 2, "{call:?}");
            if call != GcsCall::GetObject {
                // The server has sent Retry-After.
                assert!(started.elapsed() >= Duration::from_secs(2), "{call:?}: {:?}", started.elapsed());
            }
        }
    }
    Ok(())
}

pub(crate) async fn a_lost_answer_does_not_lose_the_object() -> Outcome {
    for (size, call, after) in [
        (10, GcsCall::InsertObject, 0),
        (SIZE, GcsCall::StartUpload, 0),
        (SIZE, GcsCall::UploadChunk, 0),
        (SIZE, GcsCall::UploadChunk, 3),
    ] {
        let server = start()?;
        let backend = GcsBackend::new(config_of(&server));
        let fired = server.fail(GcsRule::new(GcsAction::LoseAnswer).on_call(call).after(after));
        let meta = put(&backend, "a/c/h", payload(1, size)).await?;
        assert_eq!((meta.size, fired.count()), (size as u64, 1), "{call:?}");
        assert!(read(&backend, "a/c/h").await? == payload(1, size));
        backend.close().await?;
    }
    Ok(())
}

pub(crate) async fn an_unreadable_answer_does_not_lose_the_object() -> Outcome {
    let damages =
        [GcsAction::GarbleAnswer, GcsAction::CutAnswer { after: 0 }, GcsAction::CutAnswer { after: 50 }];
    for damage in damages {
        for mode in [PutMode::CreateOnly, PutMode::Overwrite] {
            for (size, call) in [(10, GcsCall::InsertObject), (SIZE, GcsCall::UploadChunk)] {
                let server = start()?;
                let backend = GcsBackend::new(config_of(&server));
                // Every answer that publishes an object is damaged, so a retry does not help.
                let fired =
                    server.fail(GcsRule::new(damage.clone()).on(move |it| it.call() == call).always());
                let meta = put_with(&backend, "a/c/h", payload(1, size), mode).await?;
                assert_eq!(meta.size, size as u64, "{damage:?} {call:?}");
                assert_eq!(meta.version, backend.stat(&key("a/c/h")?).await?.version, "{damage:?} {call:?}");
                assert!(read(&backend, "a/c/h").await? == payload(1, size));
                assert_eq!(fired.count(), 1, "{damage:?} {call:?}");
                backend.close().await?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn an_unreadable_answer_does_not_claim_the_object_of_another() -> Outcome {
    for size in [10, SIZE] {
        let server = Arc::new(start()?);
        let backend = GcsBackend::new(config_of(&server));
        server.fail(GcsRule::new(GcsAction::GarbleAnswer).always());
        // Another client replaces the object at once, with other bytes of the same length.
        let weak = Arc::downgrade(&server);
        server.fail(GcsRule::new(GcsFailure::unavailable()).on(move |it| {
            if let (GcsCall::GetObject, Some(server)) = (it.call(), weak.upgrade()) {
                server.insert(crate::server::BUCKET, "some/prefix/a/c/h", &payload(2, size));
            }
            false
        }));
        let error = put(&backend, "a/c/h", payload(1, size)).await.err().ok_or("it was published")?;
        assert!(explained(&error).contains("cannot be read"), "{}", explained(&error));
        assert!(read(&backend, "a/c/h").await? == payload(2, size), "another's object was removed");
    }
    Ok(())
}

pub(crate) async fn a_lost_answer_does_not_claim_the_object_of_another() -> Outcome {
    let server = start()?;
    let backend = GcsBackend::new(config_of(&server));
    // Another client has published other bytes of the same length, and then an answer is lost.
    server.insert(crate::server::BUCKET, "some/prefix/a/c/h", &payload(2, 10));
    server.fail(GcsRule::new(GcsAction::LoseAnswer).on_call(GcsCall::InsertObject));
    let error = put(&backend, "a/c/h", payload(1, 10)).await.err().ok_or("it was published")?;
    assert!(error.is_already_exists(), "{}", explained(&error));
    assert_eq!(read(&backend, "a/c/h").await?, payload(2, 10));
    Ok(())
}

pub(crate) async fn a_slow_link_is_not_stalled() -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(6);
    // Much more than the buffers of the system.
    const LARGE: usize = 16 << 20;
    let server = start()?;
    let (proxy, config) = config_behind(&server)?;
    let backend = GcsBackend::new(config.with_chunk_size(LARGE).with_stall_timeout(Some(PATIENCE)));
    // One request takes longer than the timeout, and fails near its end.
    proxy.shape(LinkShape::default().one_way(Direction::Up, LARGE as u64 / 8));
    let fired = proxy.inject(LinkFault::reset_after(Direction::Up, LARGE as u64 - 1_000_000).in_total());
    let bytes = payload(1, LARGE + 10);
    let started = Instant::now();
    put(&backend, "a/c/h", bytes.clone()).await?;
    assert_eq!(fired.count(), 1);
    assert!(started.elapsed() > PATIENCE, "the link was not slow");
    proxy.shape(LinkShape::default());
    assert!(read(&backend, "a/c/h").await? == bytes);
    Ok(())
}

pub(crate) async fn bytes_damaged_in_transit_are_not_published() -> Outcome {
    for (size, call) in [(10, GcsCall::InsertObject), (SIZE, GcsCall::UploadChunk)] {
        let server = start()?;
        let backend = GcsBackend::new(config_of(&server).with_stall_timeout(Some(PATIENCE)));
        server
            .fail(GcsRule::new(GcsAction::WrongChecksum).on(move |request| request.call() == call).always());
        let error = put(&backend, "a/c/h", payload(1, size)).await.err().ok_or("it was published")?;
        assert_eq!(error.kind(), ErrorKind::Integrity, "{}", explained(&error));
        assert!(backend.stat_if_exists(&key("a/c/h")?).await?.is_none(), "{call:?}");
    }
    Ok(())
}
