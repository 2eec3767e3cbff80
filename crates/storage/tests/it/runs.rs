//! Runs of commands: their requests, their races, and remotes that fail.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_backend::{ErrorKind as Remote, Key, Operation};
use larder_storage::{
    Error, FoundRun, LocalRun, MadeOutputs, MissReason, NoRun, Published, PullOutcome, PushOptions,
    PushOutcome, RemoteStorage, RunDetails, RunRequest, Warning,
};
use larder_testkit::{Effect, Fault, FaultyBackend, Gate};

use crate::requests::Far;
use crate::support::{Lab, command, output};

const TIMEOUT: Duration = Duration::from_secs(30);

fn request(outputs: &[&str]) -> RunRequest {
    let mut details = RunDetails::default();
    details.command = Some(vec!["make".to_owned()]);
    RunRequest::new(command("c"), outputs.iter().map(|path| output(path)).collect(), details)
}

/// Runs a "command" that writes a text to each output, and records the run in the project.
async fn make<'s>(
    storage: &'s RemoteStorage,
    lab: &Lab,
    outputs: &[&str],
    text: &str,
) -> (larder_storage::CommandRun<'s>, MadeOutputs) {
    let mut run = storage.begin_run(request(outputs)).await.unwrap();
    run.set_aside(TIMEOUT).await.unwrap();
    for path in outputs {
        lab.write(path, text);
    }
    run.check_made().unwrap();
    let now = SystemTime::now();
    let made = run.finish(&PushOptions::default(), now, now).await.unwrap();
    (run, made)
}

async fn publish(storage: &RemoteStorage, lab: &Lab, outputs: &[&str], text: &str) -> Published {
    let (run, made) = make(storage, lab, outputs, text).await;
    run.publish(&made, &PushOptions::default()).await.unwrap()
}

async fn find(storage: &RemoteStorage, outputs: &[&str]) -> Result<FoundRun, NoRun> {
    storage.begin_run(request(outputs)).await.unwrap().find(TIMEOUT).await.unwrap()
}

async fn restore(storage: &RemoteStorage, outputs: &[&str]) -> Vec<PullOutcome> {
    let mut run = storage.begin_run(request(outputs)).await.unwrap();
    let found = run.find(TIMEOUT).await.unwrap().unwrap();
    run.restore(&found).await.unwrap().iter().map(|pulled| pulled.outcome).collect()
}

async fn up_to_date(storage: &RemoteStorage, outputs: &[&str]) -> Option<LocalRun> {
    storage.begin_run(request(outputs)).await.unwrap().up_to_date().await.unwrap()
}

#[tokio::test]
async fn a_hit_is_two_listings_and_two_reads() {
    let far = Far::default();
    publish(&far.storage(), &far.lab, &["m"], "1").await;
    far.remote.take_operations();

    // Up to date: no request.
    assert!(up_to_date(&far.storage(), &["m"]).await.is_some());
    assert!(far.remote.take_operations().is_empty());

    let clone = Far { lab: Lab::default(), remote: far.remote.clone() };
    assert_eq!(restore(&clone.storage(), &["m"]).await, [PullOutcome::Restored]);
    let found = far.remote.take_operations();
    let of = |wanted: Operation| found.iter().filter(|operation| **operation == wanted).count();
    assert_eq!((of(Operation::List), of(Operation::Get), found.len()), (2, 2, 4), "{found:?}");
    assert_eq!(clone.lab.read("m").unwrap(), "1");
    let last = up_to_date(&clone.storage(), &["m"]).await.unwrap();
    assert_eq!(last.published_to, Some(far.remote.to_string()));
    assert!(far.remote.take_operations().is_empty());

    // An output that is right already is not transferred.
    fs::remove_dir_all(clone.lab.path(".larder")).unwrap();
    assert_eq!(restore(&clone.storage(), &["m"]).await, [PullOutcome::UpToDate]);
    let reads = far.remote.take_operations();
    let gets = reads.iter().filter(|operation| **operation == Operation::Get).count();
    assert_eq!(gets, 1, "the record, which has the execute bit: {reads:?}");
}

