//! Listings.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use larder_backend::{DeleteOptions, ListOptions, Listed, Prefix, PutMode};
use libtest_mimic::Failed;

use crate::conformance::context::{TestContext, key, put};
use crate::conformance::{DONE, TestOutcome};
use crate::payload::payload;

/// The number of uploads that a test runs in parallel.
const AT_ONCE: usize = 16;

pub(super) async fn nothing_below_a_prefix_is_an_empty_listing(cx: TestContext) -> TestOutcome {
    for options in [ListOptions::default(), ListOptions::default().with_delimiter()] {
        assert!(cx.list("", options.clone()).await?.is_empty());
        assert!(cx.list("not/there/", options).await?.is_empty());
    }
    cx.put(&key("a/c/h")?, "object").await?;
    for options in [ListOptions::default(), ListOptions::default().with_delimiter()] {
        for prefix in ["b/", "a/c/h/", "a/c/h/deeper/", "a/other/"] {
            assert!(cx.list(prefix, options.clone()).await?.is_empty(), "{prefix}");
        }
    }
    // A deleted object leaves nothing, not even a directory.
    cx.backend.delete(&key("a/c/h")?, DeleteOptions::default()).await?;
    assert!(cx.list("", ListOptions::default().with_delimiter()).await?.is_empty());
    DONE
}

pub(super) async fn a_listing_has_what_is_below_its_prefix(cx: TestContext) -> TestOutcome {
    let names = ["a/c/h1", "a/c/h2", "a/c2/h1", "a%2Fb/c/h1", "ab/c/h1", "a-b/c/h1", "a.b", "z"];
    for name in names {
        cx.put(&key(name)?, name).await?;
    }
    for (prefix, expected) in [
        ("a/c/", vec!["a/c/h1", "a/c/h2"]),
        ("a/c", vec!["a/c/h1", "a/c/h2"]),
        ("a/", vec!["a/c/h1", "a/c/h2", "a/c2/h1"]),
        ("a%2Fb/", vec!["a%2Fb/c/h1"]),
        ("a-b/", vec!["a-b/c/h1"]),
        ("z/", vec![]),
    ] {
        let listed = cx.list(prefix, ListOptions::default()).await?;
        assert_eq!(listed.keys().collect::<Vec<_>>(), expected, "{prefix}");
        for (name, meta) in &listed {
            let meta = meta.as_ref().ok_or("a prefix was listed without a delimiter")?;
            let seen = cx.backend.stat(&key(name)?).await?;
            assert_eq!((meta.size, meta.last_modified), (seen.size, seen.last_modified), "{name}");
            assert!(meta.version.is_none() || meta.version == seen.version, "{name}");
        }
    }
    assert_eq!(cx.keys().await?.len(), names.len());
    DONE
}

pub(super) async fn a_delimiter_gives_one_level(cx: TestContext) -> TestOutcome {
    for name in ["a/c/h1", "a/c/h2", "a/c2/h1", "a/direct", "b%2Fc/c/h1", "top"] {
        cx.put(&key(name)?, name).await?;
    }
    for (prefix, prefixes, objects) in [
        ("", vec!["a/", "b%2Fc/"], vec!["top"]),
        ("a/", vec!["a/c/", "a/c2/"], vec!["a/direct"]),
        ("a/c/", vec![], vec!["a/c/h1", "a/c/h2"]),
        ("b%2Fc/", vec!["b%2Fc/c/"], vec![]),
    ] {
        let listed = cx.list(prefix, ListOptions::default().with_delimiter()).await?;
        let of = |is_object: bool| {
            listed.iter().filter(move |(_, meta)| meta.is_some() == is_object).map(|(name, _)| name.as_str())
        };
        assert_eq!(of(false).collect::<Vec<_>>(), prefixes, "{prefix}");
        assert_eq!(of(true).collect::<Vec<_>>(), objects, "{prefix}");
    }
    DONE
}

/// Creates `count` objects, and returns their names in order.
async fn fill(cx: &TestContext, count: usize) -> Result<Vec<String>, Failed> {
    // Half of the objects share one prefix, and each of the others has its own.
    let names: Vec<String> = (0..count)
        .map(|number| if number % 2 == 0 { format!("a/c/{number:05}") } else { format!("a/{number:05}/h") })
        .collect();
    let uploads = names.iter().map(|name| {
        let (backend, name) = (Arc::clone(&cx.backend), name.clone());
        async move { Ok::<_, Failed>(put(&*backend, PutMode::CreateOnly, &key(&name)?, "x".into()).await?) }
    });
    stream::iter(uploads).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let mut names = names;
    names.sort();
    Ok(names)
}

pub(super) async fn a_listing_has_many_pages(cx: TestContext) -> TestOutcome {
    // More than one page of objects, and more than one page of prefixes.
    let names = fill(&cx, 2 * cx.features.pages).await?;
    assert_eq!(cx.keys().await?, names);
    let below: Vec<&String> = names.iter().filter(|name| name.starts_with("a/c/")).collect();
    assert_eq!(cx.list("a/c/", ListOptions::default()).await?.keys().collect::<Vec<_>>(), below);
    let level = cx.list("a/", ListOptions::default().with_delimiter()).await?;
    assert_eq!(level.len(), cx.features.pages + 1);
    assert!(level.values().all(Option::is_none), "there is no object at this level");
    DONE
}

pub(super) async fn a_listing_can_be_left_early(cx: TestContext) -> TestOutcome {
    fill(&cx, 40).await?;
    let mut listing = cx.backend.list(&Prefix::root(), ListOptions::default());
    assert!(listing.try_next().await?.is_some());
    drop(listing);
    cx.backend.close().await?;
    DONE
}

pub(super) async fn a_listing_ends_at_its_limit(cx: TestContext) -> TestOutcome {
    let names = fill(&cx, 12).await?;
    for limit in [1, 5, 12, 13] {
        let listed = cx.list("", ListOptions::default().with_limit(limit)).await?;
        assert_eq!(listed.len(), limit.min(names.len()));
        assert!(listed.keys().all(|name| names.contains(name)));
        if cx.backend.capabilities().ordered_list {
            assert_eq!(listed.keys().collect::<Vec<_>>(), names.iter().take(limit).collect::<Vec<_>>());
        }
    }
    if cx.backend.capabilities().ordered_list {
        let mut listing = cx.backend.list(&Prefix::root(), ListOptions::default());
        let mut order = Vec::new();
        while let Some(item) = listing.try_next().await? {
            if let Listed::Object(meta) = item {
                order.push(meta.key.to_string());
            }
        }
        assert_eq!(order, names, "the backend claims to list in order");
    }
    DONE
}

pub(super) async fn what_is_under_way_is_not_listed(cx: TestContext) -> TestOutcome {
    let upload = cx.begin(&key("a/c/h")?, payload(1, cx.features.begun)).await?;
    for options in [ListOptions::default(), ListOptions::default().with_delimiter()] {
        for prefix in ["", ".larder/", ".larder/1/", ".larder/1/tmp/", "a/"] {
            let listed = cx.list(prefix, options.clone()).await?;
            assert!(listed.is_empty(), "{prefix}: {listed:?}");
        }
    }
    upload.abort().await?;
    DONE
}
