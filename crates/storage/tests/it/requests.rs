//! The number of requests, and the behavior with a failing remote.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::support::{Lab, command, content, noise, output, pulling, pushing};
use larder_backend::{Capabilities, ErrorKind as Remote, Key, Operation};
use larder_storage::{
    CancellationToken, ContentHash, Error, ErrorKind, FindOptions, Phase, PullOptions, PullOutcome,
    PushOptions, PushOutcome, RemoteStorage, Warning,
};
use larder_testkit::{Effect, Fault, FaultyBackend, Gate, ManualClock, MemoryBackend};

/// A project beside a remote in memory.
#[derive(Default)]
pub(crate) struct Far {
    pub(crate) lab: Lab,
    pub(crate) remote: MemoryBackend,
}

impl Far {
    pub(crate) fn storage(&self) -> RemoteStorage {
        RemoteStorage::with_backend(
            self.lab.project.path(),
            Arc::new(self.remote.clone()),
            self.lab.options(),
        )
    }

    pub(crate) fn faulty(&self, faults: impl IntoIterator<Item = Fault>) -> RemoteStorage {
        let backend = FaultyBackend::new(self.remote.clone());
        faults.into_iter().for_each(|fault| backend.inject(fault));
        RemoteStorage::with_backend(self.lab.project.path(), Arc::new(backend), self.lab.options())
    }

    /// Pushes `m` under the command hash `c`, and clears the log of requests.
    pub(crate) async fn push(&self) -> ContentHash {
        let pushed = self.storage().push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
        self.remote.take_operations();
        pushed.content_hash
    }

    /// The keys of the objects of outputs.
    pub(crate) fn objects(&self) -> Vec<Key> {
        self.remote.keys().into_iter().filter(|key| !key.as_str().starts_with(".larder/")).collect()
    }

    pub(crate) fn only_key(&self) -> Key {
        self.objects().remove(0)
    }
}

/// Damaged objects are deleted by their listed version. Here only the version differs, not the size or the time.
#[tokio::test]
async fn a_fresh_push_of_equal_size_in_the_same_second_is_not_deleted() {
    let far = Far {
        remote: MemoryBackend::new().with_clock(ManualClock::new(SystemTime::now())),
        ..Far::default()
    };
    far.lab.write("m", "1");
    far.push().await;
    let key = far.only_key();
    let whole = far.remote.bytes(&key).unwrap();
    let mut damaged = whole.to_vec();
    damaged[whole.len() / 2] ^= 1;
    far.remote.insert(&key, damaged.clone());
    let storage = far.storage();
    let listed = storage.list_all().await.unwrap();
    far.remote.insert(&key, whole.clone());
    assert!(!storage.delete(&listed[0]).await.unwrap());
    assert_eq!(far.remote.bytes(&key).unwrap(), whole);

    // The same, between the check and the deletion.
    far.remote.insert(&key, damaged);
    let gate = Gate::new();
    let slow = far.faulty([Fault::new(Operation::Delete, Effect::Stall(gate.clone()))]);
    let listed = slow.list_all().await.unwrap();
    let deletion = tokio::spawn(async move { slow.delete(&listed[0]).await.unwrap() });
    gate.reached().await;
    far.remote.insert(&key, whole.clone());
    gate.release();
    assert!(!deletion.await.unwrap());
    assert_eq!(far.remote.bytes(&key).unwrap(), whole);

    let listed = storage.list_all().await.unwrap();
    assert!(storage.delete(&listed[0]).await.unwrap());
    assert!(far.objects().is_empty());
}

fn both(hash: &ContentHash) -> PullOptions {
    pulling(|options| {
        options.command_hash = Some(command("c"));
        options.content_hash = Some(hash.clone());
    })
}

