//! Pushing outputs.

use std::fs;
use std::io::Write as _;

use crate::support::{Lab, command, content, noise, output, pulling, pushing};
use larder_storage::{CancellationToken, Error, ErrorKind, Phase, PushOptions, PushOutcome, Scheme};

fn plain() -> PushOptions {
    PushOptions::default()
}

#[tokio::test]
async fn an_object_has_the_name_of_the_contract_and_nothing_else_is_left() {
    let lab = Lab::default();
    lab.write("corpus/train set.spacy", "hello\n");
    let storage = lab.storage();
    let pushed = storage.push(&output("corpus/train set.spacy"), &command("made"), &plain()).await.unwrap();
    let key = "corpus%2Ftrain+set.spacy/made/blake3-8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99";
    assert_eq!(pushed.outcome, PushOutcome::Uploaded);
    assert_eq!(pushed.url, format!("{}/{key}", lab.remote.path().display()));
    assert_eq!(lab.objects(), [key]);
    assert_eq!(pushed.bytes, fs::metadata(lab.object(key)).unwrap().len());
    storage.close().await.unwrap();
    assert!(lab.leftovers().is_empty());
}

#[tokio::test]
async fn a_second_push_finds_the_object_and_does_not_renew_it() {
    let lab = Lab::default();
    lab.write("a", "1");
    let storage = lab.storage();
    let first = storage.push(&output("a"), &command("c"), &plain()).await.unwrap();
    let file = lab.object(&lab.objects()[0]);
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let second = storage.push(&output("a"), &command("c"), &plain()).await.unwrap();
    assert_eq!(
        (second.outcome, &second.url, second.bytes),
        (PushOutcome::AlreadyPresent, &first.url, first.bytes)
    );
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), time);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_pushers_publishes_and_all_succeed() {
    let lab = Lab::default();
    lab.write("a", noise(1, 3 << 20));
    let pushes = (0..10).map(|_| {
        let storage = lab.storage();
        tokio::spawn(
            async move { storage.push(&output("a"), &command("c"), &plain()).await.unwrap().outcome },
        )
    });
    let outcomes = futures::future::join_all(pushes).await;
    let uploaded =
        outcomes.iter().filter(|outcome| *outcome.as_ref().unwrap() == PushOutcome::Uploaded).count();
    assert_eq!(uploaded, 1);
    lab.remove("a");
    lab.storage().pull(&[output("a")], &pulling(|_| {})).await.unwrap();
    assert_eq!(fs::read(lab.path("a")).unwrap(), noise(1, 3 << 20));
}

#[tokio::test]
async fn several_outputs_stand_alone() {
    let lab = Lab::default();
    lab.write("a", "1");
    lab.write("c", "3");
    let outputs = [output("a"), output("missing"), output("c")];
    let (storage, command, options) = (lab.storage(), command("c"), plain());
    let mut outcomes = Vec::new();
    let each = |index, outcome| outcomes.push((index, outcome));
    storage.push_all(&outputs, &command, &options, each).await.unwrap();
    outcomes.sort_by_key(|(index, _)| *index);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    assert!(matches!(outcomes[1], Err(Error::MissingSource { .. })));
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_eq!(lab.objects().len(), 2);
}

