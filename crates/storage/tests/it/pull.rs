//! Pulling outputs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Lab, command, content, noise, output, pulling};
use larder_storage::{
    CancellationToken, Error, ErrorKind, Incomparable, Phase, PullOptions, PullOutcome, Pulled, PushOptions,
    Scheme, Warning,
};

fn plain() -> PullOptions {
    PullOptions::default()
}

fn forced() -> PullOptions {
    pulling(|options| options.force = true)
}

/// Pushes an output under a command hash, one second of the remote's clock after the previous one.
async fn push(lab: &Lab, name: &str, made_by: &str) -> String {
    let pushed = lab.storage().push(&output(name), &command(made_by), &PushOptions::default()).await.unwrap();
    let file = fs::File::options().write(true).open(&pushed.url).unwrap();
    lab.forget_records();
    let seconds = lab.objects().len() as u64;
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + seconds)).unwrap();
    pushed.url
}

async fn pull_one(lab: &Lab, name: &str, options: &PullOptions) -> Result<Pulled, Error> {
    let storage = lab.storage();
    let pulled = storage.pull(&[output(name)], options).await;
    storage.close().await.unwrap();
    pulled.map(|mut pulled| pulled.remove(0))
}

#[tokio::test]
async fn a_tree_comes_back_as_it_was() {
    let lab = Lab::default();
    lab.write("m/weights", noise(1, 5 << 20));
    lab.write("m/bin/run", "#!/bin/sh\n");
    fs::set_permissions(lab.path("m/bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(lab.path("m/empty/deeper")).unwrap();
    std::os::unix::fs::symlink("bin/run", lab.path("m/link")).unwrap();
    push(&lab, "m", "c").await;
    lab.remove("m");
    let arrived = lab.path("m");
    lab.reports.when(Phase::Place, move || assert!(!arrived.exists(), "it is not in place yet"));
    let pulled = pull_one(&lab, "m", &plain()).await.unwrap();
    assert_eq!((pulled.outcome, pulled.verified), (PullOutcome::Restored, true));
    assert_eq!(pulled.content_bytes, Some((5 << 20) + 10), "both files");
    assert_eq!(lab.reports.ended(Phase::Place), 1);
    assert_eq!(fs::read(lab.path("m/weights")).unwrap(), noise(1, 5 << 20));
    assert_eq!(fs::metadata(lab.path("m/bin/run")).unwrap().permissions().mode() & 0o100, 0o100);
    assert!(lab.path("m/empty/deeper").is_dir());
    assert_eq!(fs::read_link(lab.path("m/link")).unwrap().to_str(), Some("bin/run"));
    assert!(lab.leftovers().is_empty());
}

#[tokio::test]
async fn existing_outputs_are_kept_and_compared_and_force_replaces_them() {
    let lab = Lab::default();
    lab.write("m/f", "1");
    push(&lab, "m", "c").await;
    let same = pull_one(&lab, "m", &plain()).await.unwrap();
    assert_eq!((same.outcome, same.verified), (PullOutcome::UpToDate, true));
    lab.write("m/f", "mine");
    let kept = pull_one(&lab, "m", &plain()).await.unwrap();
    assert_eq!((kept.outcome, kept.verified), (PullOutcome::Kept, false));
    assert_eq!(lab.read("m/f").as_deref(), Some("mine"));
    assert_eq!(pull_one(&lab, "m", &forced()).await.unwrap().outcome, PullOutcome::Restored);
    assert_eq!(lab.read("m/f").as_deref(), Some("1"));
    assert!(lab.leftovers().is_empty());
}

#[tokio::test]
async fn an_opaque_hash_is_reported_as_not_verified() {
    let lab = Lab::default();
    lab.write("m", "hello\n");
    let options = crate::support::pushing(|options| options.content_hash = Some(content("v1")));
    lab.storage().push(&output("m"), &command("c"), &options).await.unwrap();
    let kept = pull_one(&lab, "m", &plain()).await.unwrap();
    assert_eq!((kept.outcome, kept.incomparable), (PullOutcome::Kept, Some(Incomparable::OwnName)));
    lab.remove("m");
    assert!(!pull_one(&lab, "m", &plain()).await.unwrap().verified);
}

#[tokio::test]
async fn a_hash_of_32_digits_is_verified_under_the_weasel_scheme_only() {
    let lab = Lab::default();
    lab.write("m/a", "hello\n");
    lab.write("m/b", noise(3, 3 << 20));
    let weasel = lab.storage_under(Scheme::Weasel);
    weasel.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    for (scheme, verified) in [(Scheme::Weasel, true), (Scheme::Blake3, false), (Scheme::Sha256, false)] {
        lab.remove("m");
        let pulled = lab.storage_under(scheme).pull(&[output("m")], &plain()).await.unwrap();
        assert_eq!((scheme, pulled[0].verified), (scheme, verified));
    }
    // With verification, another content is an error.
    let object = lab.object(&lab.objects()[0]);
    let swapped = object.with_file_name("0123456789abcdef0123456789abcdef");
    fs::rename(object, swapped).unwrap();
    lab.remove("m");
    let error = weasel.pull(&[output("m")], &plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[tokio::test]
async fn no_verify_trusts_the_name() {
    let lab = Lab::default();
    lab.write("m", "1");
    let object = push(&lab, "m", "c").await;
    let (rest, last) = object.split_at(object.len() - 1);
    fs::rename(&object, format!("{rest}{}", if last == "0" { "1" } else { "0" })).unwrap();
    lab.remove("m");
    assert_eq!(pull_one(&lab, "m", &plain()).await.unwrap_err().kind(), ErrorKind::Integrity);
    assert!(!lab.path("m").exists());
    let trusting = pulling(|options| options.verify = false);
    assert!(!pull_one(&lab, "m", &trusting).await.unwrap().verified);
    assert_eq!(lab.read("m").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_damaged_object_is_reported_and_the_next_newest_tried() {
    let lab = Lab::default();
    lab.write("m", "old");
    push(&lab, "m", "run1").await;
    lab.write("m", "new");
    let newest = push(&lab, "m", "run2").await;
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() - 1]).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000);
    fs::File::options().write(true).open(&newest).unwrap().set_modified(time).unwrap();
    lab.remove("m");

    pull_one(&lab, "m", &plain()).await.unwrap();
    assert_eq!(lab.read("m").as_deref(), Some("old"));
    let warnings = lab.reports.warnings();
    assert!(matches!(&warnings[..], [Warning::DamagedObject { url, .. }] if *url == newest), "{warnings:?}");
    assert!(fs::metadata(&newest).is_ok(), "a pull never changes an object");

    // It is a failure if the newest was requested by its hash, or if no whole object is left.
    lab.remove("m");
    let run2 = pulling(|options| options.command_hash = Some(command("run2")));
    let error = pull_one(&lab, "m", &run2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.to_string().contains(&newest), "{error}");
    assert!(!lab.path("m").exists());
    assert!(lab.leftovers().is_empty());
}

#[tokio::test]
async fn an_object_of_a_later_format_is_unsupported_and_no_older_one_is_taken() {
    let lab = Lab::default();
    lab.write("m", "old");
    push(&lab, "m", "run1").await;
    lab.write("m", "new");
    let newest = push(&lab, "m", "run2").await;
    fs::write(&newest, "larder-chunks 7\n").unwrap();
    lab.remove("m");
    let error = pull_one(&lab, "m", &plain()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("needs a newer larder"), "{error}");
    assert!(!lab.path("m").exists());
}

#[tokio::test]
async fn several_outputs_come_from_one_command_hash() {
    let lab = Lab::default();
    // Runs that produced (A1, B1), (A2, B2) and (A1, B3). The last one pushed only new objects.
    for (run, a, b) in [("run1", "A1", "B1"), ("run2", "A2", "B2")] {
        lab.write("a", a);
        lab.write("b", b);
        push(&lab, "a", run).await;
        push(&lab, "b", run).await;
    }
    lab.write("b", "B3");
    push(&lab, "b", "run3").await;
    lab.remove("a");
    lab.remove("b");
    let pulled = lab.storage().pull(&[output("a"), output("b")], &plain()).await.unwrap();
    assert_eq!((lab.read("a").as_deref(), lab.read("b").as_deref()), (Some("A2"), Some("B2")));
    assert!(pulled.iter().all(|pulled| pulled.command_hash == command("run2")));

    lab.remove("a");
    lab.remove("b");
    let run3 = pulling(|options| options.command_hash = Some(command("run3")));
    let error = lab.storage().pull(&[output("a"), output("b")], &run3).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { outputs, .. } if *outputs == [output("a")]), "{error:?}");
    assert!(!lab.path("b").exists());
}

#[tokio::test]
async fn outputs_without_a_common_command_are_not_mixed() {
    let lab = Lab::default();
    lab.write("a", "1");
    lab.write("b", "2");
    push(&lab, "a", "run1").await;
    push(&lab, "b", "run2").await;
    lab.remove("a");
    lab.remove("b");
    let error = lab.storage().pull(&[output("a"), output("b")], &plain()).await.unwrap_err();
    assert!(matches!(error, Error::NoCommonCommand { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn several_outputs_move_together_or_not_at_all() {
    let lab = Lab::default();
    for name in ["a", "b"] {
        lab.write(name, name);
        push(&lab, name, "c").await;
    }
    lab.remove("a");
    lab.write("b", "mine");
    let both = [output("a"), output("b")];
    let error = lab.storage().pull(&both, &plain()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Differs { destination, .. } if *destination == lab.path("b")),
        "{error:?}"
    );
    assert!(!lab.path("a").exists());
    // One damaged object prevents the move of the other one too.
    let damaged = lab.object(lab.objects().iter().find(|key| key.starts_with("b/")).unwrap());
    let whole = fs::read(&damaged).unwrap();
    fs::write(&damaged, &whole[..10]).unwrap();
    let storage = lab.storage();
    assert_eq!(storage.pull(&both, &forced()).await.unwrap_err().kind(), ErrorKind::Integrity);
    storage.close().await.unwrap();
    assert!(!lab.path("a").exists());
    assert_eq!(lab.read("b").as_deref(), Some("mine"));
    assert!(lab.leftovers().is_empty());
    fs::write(&damaged, whole).unwrap();
    lab.storage().pull(&both, &forced()).await.unwrap();
    assert_eq!((lab.read("a").as_deref(), lab.read("b").as_deref()), (Some("a"), Some("b")));
}

#[tokio::test]
async fn outputs_that_cannot_be_one_unit_are_a_usage_error() {
    let lab = Lab::default();
    let hash = pulling(|options| options.content_hash = Some(content("h")));
    for (outputs, options) in [
        (vec!["a", "a/b"], plain()),
        (vec!["a/b", "a"], plain()),
        (vec!["a", "./a"], plain()),
        (vec!["a", "b"], hash),
    ] {
        let named: Vec<_> = outputs.iter().map(|name| output(name)).collect();
        assert_eq!(
            lab.storage().pull(&named, &options).await.unwrap_err().kind(),
            ErrorKind::Usage,
            "{outputs:?}"
        );
    }
}

#[tokio::test]
async fn another_directory_can_be_the_destination() {
    let lab = Lab::default();
    lab.write("sub/m", "1");
    push(&lab, "sub/m", "c").await;
    let elsewhere = tempfile::tempdir().unwrap();
    let to = pulling(|options| options.to = Some(elsewhere.path().join("new")));
    let pulled = pull_one(&lab, "sub/m", &to).await.unwrap();
    assert_eq!(pulled.destination, elsewhere.path().join("new/sub/m"));
    assert_eq!(fs::read_to_string(pulled.destination).unwrap(), "1");
}

#[tokio::test]
async fn parents_are_made_and_taken_back_where_the_pull_fails() {
    let lab = Lab::default();
    lab.write("deep/er/m", "1");
    let object = push(&lab, "deep/er/m", "c").await;
    fs::remove_dir_all(lab.path("deep")).unwrap();
    let whole = fs::read(&object).unwrap();
    fs::write(&object, &whole[..5]).unwrap();
    pull_one(&lab, "deep/er/m", &plain()).await.unwrap_err();
    assert!(!lab.path("deep").exists());
    fs::write(&object, &whole).unwrap();
    pull_one(&lab, "deep/er/m", &plain()).await.unwrap();
    assert_eq!(lab.read("deep/er/m").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let lab = Lab::default();
    lab.write("m", "1");
    push(&lab, "m", "c").await;
    lab.remove("m");
    let dry = pulling(|options| options.dry_run = true);
    assert_eq!(pull_one(&lab, "m", &dry).await.unwrap().outcome, PullOutcome::Restored);
    assert!(!lab.path("m").exists());
    let both = pulling(|options| {
        options.dry_run = true;
        options.command_hash = Some(command("c"));
        options.content_hash = Some(content("absent"));
    });
    assert_eq!(pull_one(&lab, "m", &both).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn cancelling_leaves_nothing_behind() {
    let lab = Lab::default();
    lab.write("m", noise(9, 40 << 20));
    push(&lab, "m", "c").await;
    lab.remove("m");
    let mut options = lab.options();
    options.cancel = CancellationToken::new();
    let cancel = options.cancel.clone();
    lab.reports.when(Phase::Download, move || cancel.cancel());
    let storage = lab.storage_with(options);
    let error = storage.pull(&[output("m")], &plain()).await.unwrap_err();
    storage.close().await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(!lab.path("m").exists());
    assert!(lab.leftovers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_concurrent_pulls_restores_and_the_other_is_up_to_date() {
    let lab = Lab::default();
    lab.write("m", noise(7, 1 << 20));
    push(&lab, "m", "c").await;
    for _ in 0..10 {
        lab.remove("m");
        let pulls = (0..4).map(|_| {
            let storage = lab.storage();
            tokio::spawn(
                async move { storage.pull(&[output("m")], &plain()).await.unwrap().remove(0).outcome },
            )
        });
        let outcomes: Vec<_> =
            futures::future::join_all(pulls).await.into_iter().map(Result::unwrap).collect();
        let restored = outcomes.iter().filter(|outcome| **outcome == PullOutcome::Restored).count();
        assert_eq!(restored, 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| *outcome != PullOutcome::Kept), "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_remote_in_the_destination_is_refused() {
    let lab = Lab::default();
    let url = larder_storage::RemoteUrl::parse("./out/store", lab.project.path()).unwrap();
    let storage = larder_storage::RemoteStorage::open(lab.project.path(), &url, lab.options()).unwrap();
    let error = storage.pull(&[output("out")], &forced()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[tokio::test]
async fn damage_is_reported_also_where_another_command_has_the_outputs() {
    let lab = Lab::default();
    let mut newest = String::new();
    for run in ["run1", "run2"] {
        for name in ["a", "b"] {
            lab.write(name, format!("{name} of {run}"));
            newest = push(&lab, name, run).await;
        }
    }
    fs::write(&newest, "damaged").unwrap();
    lab.remove("a");
    lab.remove("b");
    let storage = lab.storage();
    storage.pull(&[output("a"), output("b")], &plain()).await.unwrap();
    assert_eq!((lab.read("a").as_deref(), lab.read("b").as_deref()), (Some("a of run1"), Some("b of run1")));
    let warnings = lab.reports.warnings();
    assert!(matches!(&warnings[..], [Warning::DamagedObject { url, .. }] if *url == newest), "{warnings:?}");
}

#[tokio::test]
async fn larders_own_directory_is_not_a_destination() {
    let lab = Lab::default();
    lab.write("m", "1");
    push(&lab, "m", "c").await;
    let to = pulling(|options| options.to = Some(lab.path(".larder/tmp")));
    assert_eq!(pull_one(&lab, "m", &to).await.unwrap_err().kind(), ErrorKind::Usage);

    // A checkout may contain a link, a journal, and other names.
    let victim = tempfile::tempdir().unwrap();
    fs::create_dir(victim.path().join("kept")).unwrap();
    lab.write(".larder/tmp/mine/file", "kept");
    let journal = format!("{{\"record\":\"staging\",\"path\":\"{}\"}}\n", victim.path().display());
    lab.write(".larder/journal/foreign", journal);
    lab.storage().find(&output("m"), &larder_storage::FindOptions::default()).await.unwrap();
    assert!(victim.path().join("kept").exists());
    assert_eq!(lab.read(".larder/tmp/mine/file").as_deref(), Some("kept"));
    // Entries with larder's names that are not directories are removed as they are.
    lab.write(".larder/tmp/1-2-3.4", "a file");
    std::os::unix::fs::symlink(victim.path(), lab.path(".larder/tmp/1-2-3.5")).unwrap();
    let warnings = lab.reports.warnings().len();
    lab.storage().find(&output("m"), &larder_storage::FindOptions::default()).await.unwrap();
    assert_eq!(fs::read_dir(lab.path(".larder/tmp")).unwrap().count(), 1);
    assert_eq!(lab.reports.warnings().len(), warnings + 1, "only the foreign journal is named again");
    assert!(victim.path().join("kept").exists());
    fs::remove_dir_all(lab.path(".larder/tmp")).unwrap();
    std::os::unix::fs::symlink(victim.path(), lab.path(".larder/tmp")).unwrap();
    lab.storage().find(&output("m"), &larder_storage::FindOptions::default()).await.unwrap_err();
    assert!(victim.path().join("kept").exists());
}

#[tokio::test]
async fn a_dry_run_checks_where_it_would_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::default();
    lab.write("dir/m", "1");
    push(&lab, "dir/m", "c").await;
    lab.remove("dir/m");
    fs::set_permissions(lab.path("dir"), fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::write(lab.path("dir/probe"), "").is_ok();
    let here = pull_one(&lab, "dir/m", &pulling(|options| options.dry_run = true)).await;
    fs::set_permissions(lab.path("dir"), fs::Permissions::from_mode(0o755)).unwrap();
    // The superuser may write everywhere.
    if is_root {
        return;
    }
    let here = here.unwrap_err().to_string();
    assert!(here.contains("failed to write to") && here.contains("permission denied"), "{here}");
}