#[tokio::test]
async fn publishing_writes_an_object_and_a_record_per_output() {
    let far = Far::default();
    let (storage, outputs) = (far.storage(), ["a", "b", "c"]);
    let (run, made) = make(&storage, &far.lab, &outputs, "1").await;
    assert!(far.remote.take_operations().is_empty(), "a run that is recorded here makes no request");
    run.publish(&made, &PushOptions::default()).await.unwrap();
    let puts =
        far.remote.take_operations().into_iter().filter(|operation| *operation == Operation::Put).count();
    assert_eq!((far.objects().len(), far.remote.keys().len(), puts), (3, 6, 6));
}

#[tokio::test]
async fn outputs_of_several_runs_do_not_mix() {
    let far = Far::default();
    publish(&far.storage(), &far.lab, &["a", "b"], "1").await;
    publish(&far.storage(), &far.lab, &["a", "b"], "2").await;
    // A third run lost an object, so the second one is the newest that is whole.
    publish(&far.storage(), &far.lab, &["a", "b"], "3").await;
    let newest = find(&far.storage(), &["a", "b"]).await.unwrap();
    let key = format!("b/c/{}", newest.objects[1].content_hash);
    far.remote.remove(&Key::parse(key).unwrap());
    let clone = Far { lab: Lab::default(), remote: far.remote.clone() };
    assert_eq!(restore(&clone.storage(), &["a", "b"]).await, [PullOutcome::Restored; 2]);
    assert_eq!((clone.lab.read("a"), clone.lab.read("b")), (Some("2".to_owned()), Some("2".to_owned())));
    // A run that made only one of two outputs is no hit for both.
    publish(&far.storage(), &far.lab, &["a"], "4").await;
    let found = find(&far.storage(), &["a", "b"]).await.unwrap();
    assert_eq!(found.run.record.outputs.len(), 2);
}

#[tokio::test]
async fn an_object_that_is_gone_is_said_so() {
    let far = Far::default();
    publish(&far.storage(), &far.lab, &["m"], "1").await;
    assert_eq!(find(&far.storage(), &["other"]).await, Err(NoRun::NoRecord));
    far.remote.remove(&far.only_key());
    assert_eq!(find(&far.storage(), &["m"]).await, Err(NoRun::Gone { output: output("m") }));
}

#[tokio::test]
async fn a_damaged_object_is_replaced_by_the_next_push_of_its_key() {
    let far = Far::default();
    publish(&far.storage(), &far.lab, &["a", "b"], "1").await;
    let whole: Vec<_> = far.objects().into_iter().map(|key| (far.remote.bytes(&key).unwrap(), key)).collect();
    for (bytes, key) in &whole {
        let mut damaged = bytes.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        far.remote.insert(key, damaged);
    }
    let clone = Far { lab: Lab::default(), remote: far.remote.clone() };
    let storage = clone.storage();
    let mut run = storage.begin_run(request(&["a", "b"])).await.unwrap();
    let found = run.find(TIMEOUT).await.unwrap().unwrap();
    let error = run.restore(&found).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!((clone.lab.read("a"), clone.lab.read("b")), (None, None));
    run.set_aside(TIMEOUT).await.unwrap();
    clone.lab.write("a", "1");
    clone.lab.write("b", "1");
    let now = SystemTime::now();
    let made = run.finish(&PushOptions::default(), now, now).await.unwrap();
    let published = run.publish(&made, &PushOptions::default()).await.unwrap();
    assert!(published.outputs.iter().all(|pushed| pushed.outcome == PushOutcome::Uploaded));
    for (bytes, key) in &whole {
        assert_eq!(far.remote.bytes(key).unwrap(), bytes, "{key}");
    }
}

#[tokio::test]
async fn a_record_that_does_not_name_its_outputs_is_not_used() {
    let far = Far::default();
    publish(&far.storage(), &far.lab, &["m"], "1").await;
    let record = far.remote.keys().into_iter().find(|key| key.as_str().contains("/runs/")).unwrap();
    for junk in [b"junk".to_vec(), vec![b'{'; 2 << 20], Vec::new()] {
        far.remote.insert(&record, junk);
        assert!(find(&far.storage(), &["m"]).await.is_err());
    }
}

