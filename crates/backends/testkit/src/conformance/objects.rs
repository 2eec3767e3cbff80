//! Tests of single objects.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use larder_backend::{BackendExt, DeleteOptions, ErrorKind, GetOptions, Key, Operation, PutMode, PutOptions};
use libtest_mimic::Completion;

use crate::conformance::context::{TestContext, key};
use crate::conformance::{DONE, TestOutcome};
use crate::payload::payload;

/// The maximum difference between the clocks of a test and of a remote.
const SKEW: Duration = Duration::from_secs(5);

pub(super) async fn an_object_comes_back_as_it_was_written(cx: TestContext) -> TestOutcome {
    let key = key("model%2Fen/c0ffee/f00d")?;
    let bytes = payload(1, cx.features.begun * 3);
    let committed = cx.put(&key, bytes.clone()).await?;
    let seen = cx.backend.stat(&key).await?;
    assert_eq!(committed.key, key);
    assert_eq!(committed.size, bytes.len() as u64);
    assert_eq!(seen.key, key);
    assert_eq!(seen.size, bytes.len() as u64);
    assert_eq!(seen.version, committed.version, "the version of a commit is that of the object");
    let got = cx.backend.get(&key, GetOptions::default()).await?;
    assert_eq!(got.meta.size, bytes.len() as u64);
    assert_eq!(got.meta.version, committed.version);
    assert!(cx.read(&key).await? == bytes, "the bytes differ from the written ones");
    assert_eq!(cx.keys().await?, [key.as_str()]);
    cx.assert_no_leftovers().await?;
    DONE
}

pub(super) async fn chunks_of_any_size_make_one_object(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let bytes = payload(2, 3 * 1024 * 1024);
    let mut upload = cx.backend.begin_put(&key, PutOptions::default()).await?;
    let mut rest = bytes.clone();
    for size in [0, 1, 2, 1000, 0, 255 * 1024, 1, 300 * 1024, 1024 * 1024, 7, 64 * 1024].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        upload.write(rest.split_to(rest.len().min(size))).await?;
    }
    upload.commit().await?;
    assert!(cx.read(&key).await? == bytes, "the bytes differ from the written ones");
    DONE
}

pub(super) async fn an_empty_object_is_an_object(cx: TestContext) -> TestOutcome {
    for (name, chunk) in [("a/c/none", None), ("a/c/empty", Some(Bytes::new()))] {
        let key = key(name)?;
        let mut upload = cx.backend.begin_put(&key, PutOptions::default().with_size_hint(0)).await?;
        if let Some(chunk) = chunk {
            upload.write(chunk).await?;
        }
        assert_eq!(upload.commit().await?.size, 0);
        assert_eq!(cx.backend.stat(&key).await?.size, 0);
        assert_eq!(cx.read(&key).await?, "");
        let all = GetOptions::default().with_range(0..10);
        assert_eq!(cx.backend.get_bytes(&key, all, 10).await?, "");
    }
    assert_eq!(cx.keys().await?, ["a/c/empty", "a/c/none"]);
    DONE
}

pub(super) async fn a_range_is_cut_to_the_object(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let size = 2_500_000;
    let bytes = payload(3, size);
    let version = cx.put(&key, bytes.clone()).await?.version;
    let end = size as u64;
    for range in [
        0..1,
        0..end,
        1..end,
        end - 1..end,
        1_048_575..1_048_577,
        1_000_000..2_200_000,
        0..end + 1,
        end - 1..u64::MAX,
        end..end + 5,
        end + 1..end + 5,
        u64::MAX - 1..u64::MAX,
        0..0,
        7..7,
        end..end,
    ] {
        let expected =
            bytes.slice(usize::try_from(range.start.min(end))?..usize::try_from(range.end.min(end))?);
        let got = cx.backend.get(&key, GetOptions::default().with_range(range.clone())).await?;
        assert_eq!(got.meta.size, end, "the description is of the whole object, {range:?}");
        assert_eq!(got.meta.version, version, "{range:?}");
        let read: Vec<Bytes> = got.stream.try_collect().await?;
        assert!(read.concat() == expected, "{range:?}");
    }
    DONE
}

pub(super) async fn a_version_is_held_to(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let Some(first) = cx.put(&key, "first").await?.version else {
        return Ok(Completion::ignored_with("this remote has no versions"));
    };
    let with_first = || GetOptions::default().with_version(first.clone());
    assert_eq!(cx.backend.get_bytes(&key, with_first(), 10).await?, "first");
    assert_eq!(cx.backend.get_bytes(&key, with_first().with_range(1..3), 10).await?, "ir");
    // Write the same length, immediately.
    let second = cx.put_as(PutMode::Overwrite, &key, "other").await?.version;
    assert_ne!(second, Some(first.clone()), "other bytes are another version");
    let error = cx.backend.get(&key, with_first()).await.err().ok_or("the old version was read")?;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    cx.backend.delete(&key, DeleteOptions::default()).await?;
    let error = cx.backend.get(&key, with_first()).await.err().ok_or("an absent version was read")?;
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict), "{error}");
    DONE
}

