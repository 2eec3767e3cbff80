//! Finding objects.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::support::{Lab, command, content, output};
use larder_storage::{
    Error, ErrorKind, FindOptions, PullOptions, RemoteStorage, RemoteUrl, StorageOptions, Warning,
};

fn finding(change: impl FnOnce(&mut FindOptions)) -> FindOptions {
    let mut options = FindOptions::default();
    change(&mut options);
    options
}

/// Inserts an object with a time of publication.
fn publish(lab: &Lab, key: &str, seconds: u64) {
    crate::support::write(&lab.object(key), "object");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(lab.object(key)).unwrap().set_modified(time).unwrap();
}

async fn newest(lab: &Lab, options: &FindOptions) -> (String, u64) {
    let found = lab.storage().find(&output("a b"), options).await.unwrap();
    let key = found.newest.url.strip_prefix(&format!("{}/", lab.remote.path().display())).unwrap().to_owned();
    (key, found.count)
}

#[tokio::test]
async fn the_newest_match_is_found_and_a_missing_hash_matches_every_one() {
    let lab = Lab::default();
    publish(&lab, "a+b/run1/old", 100);
    publish(&lab, "a+b/run1/new", 300);
    publish(&lab, "a+b/run2/old", 200);
    publish(&lab, "a+b%2Fc/run9/newer", 900);
    let any = FindOptions::default();
    let run1 = finding(|options| options.command_hash = Some(command("run1")));
    let old = finding(|options| options.content_hash = Some(content("old")));
    let both = finding(|options| {
        options.command_hash = Some(command("run1"));
        options.content_hash = Some(content("old"));
    });
    assert_eq!(newest(&lab, &any).await, ("a+b/run1/new".into(), 3));
    assert_eq!(newest(&lab, &run1).await, ("a+b/run1/new".into(), 2));
    assert_eq!(newest(&lab, &old).await, ("a+b/run2/old".into(), 2));
    assert_eq!(newest(&lab, &both).await, ("a+b/run1/old".into(), 1));
    let all = lab.storage().find_all(&output("a b"), &any).await.unwrap();
    let contents: Vec<_> = all.iter().map(|object| object.content_hash.as_str()).collect();
    assert_eq!(contents, ["new", "old", "old"]);
}

#[tokio::test]
async fn ties_go_to_the_greater_content_hash_then_command_hash() {
    let lab = Lab::default();
    for key in ["a+b/x/2", "a+b/y/1", "a+b/y/2", "a+b/z/1"] {
        publish(&lab, key, 100);
    }
    assert_eq!(newest(&lab, &FindOptions::default()).await.0, "a+b/y/2");
}

#[tokio::test]
async fn foreign_objects_are_named_and_never_used() {
    let lab = Lab::default();
    publish(&lab, "a+b/run/good", 100);
    for key in
        ["a+b/.DS_Store", "a+b/run/.good.swp", "a+b/run/deeper/good", "a+b/run/blake3-short", "a+b/ru n/good"]
    {
        publish(&lab, key, 900);
    }
    crate::support::write(&lab.object("a+b/run/stub"), "");
    assert_eq!(newest(&lab, &FindOptions::default()).await, ("a+b/run/good".into(), 1));
    let foreign: Vec<_> = lab.reports.warnings();
    assert_eq!(foreign.len(), 6, "{foreign:?}");
    assert!(foreign.iter().all(|warning| matches!(warning, Warning::ForeignObject { .. })));

    for number in 0..30 {
        publish(&lab, &format!("a+b/{number}.txt"), 1);
    }
    let before = lab.reports.warnings().len();
    newest(&lab, &FindOptions::default()).await;
    let more = &lab.reports.warnings()[before..];
    assert_eq!(more.len(), 11);
    assert_eq!(more.last(), Some(&Warning::MoreForeignObjects { count: 26 }));
}