/// Two machines make the same output at once. Every order of their steps ends well.
#[tokio::test]
async fn two_machines_race() {
    for (one, other) in [("same", "same"), ("one", "other")] {
        for held in [Operation::List, Operation::Stat, Operation::Put, Operation::Commit] {
            for nth in 0..3 {
                let far = Far::default();
                let slow = Lab::default();
                let gate = Gate::new();
                let backend = FaultyBackend::new(far.remote.clone());
                backend.inject(Fault::new(held, Effect::Stall(gate.clone())).after(nth));
                let storage =
                    RemoteStorage::with_backend(slow.project.path(), Arc::new(backend), slow.options());
                let first = async {
                    let (run, made) = make(&storage, &slow, &["m"], one).await;
                    run.publish(&made, &PushOptions::default()).await.unwrap()
                };
                let mut first = Box::pin(first);
                // Some publishings have fewer requests of this kind.
                let ended = tokio::select! {
                    published = &mut first => Some(published),
                    () = gate.reached() => None,
                };
                let second = publish(&far.storage(), &far.lab, &["m"], other).await;
                gate.release();
                let first = match ended {
                    Some(published) => published,
                    None => first.await,
                };
                let is_same = one == other;
                assert_eq!(far.objects().len(), if is_same { 1 } else { 2 }, "{held:?} {nth}");
                let uploads = [&first, &second]
                    .iter()
                    .filter(|published| published.outputs[0].outcome == PushOutcome::Uploaded)
                    .count();
                assert_eq!(uploads, if is_same { 1 } else { 2 }, "{held:?} {nth}");
                // Whoever is last says that the command is not deterministic.
                let said = [&first, &second].iter().any(|published| !published.not_deterministic.is_empty());
                assert_eq!(said, !is_same, "{held:?} {nth}");
                let clone = Far { lab: Lab::default(), remote: far.remote.clone() };
                restore(&clone.storage(), &["m"]).await;
                let restored = clone.lab.read("m").unwrap();
                assert!(restored == one || restored == other);
            }
        }
    }
}

#[tokio::test]
async fn a_failed_look_up_begins_a_pause_and_a_successful_one_ends_it() {
    let far = Far::default();
    let failing = far.faulty([Fault::new(Operation::List, Effect::Error(Remote::PermissionDenied))]);
    let run = failing.begin_run(request(&["m"])).await.unwrap();
    assert!(run.pause().is_none());
    run.find(TIMEOUT).await.unwrap_err();
    let pause = run.pause().expect("the remote failed");
    assert!(pause.reason.contains("denied"), "{}", pause.reason);
    drop(run);
    let storage = far.storage();
    let run = storage.begin_run(request(&["m"])).await.unwrap();
    assert!(run.pause().is_some(), "it holds for later processes");
    assert_eq!(run.find(TIMEOUT).await.unwrap(), Err(NoRun::NoRecord));
    assert!(run.pause().is_none());
}