#[tokio::test]
async fn every_answer_takes_the_fewest_requests() {
    let far = Far::default();
    far.lab.write("m", "1");
    let storage = far.storage();
    storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    let first = far.remote.take_operations();
    // The object and the records are looked for at the same time. A record is a second, small object.
    let (put, commit) = (Operation::Put, Operation::Commit);
    assert_eq!(first, [Operation::Stat, Operation::List, put, commit, put, commit]);
    let hash = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap().content_hash;
    assert_eq!(far.remote.take_operations(), [Operation::Stat, Operation::List, put, commit]);

    let mut find = FindOptions::default();
    find.command_hash = Some(command("c"));
    storage.find(&output("m"), &find).await.unwrap();
    assert_eq!(far.remote.take_operations(), [Operation::List, Operation::List], "objects and records");
    find.content_hash = Some(hash.clone());
    storage.find(&output("m"), &find).await.unwrap();
    assert_eq!(far.remote.take_operations(), [Operation::Stat]);
    storage.list_outputs().await.unwrap();
    assert_eq!(
        far.remote.take_operations(),
        [Operation::List, Operation::List],
        "the names, and one look at the only one"
    );

    far.lab.remove("m");
    storage.pull(&[output("m")], &both(&hash)).await.unwrap();
    assert_eq!(far.remote.take_operations(), [Operation::Get]);
    storage.pull(&[output("m")], &both(&hash)).await.unwrap();
    assert_eq!(
        far.remote.take_operations(),
        [Operation::Stat],
        "what is there is compared without fetching it"
    );
    far.lab.remove("m");
    storage.pull(&[output("m")], &PullOptions::default()).await.unwrap();
    assert_eq!(far.remote.take_operations(), [Operation::List, Operation::List, Operation::Get]);
}

#[tokio::test]
async fn looking_for_an_output_lists_that_output_only() {
    let far = Far::default();
    for number in 0..50 {
        far.remote.insert(&Key::parse(format!("other{number}/c/h")).unwrap(), "x");
    }
    far.remote.insert(&Key::parse("m/c/h").unwrap(), "x");
    let found = far.storage().find(&output("m"), &FindOptions::default()).await.unwrap();
    assert_eq!(found.count, 1);
    let requests = far.remote.requests();
    let targets: Vec<&str> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["m/", ".larder/1/runs/m/"]);
}

#[tokio::test]
async fn a_denial_is_never_a_miss() {
    for operation in [Operation::Stat, Operation::List, Operation::Get] {
        let far = Far::default();
        far.lab.write("m", "1");
        let hash = far.push().await;
        far.lab.remove("m");
        let storage = far.faulty([Fault::new(operation, Effect::Error(Remote::PermissionDenied)).always()]);
        let mut find = FindOptions::default();
        find.command_hash = Some(command("c"));
        let error = match operation {
            Operation::Stat => {
                find.content_hash = Some(hash);
                storage.find(&output("m"), &find).await.unwrap_err()
            }
            Operation::List => storage.find(&output("m"), &find).await.unwrap_err(),
            _ => storage.pull(&[output("m")], &both(&hash)).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Remote, "{operation:?}: {error:?}");
        assert!(!far.lab.path("m").exists());
    }
}