#[tokio::test]
async fn an_empty_object_is_absent_even_by_name() {
    let lab = Lab::default();
    crate::support::write(&lab.object("a+b/run/stub"), "");
    let named = finding(|options| {
        options.command_hash = Some(command("run"));
        options.content_hash = Some(content("stub"));
    });
    let error = lab.storage().find(&output("a b"), &named).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { narrowed: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_miss_differs_from_an_absent_remote() {
    let lab = Lab::default();
    let error = lab.storage().find(&output("a"), &FindOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let absent = larder_storage::RemoteUrl::parse("./no/absent", lab.project.path()).unwrap();
    let storage = larder_storage::RemoteStorage::open(lab.project.path(), &absent, lab.options()).unwrap();
    let error = storage.find(&output("a"), &FindOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote, "{error:?}");
    assert!(!lab.path("no").exists() && !lab.path(".larder").exists(), "looking creates nothing");
}

#[tokio::test]
async fn a_listing_shows_the_outputs_and_nothing_of_larders_own() {
    let lab = Lab::default();
    for key in ["z/c/h", "a+b%2Fc/c/h", "%41/c/h", ".larder/1/tmp/put", ".larder/1/runs/x"] {
        publish(&lab, key, 1);
    }
    crate::support::write(&lab.object("stray.txt"), "x");
    // `%41` is not how larder or weasel would write `A`.
    assert_eq!(lab.storage().list_outputs().await.unwrap(), ["a b/c", "z"]);
    assert_eq!(lab.reports.warnings(), [Warning::ForeignNames { count: 1 }]);
}

#[tokio::test]
async fn a_listed_name_has_an_object_and_other_names_are_counted() {
    let lab = Lab::default();
    for key in ["ours/c/h", "ours/.DS_Store", "00/raw.txt", "photos/2026/11/a.jpg", "photos/2026/11/b.jpg"] {
        publish(&lab, key, 1);
    }
    crate::support::write(&lab.object("stub/c/h"), "");
    std::fs::create_dir(lab.object("folder")).unwrap();
    for number in 0..40 {
        publish(&lab, &format!("many/c/{number}"), 1);
    }
    let storage = lab.storage();
    let names = storage.list_outputs().await.unwrap();
    assert_eq!(names, ["many", "ours"]);
    assert_eq!(lab.reports.warnings(), [Warning::ForeignNames { count: 3 }]);
    for name in names {
        assert!(storage.find(&output(&name), &FindOptions::default()).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn an_empty_object_is_weasels_only_under_a_weasel_name() {
    let lab = Lab::default();
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    for key in ["a+b/c/h".to_owned(), format!("a+b/{md5}/{md5}")] {
        crate::support::write(&lab.object(&key), "");
    }
    lab.storage().find(&output("a b"), &FindOptions::default()).await.unwrap_err();
    let mut reasons: Vec<_> = lab.reports.warnings().iter().map(ToString::to_string).collect();
    reasons.sort();
    let [ours, weasels] = reasons.as_slice() else { panic!("{reasons:?}") };
    let (ours, weasels) = if ours.contains(md5) { (weasels, ours) } else { (ours, weasels) };
    assert!(!ours.contains("weasel") && ours.contains("empty"), "{ours}");
    assert!(weasels.contains("interrupted weasel push"), "{weasels}");
}

#[tokio::test]
async fn a_remote_that_a_push_would_create_is_empty() {
    let project = tempfile::tempdir().unwrap();
    let (root, any) = (project.path(), FindOptions::default());
    let errors = async |url: RemoteUrl| -> Vec<Error> {
        let storage = RemoteStorage::open(root, &url, StorageOptions::default()).unwrap();
        let model = output("m");
        let named = finding(|options| {
            options.command_hash = Some(command("c"));
            options.content_hash = Some(content("h"));
        });
        let pull_named = crate::support::pulling(|options| {
            options.command_hash = Some(command("c"));
            options.content_hash = Some(content("h"));
        });
        let outputs = [model.clone()];
        let listed = storage.list_outputs().await;
        assert!(!matches!(&listed, Ok(found) if !found.is_empty()), "{listed:?}");
        vec![
            storage.find(&model, &any).await.unwrap_err(),
            storage.find(&model, &named).await.unwrap_err(),
            storage.find_all(&model, &any).await.unwrap_err(),
            storage.pull(&outputs, &PullOptions::default()).await.unwrap_err(),
            storage.pull(&outputs, &pull_named).await.unwrap_err(),
        ]
    };
    let kinds = [
        (RemoteUrl::embedded(root), ErrorKind::NotFound),
        (RemoteUrl::parse("./absent", root).unwrap(), ErrorKind::NotFound),
        (RemoteUrl::parse("./no/absent", root).unwrap(), ErrorKind::Remote),
    ];
    for (url, kind) in kinds {
        for error in errors(url.clone()).await {
            assert_eq!(error.kind(), kind, "{url}: {error}");
        }
    }
    std::fs::create_dir_all(root.join(".larder")).unwrap();
    std::fs::write(root.join(".larder/store"), "a file").unwrap();
    let url = RemoteUrl::embedded(root);
    for error in errors(url).await {
        let chain = larder_storage::error_chain(&error);
        assert!(chain.to_lowercase().contains("not a directory"), "{chain}");
    }
}