pub(super) async fn an_object_that_is_replaced_while_it_is_read_is_no_mixture(
    cx: TestContext,
) -> TestOutcome {
    let key = key("a/c/h")?;
    let old = payload(4, 8 * 1024 * 1024);
    cx.put(&key, old.clone()).await?;
    let mut stream = cx.backend.get(&key, GetOptions::default()).await?.stream;
    let mut read = stream.try_next().await?.ok_or("the stream is empty")?.to_vec();
    cx.put_as(PutMode::Overwrite, &key, payload(5, old.len())).await?;
    loop {
        match stream.next().await {
            Some(Ok(bytes)) => read.extend_from_slice(&bytes),
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert!(old.starts_with(&read), "other bytes came before the error");
                break;
            }
            None => {
                assert!(old == read, "the bytes differ from the opened object");
                break;
            }
        }
    }
    DONE
}

pub(super) async fn keys_are_literal(cx: TestContext) -> TestOutcome {
    let names = [
        "corpus%2Ftrain.spacy/c/h",
        "a+b/c/h",
        "a~b/c/h",
        "100%25/c/h",
        "%25/c/h",
        "%2e%2e/c/h",
        "white space/c/h",
        "-r/--force/h",
        "a=b&c?d#e/c/h",
        "quote'\"`$(x)/c/h",
        "back\\slash/c/h",
        "gr\u{fc}\u{df}e-\u{4f60}\u{597d}-\u{1f980}/c/h",
        ".hidden/c/h",
        "..twodots/c/h",
        "single",
        "a/deep/er/key/than/usual",
        ".larder/1/runs/record",
    ];
    for name in names {
        let key = key(name)?;
        cx.put(&key, name).await.map_err(|error| format!("{name}: {error}"))?;
        assert_eq!(cx.backend.stat(&key).await?.key, key);
        assert_eq!(cx.read(&key).await?, name);
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(cx.keys().await?, sorted);
    for name in names {
        let error = cx.put(&key(name)?, "again").await.err().ok_or("the second creator succeeded")?;
        assert!(error.is_already_exists(), "{error}");
        cx.backend.delete(&key(name)?, DeleteOptions::default()).await?;
    }
    assert!(cx.keys().await?.is_empty());
    DONE
}

pub(super) async fn similar_keys_are_different_objects(cx: TestContext) -> TestOutcome {
    // These names are equal after decoding, case folding or normalization.
    let names = ["a%2Fb/x", "a%2fb/x", "a+b/x", "a b/x", "a%20b/x", "A+b/x", "\u{e9}/x", "e\u{301}/x"];
    for name in names {
        let key = key(name)?;
        match cx.put(&key, name).await {
            Ok(_) => {}
            Err(error) if error.is_already_exists() => {
                return Ok(Completion::ignored_with(format!("{} folds names: {name}", cx.subject.name())));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for name in names {
        assert_eq!(cx.read(&key(name)?).await?, name);
    }
    DONE
}

pub(super) async fn a_name_that_is_too_long_is_refused(cx: TestContext) -> TestOutcome {
    let longest = cx.backend.capabilities().max_name_len;
    if longest + 4 > Key::MAX_LEN {
        return Ok(Completion::ignored_with("every key is short enough for this remote"));
    }
    let fits = key(&format!("{}/c/h", "n".repeat(longest)))?;
    cx.put(&fits, "fits").await?;
    assert_eq!(cx.read(&fits).await?, "fits");
    let too_long = key(&format!("{}/c/h", "n".repeat(longest + 1)))?;
    let error = cx.put(&too_long, "too long").await.err().ok_or("the name was taken")?;
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.location().contains(too_long.as_str()), "{error}");
    DONE
}

pub(super) async fn an_absent_object_is_not_found_and_says_where(cx: TestContext) -> TestOutcome {
    cx.put(&key("a/c/h")?, "there").await?;
    for name in ["a/c/other", "a/other/h", "b/c/h", "a", "a/c", "a/c/h/deeper"] {
        let absent = key(name)?;
        let location = format!("{}/{name}", cx.backend);
        let stat = cx.backend.stat(&absent).await.err().ok_or(format!("{name} was seen"))?;
        assert_eq!(stat.kind(), ErrorKind::NotFound, "{stat}");
        assert_eq!(stat.operation(), Operation::Stat);
        assert_eq!(stat.location(), location);
        assert!(!stat.is_retryable(), "{stat}");
        let get =
            cx.backend.get(&absent, GetOptions::default()).await.err().ok_or(format!("{name} was read"))?;
        assert_eq!(get.kind(), ErrorKind::NotFound, "{get}");
        assert_eq!(get.operation(), Operation::Get);
        assert_eq!(get.location(), location);
        assert!(get.to_string().contains(&location), "{get}");
        assert!(cx.backend.stat_if_exists(&absent).await?.is_none());
    }
    assert!(!cx.backend.to_string().ends_with('/'));
    DONE
}

pub(super) async fn a_missing_remote_says_so(cx: TestContext) -> TestOutcome {
    let Some(missing) = cx.subject.open_missing().await? else {
        return Ok(Completion::ignored_with("a remote of this kind cannot be missing"));
    };
    let key = key("a/c/h")?;
    let stat = missing.stat(&key).await.err().ok_or("an object was seen")?;
    let get = missing.get(&key, GetOptions::default()).await.err().ok_or("an object was read")?;
    let listed = missing.list(&larder_backend::Prefix::root(), larder_backend::ListOptions::default());
    let list = listed.try_collect::<Vec<_>>().await.err().ok_or("it was listed")?;
    for error in [stat, get, list] {
        assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
        assert!(error.location().starts_with(&missing.to_string()), "{error}");
    }
    missing.sweep(&[]).await?;
    missing.close().await?;
    DONE
}

pub(super) async fn deleting_twice_succeeds(cx: TestContext) -> TestOutcome {
    let [gone, kept] = [key("a/c/gone")?, key("a/c/kept")?];
    cx.put(&gone, "gone").await?;
    cx.put(&kept, "kept").await?;
    cx.backend.delete(&gone, DeleteOptions::default()).await?;
    cx.assert_invisible(&gone).await?;
    cx.backend.delete(&gone, DeleteOptions::default()).await?;
    cx.backend.delete(&key("never/was/there")?, DeleteOptions::default()).await?;
    assert_eq!(cx.keys().await?, ["a/c/kept"]);
    cx.put(&gone, "again").await?;
    assert_eq!(cx.read(&gone).await?, "again");
    DONE
}

pub(super) async fn only_the_version_that_was_seen_is_deleted(cx: TestContext) -> TestOutcome {
    let key = key("a/c/h")?;
    let Some(first) = cx.put(&key, "first").await?.version else {
        return Ok(Completion::ignored_with("this remote has no versions"));
    };
    let with_first = || DeleteOptions::default().with_version(first.clone());
    // Write the same length, immediately.
    let second = cx.put_as(PutMode::Overwrite, &key, "other").await?.version;
    let error = cx.backend.delete(&key, with_first()).await.err().ok_or("another version was deleted")?;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(error.operation(), Operation::Delete);
    assert_eq!(error.location(), format!("{}/{key}", cx.backend));
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(cx.read(&key).await?, "other");
    // A listing has the version too.
    let listed = cx.list("", larder_backend::ListOptions::default()).await?;
    let listed = listed.get(key.as_str()).and_then(Option::as_ref).ok_or("it is not listed")?;
    assert_eq!(listed.version, second);
    let with_second = DeleteOptions::default().with_version(second.ok_or("the second has no version")?);
    cx.backend.delete(&key, with_second.clone()).await?;
    cx.assert_invisible(&key).await?;
    cx.backend.delete(&key, with_second).await?;
    cx.backend.delete(&key, with_first()).await?;
    DONE
}

pub(super) async fn the_time_of_an_object_is_that_of_its_publication(cx: TestContext) -> TestOutcome {
    let [first, second] = [key("a/c/first")?, key("a/c/second")?];
    let before = SystemTime::now() - SKEW;
    let mut upload = cx.begin(&first, payload(6, cx.features.begun)).await?;
    upload.write("the end".into()).await?;
    let begun_later = cx.put(&second, "second").await?;
    let committed = upload.commit().await?;
    let after = SystemTime::now() + SKEW;
    for published in [&committed, &begun_later] {
        let meta = cx.backend.stat(&published.key).await?;
        assert!((before..after).contains(&meta.last_modified), "{meta:?}");
        // A remote with times in seconds may answer a commit one second later.
        let apart = meta.last_modified.duration_since(published.last_modified);
        let apart = apart.unwrap_or_else(|error| error.duration());
        assert!(apart <= Duration::from_secs(2), "{published:?} {meta:?}");
        let listed = cx.list("", larder_backend::ListOptions::default()).await?;
        let listed = listed.get(meta.key.as_str()).and_then(Option::as_ref).ok_or("it is not listed")?;
        assert_eq!((listed.last_modified, listed.size), (meta.last_modified, meta.size));
    }
    DONE
}