#[tokio::test]
async fn a_given_content_hash_must_match_under_any_scheme() {
    let lab = Lab::default();
    lab.write("a", "hello\n");
    let sha256 = "sha256-5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let wrong = sha256.replace("5891", "0000");
    let storage = lab.storage();
    let given = |hash: &str| pushing(|options| options.content_hash = Some(content(hash)));
    let error = storage.push(&output("a"), &command("c"), &given(&wrong)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(lab.objects().is_empty());
    storage.push(&output("a"), &command("c"), &given(sha256)).await.unwrap();
    // A custom name is used unchanged.
    storage.push(&output("a"), &command("c"), &given("v1")).await.unwrap();
    assert_eq!(lab.objects(), [format!("a/c/{sha256}"), "a/c/v1".to_owned()]);
}

#[tokio::test]
async fn only_force_replaces_an_object() {
    let lab = Lab::default();
    lab.write("a", noise(2, 100_000));
    let storage = lab.storage();
    storage.push(&output("a"), &command("c"), &plain()).await.unwrap();
    let object = lab.object(&lab.objects()[0]);
    let whole = fs::read(&object).unwrap();
    fs::write(&object, &whole[..whole.len() / 2]).unwrap();
    storage.push(&output("a"), &command("c"), &plain()).await.unwrap();
    assert_eq!(fs::read(&object).unwrap().len(), whole.len() / 2);
    let forced =
        storage.push(&output("a"), &command("c"), &pushing(|options| options.force = true)).await.unwrap();
    assert_eq!(forced.outcome, PushOutcome::Uploaded);
    assert_eq!(fs::read(&object).unwrap(), whole);
}

#[tokio::test]
async fn an_empty_object_counts_as_absent_and_is_replaced() {
    let lab = Lab::default();
    lab.write("a", "1");
    let storage = lab.storage();
    let key = storage
        .push(&output("a"), &command("c"), &pushing(|options| options.dry_run = true))
        .await
        .unwrap()
        .url;
    assert!(lab.objects().is_empty(), "a dry run does nothing");
    crate::support::write(key.as_ref(), "");
    assert_eq!(
        storage.push(&output("a"), &command("c"), &plain()).await.unwrap().outcome,
        PushOutcome::Uploaded
    );
    assert!(fs::metadata(&key).unwrap().len() > 0);
}

#[tokio::test]
async fn an_object_of_a_later_format_is_never_replaced() {
    let lab = Lab::default();
    lab.write("a", "1");
    let storage = lab.storage();
    let url = storage
        .push(&output("a"), &command("c"), &pushing(|options| options.dry_run = true))
        .await
        .unwrap()
        .url;
    crate::support::write(url.as_ref(), "larder-chunks 7\n");
    let plain = storage.push(&output("a"), &command("c"), &plain()).await.unwrap();
    assert_eq!(plain.outcome, PushOutcome::AlreadyPresent);
    let error = storage
        .push(&output("a"), &command("c"), &pushing(|options| options.force = true))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(fs::read(&url).unwrap(), b"larder-chunks 7\n");
}

#[tokio::test]
async fn an_output_may_have_the_name_of_a_later_format() {
    let lab = Lab::default();
    lab.write("larder-model", "1");
    let storage = lab.storage();
    let options = pushing(|options| {
        options.force = true;
        options.compression = Some("none".parse().unwrap());
    });
    for _ in 0..2 {
        let pushed = storage.push(&output("larder-model"), &command("c"), &options).await.unwrap();
        assert_eq!(pushed.outcome, PushOutcome::Uploaded);
    }
    lab.remove("larder-model");
    storage.pull(&[output("larder-model")], &pulling(|_| {})).await.unwrap();
    assert_eq!(lab.read("larder-model").as_deref(), Some("1"));
}

#[tokio::test]
async fn an_output_that_changes_after_it_was_hashed_is_not_published() {
    // The output exceeds the memory limit, so that it is read twice.
    let lab = Lab::default();
    lab.write("dir/big", noise(3, 72 << 20));
    lab.write("dir/small", "1");
    let small = lab.path("dir/small");
    lab.reports.when(Phase::Upload, move || fs::write(small, "2").unwrap());
    let storage = lab.storage();
    let error = storage.push(&output("dir"), &command("c"), &plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error:?}");
    storage.close().await.unwrap();
    assert!(lab.objects().is_empty());
}

#[tokio::test]
async fn an_output_that_grows_is_not_published() {
    let lab = Lab::default();
    lab.write("log", noise(4, 72 << 20));
    let log = lab.path("log");
    lab.reports.when(Phase::Upload, move || {
        fs::OpenOptions::new().append(true).open(log).unwrap().write_all(b"more").unwrap();
    });
    let storage = lab.storage();
    let error = storage.push(&output("log"), &command("c"), &plain()).await.unwrap_err();
    assert!(error.to_string().contains("log"), "{error}");
    storage.close().await.unwrap();
    assert!(lab.objects().is_empty());
}

#[tokio::test]
async fn cancelling_publishes_nothing_and_leaves_nothing() {
    for phase in [Phase::Hash, Phase::Upload] {
        let lab = Lab::default();
        lab.write("a", noise(5, 72 << 20));
        let mut options = lab.options();
        options.cancel = CancellationToken::new();
        let cancel = options.cancel.clone();
        lab.reports.when(phase, move || cancel.cancel());
        let storage = lab.storage_with(options);
        let error = storage.push(&output("a"), &command("c"), &plain()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{phase:?}: {error:?}");
        storage.close().await.unwrap();
        assert!(lab.objects().is_empty(), "{phase:?}");
        assert!(lab.leftovers().is_empty(), "{phase:?}");
    }
}

#[tokio::test]
async fn the_weasel_scheme_packs_with_gzip() {
    let lab = Lab::default();
    lab.write("a", "hello\n");
    lab.storage_under(Scheme::Weasel).push(&output("a"), &command("c"), &plain()).await.unwrap();
    assert_eq!(lab.objects(), ["a/c/b1946ac92492d2347c6235b4d2611184"]);
    assert_eq!(fs::read(lab.object(&lab.objects()[0])).unwrap()[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn a_remote_in_an_output_and_an_output_in_a_remote_are_refused() {
    let lab = Lab::default();
    lab.write("out/file", "1");
    let inside = |path: &str| {
        let url = larder_storage::RemoteUrl::parse(path, lab.project.path()).unwrap();
        larder_storage::RemoteStorage::open(lab.project.path(), &url, lab.options()).unwrap()
    };
    for remote in ["./out", "./out/store", "./."] {
        let error = inside(remote).push(&output("out"), &command("c"), &plain()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{remote}: {error}");
    }
    // Links and names with a common prefix do not change the result.
    std::os::unix::fs::symlink("out", lab.path("alias")).unwrap();
    let error = inside("./alias/store").push(&output("out"), &command("c"), &plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    inside("./outer").push(&output("out"), &command("c"), &plain()).await.unwrap();
}

#[tokio::test]
async fn a_name_that_the_remote_cannot_hold_is_refused_before_anything_is_read() {
    let lab = Lab::default();
    let long = format!("{}/{}", "ä".repeat(50), "x".repeat(100));
    lab.write(&long, "1");
    let error = lab.storage().push(&output(&long), &command("c"), &plain()).await.unwrap_err();
    assert!(matches!(error, Error::NameTooLong { len: 403, max: 255, .. }), "{error:?}");
}

#[tokio::test]
async fn a_push_creates_only_the_last_component_of_a_remote() {
    let lab = Lab::default();
    lab.write("a", "1");
    let at = |path: &str| {
        let url = larder_storage::RemoteUrl::parse(path, lab.remote.path()).unwrap();
        larder_storage::RemoteStorage::open(lab.project.path(), &url, lab.options()).unwrap()
    };
    let error = at("./x/y").push(&output("a"), &command("c"), &plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote, "{error:?}");
    assert!(!lab.remote.path().join("x").exists());
    at("./x").push(&output("a"), &command("c"), &plain()).await.unwrap();
}

#[tokio::test]
async fn entries_that_cannot_be_archived_are_named() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let lab = Lab::default();
    lab.write("dir/file", "1");
    mknodat(CWD, lab.path("dir/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let error = lab.storage().push(&output("dir"), &command("c"), &plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("dir/pipe"), "{error}");
    assert!(lab.objects().is_empty());
}

/// The files are read and hashed again during the upload, which is another phase.
#[tokio::test]
async fn hashing_is_over_when_the_upload_begins() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let lab = Lab::default();
    lab.write("small", "1");
    lab.write("large", noise(1, 65 << 20));
    for name in ["small", "large"] {
        let (reports, ended) = (Arc::clone(&lab.reports), Arc::new(AtomicUsize::new(0)));
        let before = reports.ended(Phase::Hash);
        let seen = Arc::clone(&ended);
        lab.reports.when(Phase::Upload, move || seen.store(reports.ended(Phase::Hash), Ordering::SeqCst));
        lab.storage().push(&output(name), &command("c"), &plain()).await.unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), before + 1, "{name}");
        assert_eq!(lab.reports.ended(Phase::Hash), before + 1, "{name}");
    }
}

#[tokio::test]
async fn a_dry_run_says_that_the_remote_would_be_created() {
    let lab = Lab::default();
    lab.write("a", "1");
    lab.write("b", "1");
    let url = larder_storage::RemoteUrl::parse("./new", lab.remote.path()).unwrap();
    let storage = larder_storage::RemoteStorage::open(lab.project.path(), &url, lab.options()).unwrap();
    let dry = pushing(|options| options.dry_run = true);
    for name in ["a", "b"] {
        storage.push(&output(name), &command("c"), &dry).await.unwrap();
    }
    let warnings = lab.reports.warnings();
    assert!(matches!(&warnings[..], [larder_storage::Warning::WouldCreateRemote { .. }]), "{warnings:?}");
    assert!(!lab.remote.path().join("new").exists());
}

/// A server may be silent for a long time then, and a log must show life.
#[tokio::test]
async fn waiting_for_the_remote_is_a_phase_of_its_own() {
    let lab = Lab::default();
    lab.write("a", "1");
    lab.storage().push(&output("a"), &command("c"), &plain()).await.unwrap();
    // Getting ready, and looking for the object.
    assert_eq!(lab.reports.ended(Phase::Ask), 2);
}
