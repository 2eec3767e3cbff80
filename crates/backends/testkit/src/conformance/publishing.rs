//! Tests of publication: an incomplete object is invisible, and one of several creators wins.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{join_all, poll_immediate};
use futures::{StreamExt, stream};
use larder_backend::{BackendExt, ErrorKind, PutMode, PutOptions};
use libtest_mimic::Completion;

use crate::conformance::context::{TestContext, key, put};
use crate::conformance::{DONE, TestOutcome};
use crate::payload::payload;

pub(super) async fn nothing_is_visible_before_the_commit(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let bytes = payload(1, cx.features.begun);
    let mut upload = cx.backend.begin_put(&key, PutOptions::default()).await?;
    cx.assert_invisible(&key).await?;
    upload.write(bytes.clone()).await?;
    cx.assert_invisible(&key).await?;
    upload.write("the end".into()).await?;
    cx.assert_invisible(&key).await?;
    upload.commit().await?;
    assert_eq!(cx.backend.stat(&key).await?.size, bytes.len() as u64 + 7);
    DONE
}

pub(super) async fn a_second_creator_is_refused(cx: TestContext) -> TestOutcome {
    if !cx.backend.capabilities().atomic_create {
        return Ok(Completion::ignored_with("this remote has no atomic create"));
    }
    let key = key("a/c/h")?;
    let small = Bytes::from_static(b"first");
    cx.put(&key, small.clone()).await?;
    for bytes in [Bytes::from_static(b"other"), payload(2, cx.features.begun), Bytes::new()] {
        let error = cx.put(&key, bytes).await.err().ok_or("the second creator succeeded")?;
        assert!(error.is_already_exists(), "{error}");
        assert_eq!(error.location(), format!("{}/{key}", cx.backend));
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(cx.read(&key).await?, small, "the first object stays");
    }
    cx.backend.close().await?;
    cx.assert_no_leftovers().await?;
    DONE
}

/// The number of tasks that race for a key.
const CREATORS: usize = 8;