#[tokio::test]
async fn an_upload_that_fails_at_any_byte_is_aborted() {
    for at in [0, 1, 4096, 1 << 20] {
        for then in [Effect::FailAt(at, Remote::Unavailable), Effect::FailAt(at, Remote::NoSpace)] {
            let far = Far::default();
            far.lab.write("m", noise(1, 3 << 20));
            let storage = far.faulty([Fault::new(Operation::Put, then)]);
            let error = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Remote | ErrorKind::Failed), "{error:?}");
            storage.close().await.unwrap();
            assert!(far.remote.keys().is_empty());
            assert!(far.remote.open_uploads().is_empty(), "aborted, not dropped");
            assert!(far.lab.leftovers().is_empty());
            // The next run succeeds.
            far.storage().push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_commit_that_loses_the_race_is_already_present() {
    let far = Far::default();
    far.lab.write("m", "1");
    let storage = far.faulty([Fault::new(Operation::Stat, Effect::Error(Remote::NotFound))]);
    far.push().await;
    let pushed = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    assert_eq!(pushed.outcome, PushOutcome::AlreadyPresent);
    assert_eq!(pushed.bytes, far.remote.bytes(&far.only_key()).unwrap().len() as u64);
}

#[tokio::test]
async fn a_download_that_breaks_at_any_byte_changes_nothing() {
    let far = Far::default();
    far.lab.write("m/f", noise(2, 3 << 20));
    let hash = far.push().await;
    let size = far.remote.bytes(&far.only_key()).unwrap().len() as u64;
    far.lab.remove("m");
    for at in [0, 1, 600, 1 << 20, size - 1] {
        let effects: [(Effect, ErrorKind); 3] = [
            (Effect::FailAt(at, Remote::Unavailable), ErrorKind::Remote),
            (Effect::TruncateAt(at), ErrorKind::Integrity),
            (Effect::CorruptAt(at), ErrorKind::Integrity),
        ];
        for (effect, kind) in effects {
            let context = format!("{effect:?}");
            let storage = far.faulty([Fault::new(Operation::Get, effect)]);
            let error = storage.pull(&[output("m")], &both(&hash)).await.unwrap_err();
            storage.close().await.unwrap();
            assert_eq!(error.kind(), kind, "{context}: {error:?}");
            assert!(!far.lab.path("m").exists(), "{context}");
            assert!(far.lab.leftovers().is_empty(), "{context}");
        }
    }
    far.storage().pull(&[output("m")], &both(&hash)).await.unwrap();
}

#[tokio::test]
async fn a_failing_remote_is_not_damage_and_does_not_select_an_older_object() {
    let far = Far::default();
    for content in ["old", "new"] {
        far.lab.write("m", content);
        far.push().await;
    }
    far.lab.remove("m");
    let storage = far.faulty([Fault::new(Operation::Get, Effect::FailAt(3, Remote::Unavailable))]);
    let error = storage.pull(&[output("m")], &PullOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error:?}");
    assert!(!far.lab.path("m").exists());
}

#[tokio::test]
async fn an_object_that_was_deleted_since_it_was_listed_is_passed_over() {
    let far = Far::default();
    for content in ["old", "new"] {
        far.lab.write("m", content);
        far.push().await;
    }
    far.lab.remove("m");
    let storage = far.faulty([Fault::new(Operation::Get, Effect::Error(Remote::NotFound))]);
    storage.pull(&[output("m")], &PullOptions::default()).await.unwrap();
    assert_eq!(far.lab.read("m").as_deref(), Some("old"));
}

#[tokio::test]
async fn a_push_without_credentials_fails_before_it_has_hashed_everything() {
    let far = Far::default();
    // A sparse file takes minutes to hash.
    fs::File::create(far.lab.path("m")).unwrap().set_len(1 << 40).unwrap();
    let storage = far.faulty([Fault::new(Operation::Open, Effect::Error(Remote::Unauthenticated))]);
    let (pushed_output, made_by, options) = (output("m"), command("c"), PushOptions::default());
    let push = storage.push(&pushed_output, &made_by, &options);
    let error = tokio::time::timeout(Duration::from_secs(30), push).await.unwrap().unwrap_err();
    assert_eq!(far.lab.reports.ended(Phase::Hash), 1, "its thread is still at work");
    assert!(matches!(error, Error::Backend(error) if error.kind() == Remote::Unauthenticated));
    assert_eq!(far.remote.take_operations(), []);
}

#[tokio::test]
async fn cancelling_ends_an_operation_that_a_silent_remote_holds() {
    for operation in [Operation::Open, Operation::Stat, Operation::Put, Operation::Get, Operation::List] {
        let far = Far::default();
        far.lab.write("m", "1");
        if !matches!(operation, Operation::Open | Operation::Put) {
            far.push().await;
        }
        let gate = Gate::new();
        let faulty = FaultyBackend::new(far.remote.clone());
        faulty.inject(Fault::new(operation, Effect::Stall(gate.clone())));
        let mut options = far.lab.options();
        options.cancel = CancellationToken::new();
        let cancel = options.cancel.clone();
        let storage = RemoteStorage::with_backend(far.lab.project.path(), Arc::new(faulty), options);
        let work = async {
            match operation {
                Operation::Open | Operation::Stat | Operation::Put => {
                    storage.push(&output("m"), &command("c"), &PushOptions::default()).await.map(drop)
                }
                _ => {
                    far.lab.remove("m");
                    storage.pull(&[output("m")], &PullOptions::default()).await.map(drop)
                }
            }
        };
        let stop = async {
            gate.reached().await;
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(work, stop);
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled, "{operation:?}");
        storage.close().await.unwrap();
        assert!(far.remote.open_uploads().is_empty(), "{operation:?}");
        assert!(far.lab.leftovers().is_empty(), "{operation:?}");
    }
}

#[tokio::test]
async fn a_dry_run_makes_no_change_anywhere() {
    let far = Far::default();
    far.lab.write("m", "1");
    let dry = pushing(|options| options.dry_run = true);
    far.storage().push(&output("m"), &command("c"), &dry).await.unwrap();
    assert_eq!(far.remote.take_operations(), [Operation::Stat]);
    assert!(!far.lab.path(".larder").exists());
    let hash = far.push().await;
    far.lab.remove("m");
    let mut options = both(&hash);
    options.dry_run = true;
    let pulled = far.storage().pull(&[output("m")], &options).await.unwrap();
    assert_eq!(pulled[0].outcome, PullOutcome::Restored);
    assert_eq!(far.remote.take_operations(), [Operation::Stat]);
    let absent = pulling(|options| {
        options.command_hash = Some(command("c"));
        options.content_hash = Some(content("absent"));
    });
    far.storage().pull(&[output("m")], &absent).await.unwrap_err();
    assert!(!far.lab.path("m").exists());
    assert!(far.lab.leftovers().is_empty());
}

#[tokio::test]
async fn a_conflict_is_not_exists_and_the_output_is_sent_again() {
    let far = Far::default();
    far.lab.write("m", noise(5, 3 << 20));
    let conflict = || Fault::new(Operation::Commit, Effect::Error(Remote::Conflict));
    let storage = far.faulty([conflict().times(2)]);
    let pushed = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    assert_eq!(pushed.outcome, PushOutcome::Uploaded);
    let sent = far.remote.bytes(&far.only_key()).unwrap();
    assert_eq!(pushed.bytes, sent.len() as u64);
    far.lab.remove("m");
    far.storage().pull(&[output("m")], &both(&pushed.content_hash)).await.unwrap();

    // Another process has published meanwhile, after the first check of this one.
    let storage = far.faulty([Fault::new(Operation::Stat, Effect::Error(Remote::NotFound)), conflict()]);
    let pushed = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    assert_eq!(pushed.outcome, PushOutcome::AlreadyPresent);

    let storage = far.faulty([conflict().always()]);
    let error = storage.push(&output("m"), &command("never"), &PushOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
    assert!(far.remote.open_uploads().is_empty());
}

#[tokio::test]
async fn a_remote_that_cannot_keep_pushers_apart_is_named_once() {
    let far = Far::default();
    for name in ["m", "n"] {
        far.lab.write(name, name);
    }
    let remote = far.remote.clone().with_capabilities(Capabilities::new(false, true, 255));
    let storage = RemoteStorage::with_backend(far.lab.project.path(), Arc::new(remote), far.lab.options());
    let said = |name: &str| {
        let warnings = far.lab.reports.warnings();
        let said = warnings.iter().filter(|it| matches!(it, Warning::NotExclusive { .. })).count();
        (name.to_owned(), said)
    };
    for (name, expected) in [("m", 1), ("m", 1), ("n", 1)] {
        storage.push(&output(name), &command("c"), &PushOptions::default()).await.unwrap();
        assert_eq!(said(name), (name.to_owned(), expected));
    }
}