#[tokio::test]
async fn a_remote_that_hangs_is_given_up() {
    let far = Far::default();
    let hanging = far.faulty([Fault::new(Operation::List, Effect::Stall(Gate::new()))]);
    let run = hanging.begin_run(request(&["m"])).await.unwrap();
    let error = run.find(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
    assert!(error.to_string().contains("0.02 s"), "{error}");
    assert_eq!(run.explain(TIMEOUT, false).await, MissReason::First);
}

#[tokio::test]
async fn outputs_are_checked_before_anything_is_changed() {
    let lab = Lab::default();
    let storage = lab.storage();
    lab.write("d/f", "x");
    symlink("d", lab.path("link")).unwrap();
    for outputs in [&["d", "d/f"][..], &["link"], &["d", "d"]] {
        let error = storage.begin_run(request(outputs)).await.unwrap_err();
        assert_eq!(error.kind(), larder_storage::ErrorKind::Usage, "{outputs:?}: {error}");
    }
    assert!(!lab.path(".larder").exists());
}

#[tokio::test]
async fn a_changed_output_is_not_up_to_date() {
    let lab = Lab::default();
    let storage = lab.storage();
    make(&storage, &lab, &["m", "d/f"], "1").await;
    assert!(up_to_date(&storage, &["m", "d/f"]).await.is_some_and(|run| run.published_to.is_none()));
    assert!(up_to_date(&storage, &["m"]).await.is_some(), "a part of the outputs");
    assert!(up_to_date(&storage, &["m", "other"]).await.is_none());
    let set_mode = |mode| fs::set_permissions(lab.path("m"), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o755);
    assert!(up_to_date(&storage, &["m"]).await.is_none(), "it is executable now");
    set_mode(0o644);
    assert!(up_to_date(&storage, &["m"]).await.is_some());
    lab.write("m", "2");
    assert!(up_to_date(&storage, &["m"]).await.is_none());
    lab.remove("m");
    assert!(up_to_date(&storage, &["m"]).await.is_none());
}

/// A process that makes two outputs dies. The next command wants one of them.
#[tokio::test]
async fn what_a_dead_run_left_comes_back_before_a_command_of_a_part_of_its_outputs() {
    for wanted in ["a", "b", "d", "d/e"] {
        let far = Far::default();
        let outputs = ["a", "b", "d/e"];
        publish(&far.storage(), &far.lab, &outputs, "old").await;
        let storage = far.storage();
        let mut run = storage.begin_run(request(&outputs)).await.unwrap();
        run.set_aside(TIMEOUT).await.unwrap();
        for path in outputs {
            far.lab.write(path, "partial");
        }
        // The process dies: nothing is decided, and its journal is unlocked.
        drop(run);
        drop(storage);
        let storage = far.storage();
        let mut run = storage.begin_run(request(&[wanted])).await.unwrap();
        for path in outputs {
            assert_eq!(far.lab.read(path).as_deref(), Some("old"), "{wanted}: {path}");
            assert_eq!(far.lab.read(&format!(".larder/failed/{path}")).as_deref(), Some("partial"));
        }
        run.set_aside(TIMEOUT).await.unwrap();
        far.lab.write(wanted, "good");
        let now = SystemTime::now();
        run.finish(&PushOptions::default(), now, now).await.unwrap();
        drop(run);
        far.storage().list_outputs().await.unwrap();
        assert_eq!(far.lab.read(wanted).as_deref(), Some("good"), "{wanted}");
    }
}

/// An output that a person made, and that the remote may lack.
#[tokio::test]
async fn a_version_that_no_run_made_is_kept_when_it_is_replaced() {
    let far = Far::default();
    let replaced = |lab: &Lab| lab.read(".larder/replaced/m");
    far.lab.write("m", "by hand");
    publish(&far.storage(), &far.lab, &["m"], "1").await;
    assert_eq!((far.lab.read("m").as_deref(), replaced(&far.lab).as_deref()), (Some("1"), Some("by hand")));
    // A version that a run made is not kept.
    fs::remove_file(far.lab.path(".larder/replaced/m")).unwrap();
    publish(&far.storage(), &far.lab, &["m"], "2").await;
    assert_eq!((far.lab.read("m").as_deref(), replaced(&far.lab)), (Some("2"), None));
    // An edit is.
    far.lab.write("m", "edited");
    publish(&far.storage(), &far.lab, &["m"], "3").await;
    assert_eq!((far.lab.read("m").as_deref(), replaced(&far.lab).as_deref()), (Some("3"), Some("edited")));

    // The same for a hit.
    let clone = Far { lab: Lab::default(), remote: far.remote.clone() };
    clone.lab.write("m", "by hand");
    assert_eq!(restore(&clone.storage(), &["m"]).await, [PullOutcome::Restored]);
    assert_eq!(
        (clone.lab.read("m").as_deref(), replaced(&clone.lab).as_deref()),
        (Some("3"), Some("by hand"))
    );
    // If the object is damaged, the version stays in its place.
    clone.lab.write("m", "again by hand");
    for key in far.objects() {
        let mut damaged = far.remote.bytes(&key).unwrap().to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        far.remote.insert(&key, damaged);
    }
    let storage = clone.storage();
    let mut run = storage.begin_run(request(&["m"])).await.unwrap();
    let found = run.find(TIMEOUT).await.unwrap().unwrap();
    run.restore(&found).await.unwrap_err();
    assert_eq!(clone.lab.read("m").as_deref(), Some("again by hand"));
}

/// Two spellings of one place.
#[tokio::test]
async fn outputs_behind_a_symlink_are_those_of_its_target() {
    let lab = Lab::default();
    fs::create_dir(lab.path("real")).unwrap();
    symlink("real", lab.path("link")).unwrap();
    let storage = lab.storage();
    let error = storage.begin_run(request(&["real/a", "link/a"])).await.unwrap_err();
    assert!(error.to_string().contains("inside one another"), "{error}");
    let held = storage.begin_run(request(&["real/a"])).await.unwrap();
    let other = lab.storage();
    let mut waiting = Box::pin(other.begin_run(request(&["link/a"])));
    let waits = async {
        while !lab.reports.warnings().iter().any(|warning| matches!(warning, Warning::Waiting { .. })) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut waiting => panic!("the place is locked"),
        () = waits => {}
    }
    drop(held);
    waiting.await.unwrap();
}