pub(super) async fn concurrent_tasks_create_one_object(cx: TestContext) -> TestOutcome {
    if !cx.backend.capabilities().atomic_create {
        return Ok(Completion::ignored_with("this remote has no atomic create"));
    }
    for round in 0..5 {
        let key = key(&format!("a/c/{round}"))?;
        // The first object exceeds the backend's buffers, and the others fit into them.
        let size = if round == 0 { cx.features.begun } else { 1000 };
        let barrier = Arc::new(tokio::sync::Barrier::new(CREATORS));
        let creators = (0..CREATORS).map(|creator| {
            let (backend, key, barrier) = (Arc::clone(&cx.backend), key.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                let mut upload = backend.begin_put(&key, PutOptions::default()).await?;
                upload.write(payload(creator as u64, size)).await?;
                barrier.wait().await;
                upload.commit().await
            })
        });
        let mut winners = Vec::new();
        for (creator, result) in join_all(creators).await.into_iter().enumerate() {
            match result? {
                Ok(meta) => winners.push((creator, meta)),
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let [(winner, meta)] = winners.as_slice() else {
            return Err(format!("{} of {CREATORS} creators succeeded", winners.len()).into());
        };
        assert_eq!(meta.size, size as u64);
        assert!(cx.read(&key).await? == payload(*winner as u64, size), "the object is not the winner's");
    }
    cx.backend.close().await?;
    cx.assert_no_leftovers().await?;
    DONE
}

pub(super) async fn overwriting_replaces(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    cx.put_as(PutMode::Overwrite, &key, "created by an overwrite").await?;
    assert_eq!(cx.read(&key).await?, "created by an overwrite");
    for bytes in [payload(3, cx.features.begun), Bytes::from_static(b"short"), Bytes::new()] {
        let meta = cx.put_as(PutMode::Overwrite, &key, bytes.clone()).await?;
        assert_eq!(meta.size, bytes.len() as u64);
        assert_eq!(cx.backend.stat(&key).await?.version, meta.version);
        assert!(cx.read(&key).await? == bytes, "the bytes are not the new ones");
    }
    assert_eq!(cx.keys().await?, ["a/c/h"]);
    DONE
}

pub(super) async fn overwriting_is_one_step(cx: TestContext) -> TestOutcome {
    if !cx.backend.capabilities().atomic_overwrite {
        return Ok(Completion::ignored_with("this remote has no atomic overwrite"));
    }
    let key = key("a/c/h")?;
    let versions: Vec<Bytes> = (0..2).map(|seed| payload(seed, 200_000)).collect();
    cx.put(&key, versions[0].clone()).await?;
    let (backend, written, contents) = (Arc::clone(&cx.backend), key.clone(), versions.clone());
    let writer = tokio::spawn(async move {
        for round in 1..30 {
            put(&*backend, PutMode::Overwrite, &written, contents[round % 2].clone()).await?;
        }
        Ok::<_, larder_backend::Error>(())
    });
    while !writer.is_finished() {
        match cx.read(&key).await {
            Ok(bytes) => assert!(versions.contains(&bytes), "neither the old nor the new object"),
            // The object was replaced between two requests of the read.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
    writer.await??;
    DONE
}

pub(super) async fn an_aborted_upload_leaves_nothing(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    for size in [0, 1, cx.features.begun, 4 * cx.features.begun] {
        let upload = cx.begin(&key, payload(4, size)).await?;
        upload.abort().await?;
        cx.assert_invisible(&key).await?;
        cx.assert_no_leftovers().await?;
    }
    cx.put(&key, "at last").await?;
    assert_eq!(cx.read(&key).await?, "at last");
    DONE
}

pub(super) async fn a_dropped_upload_leaves_nothing(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    for size in [0, 1, cx.features.begun] {
        drop(cx.begin(&key, payload(5, size)).await?);
        cx.assert_invisible(&key).await?;
    }
    cx.backend.close().await?;
    cx.assert_no_leftovers().await?;
    cx.assert_invisible(&key).await?;
    DONE
}

pub(super) async fn a_dropped_write_leaves_only_the_abort(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let mut upload = cx.backend.begin_put(&key, PutOptions::default()).await?;
    let mut dropped = false;
    // Generate the chunk first. A remote that is faster than the generator would never make a write wait.
    let chunk = payload(1, 1024 * 1024);
    for _ in 0..64 {
        // Drop the first write that waits.
        if poll_immediate(upload.write(chunk.clone())).await.is_none() {
            dropped = true;
            break;
        }
    }
    if !dropped {
        upload.abort().await?;
        return Ok(Completion::ignored_with("no write of this backend ever waits"));
    }
    assert!(upload.commit().await.is_err(), "an upload that lost a chunk was published");
    cx.assert_invisible(&key).await?;
    cx.backend.close().await?;
    cx.assert_no_leftovers().await?;
    DONE
}

pub(super) async fn a_source_that_fails_publishes_nothing(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let source = stream::iter(0..4).map(|seed| {
        if seed < 3 { Ok(payload(seed, cx.features.begun / 3)) } else { Err("the source failed") }
    });
    let mut source = pin!(source);
    let mut upload = cx.backend.begin_put(&key, PutOptions::default().with_size_hint(1)).await?;
    while let Some(Ok(chunk)) = source.next().await {
        upload.write(chunk).await?;
    }
    upload.abort().await?;
    cx.assert_invisible(&key).await?;
    cx.assert_no_leftovers().await?;
    assert!(cx.keys().await?.is_empty());
    DONE
}

pub(super) async fn closing_waits_for_aborts(cx: TestContext) -> TestOutcome {
    let mut uploads = Vec::new();
    for number in 0..8 {
        let key = key(&format!("a/c/{number}"))?;
        uploads.push(cx.begin(&key, payload(number, cx.features.begun)).await?);
    }
    for (number, upload) in uploads.into_iter().enumerate() {
        if number % 2 == 0 {
            drop(upload);
        } else {
            // Begin the abort without waiting for it.
            drop(poll_immediate(upload.abort()).await);
        }
    }
    cx.backend.close().await?;
    cx.assert_no_leftovers().await?;
    assert!(cx.keys().await?.is_empty());
    DONE
}

pub(super) async fn many_uploads_at_once(cx: TestContext) -> TestOutcome {
    let uploads = (0..32).map(|number| {
        let backend = Arc::clone(&cx.backend);
        tokio::spawn(async move {
            let key = larder_backend::Key::parse(format!("path-{}/{}/h", number % 3, number)).ok();
            let bytes = payload(number, 100_000 + 50_000 * usize::try_from(number).unwrap_or_default());
            match key {
                Some(key) => put(&*backend, PutMode::CreateOnly, &key, bytes.clone())
                    .await
                    .map(|meta| Some((meta, bytes))),
                None => Ok(None),
            }
        })
    });
    for upload in join_all(uploads).await {
        let (meta, bytes) = upload??.ok_or("the key is not valid")?;
        assert!(cx.read(&meta.key).await? == bytes, "{} is another object", meta.key);
    }
    assert_eq!(cx.keys().await?.len(), 32);
    assert!(cx.backend.stat_if_exists(&key("path-0/1/h")?).await?.is_none());
    DONE
}
