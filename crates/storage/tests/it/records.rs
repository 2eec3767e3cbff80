//! What run records promise: which version is the newest, and which outputs come back together.

use std::time::{Duration, SystemTime};

use crate::requests::Far;
use crate::support::{command, content, output, pulling, pushing};
use larder_backend::{ErrorKind as Remote, Key, Operation};
use larder_storage::{
    Change, ContentHash, Difference, Error, ErrorKind, FindOptions, OutputPath, PullOptions, PushOptions,
    RemoteStorage, RunRecord, RunTime, Scheme, Warning,
};
use larder_testkit::{Effect, Fault, ManualClock, MemoryBackend};

const HOUR: Duration = Duration::from_hours(1);

/// Pushes a text as `name`, as a process of its own.
async fn push(far: &Far, name: &str, made_by: &str, text: &str) -> ContentHash {
    far.lab.write(name, text);
    let pushed = far.storage().push(&output(name), &command(made_by), &PushOptions::default()).await.unwrap();
    pushed.content_hash
}

async fn push_together(far: &Far, made_by: &str, texts: &[(&str, &str)]) {
    for (name, text) in texts {
        far.lab.write(name, text);
    }
    let outputs: Vec<OutputPath> = texts.iter().map(|(name, _)| output(name)).collect();
    let storage = far.storage();
    let each = |_, result: larder_storage::Result<_>| drop(result.unwrap());
    storage.push_all(&outputs, &command(made_by), &PushOptions::default(), each).await.unwrap().unwrap();
}

/// Pulls outputs, and returns their texts.
async fn pull(far: &Far, names: &[&str], options: &PullOptions) -> Vec<String> {
    let outputs: Vec<OutputPath> = names.iter().map(|name| output(name)).collect();
    for name in names {
        std::fs::remove_file(far.lab.path(name)).ok();
    }
    far.storage().pull(&outputs, options).await.unwrap();
    names.iter().map(|name| far.lab.read(name).unwrap()).collect()
}

async fn newest(far: &Far, name: &str) -> ContentHash {
    far.storage().find(&output(name), &FindOptions::default()).await.unwrap().newest.content_hash
}

fn of_command(made_by: &str) -> PullOptions {
    pulling(|options| options.command_hash = Some(command(made_by)))
}

fn records(far: &Far) -> Vec<Key> {
    far.remote.keys().into_iter().filter(|key| key.as_str().starts_with(".larder/1/runs/")).collect()
}

/// A record that another machine wrote at a time.
fn insert_record(far: &Far, name: &str, made_by: &str, content: &ContentHash, time: SystemTime) {
    let reversed = RunTime::MAX.as_millis() - RunTime::from(time).as_millis();
    let key = format!(".larder/1/runs/{name}/{made_by}/{reversed:013}.{:016x}.{content}.json", reversed / 7);
    far.remote.insert(&Key::parse(key).unwrap(), "{}");
}

fn warnings(far: &Far) -> Vec<Warning> {
    far.lab.reports.warnings()
}

#[tokio::test]
async fn the_version_that_was_pushed_last_is_the_newest() {
    let far = Far::default();
    let first = push(&far, "m", "c", "v1").await;
    let second = push(&far, "m", "c", "v2").await;
    assert_eq!(newest(&far, "m").await, second);
    assert_eq!(push(&far, "m", "c", "v1").await, first);
    assert_eq!(newest(&far, "m").await, first);
    assert_eq!(pull(&far, &["m"], &PullOptions::default()).await, ["v1"]);
    assert_eq!(pull(&far, &["m"], &of_command("c")).await, ["v1"]);
    let all = far.storage().find_all(&output("m"), &FindOptions::default()).await.unwrap();
    let order: Vec<_> = all.iter().map(|object| object.content_hash.clone()).collect();
    assert_eq!(order, [first, second]);
}

#[tokio::test]
async fn the_last_push_decides_across_command_hashes() {
    let far = Far::default();
    let first = push(&far, "m", "one", "v1").await;
    push(&far, "m", "other", "v2").await;
    push(&far, "m", "one", "v1").await;
    let found = far.storage().find(&output("m"), &FindOptions::default()).await.unwrap().newest;
    assert_eq!((found.command_hash, found.content_hash), (command("one"), first));
}

#[tokio::test]
async fn a_push_is_later_than_every_record_whatever_its_clock_says() {
    let far = Far::default();
    let first = push(&far, "m", "c", "v1").await;
    // Another machine's clock is twenty hours fast.
    insert_record(&far, "m", "other", &first, SystemTime::now() + 20 * HOUR);
    insert_record(&far, "m", "c", &first, SystemTime::now() + 20 * HOUR);
    let second = push(&far, "m", "c", "v2").await;
    assert_eq!(newest(&far, "m").await, second);
}

#[tokio::test]
async fn a_record_more_than_a_day_ahead_is_foreign() {
    let far = Far::default();
    let first = push(&far, "m", "c", "v1").await;
    let second = push(&far, "m", "c", "v2").await;
    insert_record(&far, "m", "c", &first, SystemTime::now() + 25 * HOUR);
    assert_eq!(newest(&far, "m").await, second);
    assert!(matches!(warnings(&far)[..], [Warning::ForeignRecord { .. }]));
}

#[tokio::test]
async fn a_record_whose_object_is_gone_counts_for_nothing() {
    let far = Far::default();
    let first = push(&far, "m", "c", "v1").await;
    let second = push(&far, "m", "c", "v2").await;
    far.remote.remove(&Key::parse(format!("m/c/{second}")).unwrap()).unwrap();
    assert_eq!(newest(&far, "m").await, first);
    assert_eq!(pull(&far, &["m"], &PullOptions::default()).await, ["v1"]);
}

#[tokio::test]
async fn an_object_without_a_record_counts_by_its_own_time() {
    let far = Far::default();
    let first = push(&far, "m", "c", "v1").await;
    far.remote.insert(&Key::parse("m/c/later").unwrap(), "x");
    assert_eq!(newest(&far, "m").await, content("later"));
    far.remote.set_last_modified(&Key::parse("m/c/later").unwrap(), SystemTime::now() - HOUR);
    assert_eq!(newest(&far, "m").await, first);
}

#[tokio::test]
async fn outputs_of_one_command_come_from_its_newest_run() {
    let far = Far::default();
    push_together(&far, "c", &[("a", "a1"), ("b", "b1")]).await;
    push_together(&far, "c", &[("a", "a2"), ("b", "b2")]).await;
    // One output alone is no run of both.
    let third = push(&far, "b", "c", "b3").await;
    assert_eq!(newest(&far, "b").await, third);
    assert_eq!(pull(&far, &["a", "b"], &of_command("c")).await, ["a2", "b2"]);
    assert_eq!(pull(&far, &["a", "b"], &PullOptions::default()).await, ["a2", "b2"]);
    let gone = push(&far, "a", "elsewhere", "a2").await;
    far.remote.remove(&Key::parse(format!("a/c/{gone}")).unwrap()).unwrap();
    assert_eq!(pull(&far, &["a", "b"], &of_command("c")).await, ["a1", "b1"]);
}

#[tokio::test]
async fn a_run_with_a_damaged_object_gives_way_to_an_older_run() {
    let far = Far::default();
    push_together(&far, "c", &[("a", "a1"), ("b", "b1")]).await;
    push_together(&far, "c", &[("a", "a2"), ("b", "b2")]).await;
    let damaged = push(&far, "b", "elsewhere", "b2").await;
    far.remote.insert(&Key::parse(format!("b/c/{damaged}")).unwrap(), "damage");
    assert_eq!(pull(&far, &["a", "b"], &of_command("c")).await, ["a1", "b1"]);
}

#[tokio::test]
async fn without_a_common_run_the_newest_objects_of_a_command_are_taken() {
    let far = Far::default();
    push(&far, "a", "c", "a1").await;
    push(&far, "b", "c", "b1").await;
    assert_eq!(pull(&far, &["a", "b"], &of_command("c")).await, ["a1", "b1"]);
}

#[tokio::test]
async fn under_the_hash_of_no_command_every_output_takes_its_own_newest() {
    let far = Far::default();
    let none = larder_storage::CommandHash::of_no_command(Scheme::Blake3).to_string();
    push_together(&far, &none, &[("a", "a1"), ("b", "b1")]).await;
    push(&far, "a", &none, "a2").await;
    assert_eq!(pull(&far, &["a", "b"], &PullOptions::default()).await, ["a2", "b1"]);
    assert_eq!(pull(&far, &["a", "b"], &of_command(&none)).await, ["a2", "b1"]);
}

#[tokio::test]
async fn all_records_of_a_push_have_the_same_content() {
    let far = Far::default();
    far.lab.write("dir/x", "1");
    far.lab.write("dir/y", "22");
    push_together(&far, "c", &[("a", "a1")]).await;
    let outputs = [output("dir"), output("a"), output("missing")];
    let failed = |index, result: larder_storage::Result<_>| assert_eq!(result.is_err(), index == 2);
    let run =
        far.storage().push_all(&outputs, &command("both"), &PushOptions::default(), failed).await.unwrap();
    let of_run: Vec<Key> =
        records(&far).into_iter().filter(|key| key.as_str().contains(&run.unwrap().to_string())).collect();
    assert_eq!(of_run.len(), 2);
    let bytes: Vec<_> = of_run.iter().map(|key| far.remote.bytes(key).unwrap()).collect();
    assert_eq!(bytes[0], bytes[1]);
    let record = RunRecord::from_bytes(&bytes[0]).unwrap();
    assert_eq!((record.id, &record.command_hash), (run.unwrap(), &command("both")));
    assert_eq!(record.details.command, None, "it is a push");
    let outputs: Vec<_> = record
        .outputs
        .iter()
        .map(|output| (output.path.as_str(), output.content_bytes, output.files))
        .collect();
    assert_eq!(outputs, [("a", 2, 1), ("dir", 3, 2)]);
}

#[tokio::test]
async fn weasel_knows_no_records() {
    let far = Far::default();
    let mut options = far.lab.options();
    options.scheme = Scheme::Weasel;
    let storage =
        RemoteStorage::with_backend(far.lab.project.path(), std::sync::Arc::new(far.remote.clone()), options);
    far.lab.write("m", "1");
    let pushed = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    insert_record(&far, "m", "c", &pushed.content_hash, SystemTime::now());
    far.remote.insert(&Key::parse("m/c/later").unwrap(), "x");
    far.remote.take_operations();
    let found = storage.find(&output("m"), &FindOptions::default()).await.unwrap();
    assert_eq!(found.newest.content_hash, content("later"));
    assert_eq!(far.remote.take_operations(), [Operation::List]);
    assert_eq!(records(&far).len(), 1, "the push wrote none");
}

#[tokio::test]
async fn a_record_that_cannot_be_written_is_an_error_and_the_next_push_writes_it() {
    let far = Far::default();
    far.lab.write("m", "1");
    for operation in [Operation::Put, Operation::Commit] {
        // The first call is that of the object, if it is not there yet.
        let after = usize::from(operation == Operation::Put);
        let storage =
            far.faulty([Fault::new(operation, Effect::Error(Remote::PermissionDenied)).after(after)]);
        let error = storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Record { published, .. } if published == &[output("m")]),
            "{error:?}"
        );
        assert_eq!(error.kind(), ErrorKind::Remote);
        assert_eq!(far.remote.keys().len(), 1, "the object is published");
    }
    push(&far, "m", "c", "1").await;
    assert_eq!(records(&far).len(), 1);
}

#[tokio::test]
async fn a_dry_run_writes_no_record() {
    let far = Far::default();
    far.lab.write("m", "1");
    let dry = pushing(|options| options.dry_run = true);
    far.storage().push(&output("m"), &command("c"), &dry).await.unwrap();
    assert!(far.remote.keys().is_empty());
}

#[tokio::test]
async fn foreign_objects_among_the_records_are_one_warning() {
    let far = Far::default();
    let hash = push(&far, "m", "c", "v1").await;
    for name in ["m/c/.DS_Store", "m/c/v2.json", "m/c/deeper/x", "m/a.b/x"] {
        far.remote.insert(&Key::parse(format!(".larder/1/runs/{name}")).unwrap(), "junk");
    }
    let storage = far.storage();
    for _ in 0..2 {
        assert_eq!(
            storage.find(&output("m"), &FindOptions::default()).await.unwrap().newest.content_hash,
            hash
        );
    }
    assert!(matches!(warnings(&far)[..], [Warning::ForeignRecord { .. }]));
    assert_eq!(records(&far).len(), 5, "they are not deleted");
}

/// A remote that lists in order gives the newest records of one command first.
#[tokio::test]
async fn one_page_of_records_is_enough_under_a_command_hash() {
    let far = Far::default();
    let first = push(&far, "m", "c", "v1").await;
    let second = push(&far, "m", "c", "v2").await;
    let start = SystemTime::now() - 2 * HOUR;
    for number in 0..3_000 {
        insert_record(&far, "m", "c", &first, start + Duration::from_millis(number));
    }
    far.remote.take_operations();
    let mut find = FindOptions::default();
    find.command_hash = Some(command("c"));
    assert_eq!(far.storage().find(&output("m"), &find).await.unwrap().newest.content_hash, second);
    assert_eq!(far.remote.take_operations(), [Operation::List, Operation::List]);

    // An object that none of the newest records names may be named by an older one, or by none.
    far.remote.insert(&Key::parse("m/c/later").unwrap(), "x");
    assert_eq!(far.storage().find(&output("m"), &find).await.unwrap().newest.content_hash, content("later"));
    let lists = far.remote.take_operations();
    assert_eq!(lists, [Operation::List; 6], "the first page, and then all");
}

#[tokio::test]
async fn the_newest_run_of_several_outputs_may_be_behind_the_first_page() {
    let far = Far::default();
    push_together(&far, "c", &[("a", "a1"), ("b", "b1")]).await;
    let other = push(&far, "b", "c", "b2").await;
    for number in 0..1_500 {
        insert_record(&far, "b", "c", &other, SystemTime::now() + Duration::from_millis(number));
    }
    assert_eq!(pull(&far, &["a", "b"], &of_command("c")).await, ["a1", "b1"]);
}

#[tokio::test]
async fn a_key_that_is_too_long_for_a_record_is_said_once() {
    let far = Far::default();
    let long = ["x".repeat(240), "y".repeat(240), "z".repeat(240), "w".repeat(180)].join("/");
    far.lab.write(&format!("{long}/1"), "1");
    far.lab.write(&format!("{long}/2"), "2");
    let outputs = [output(&format!("{long}/1")), output(&format!("{long}/2"))];
    let each = |_, result: larder_storage::Result<_>| drop(result.unwrap());
    far.storage().push_all(&outputs, &command("c"), &PushOptions::default(), each).await.unwrap();
    assert!(matches!(warnings(&far)[..], [Warning::NotRecorded { .. }]));
    assert_eq!(far.remote.keys().len(), 2);
}

#[tokio::test]
async fn the_records_of_a_large_run_list_a_part_of_it_each() {
    let far = Far::default();
    let outputs: Vec<OutputPath> = (0..800)
        .map(|number| {
            output(&format!("{}/{}/{}/{number}", "x".repeat(230), "y".repeat(230), "z".repeat(230)))
        })
        .collect();
    for path in &outputs {
        far.lab.write(path.as_str(), "x");
    }
    let each = |_, result: larder_storage::Result<_>| drop(result.unwrap());
    far.storage().push_all(&outputs, &command("c"), &PushOptions::default(), each).await.unwrap();
    assert_eq!(records(&far).len(), 800);
    let runs: std::collections::HashSet<_> =
        far.storage().log(None, None, 10).await.unwrap().into_iter().map(|run| run.record.id).collect();
    assert_eq!(runs.len(), 1, "they have one id, so the outputs come back together");
    let bytes = records(&far).iter().map(|key| far.remote.bytes(key).unwrap().len()).max();
    assert!(bytes < Some(200 << 10), "{bytes:?}");
}

#[tokio::test]
async fn the_log_has_the_newest_runs_first() {
    let far = Far::default();
    push_together(&far, "one", &[("a", "a1"), ("b", "b1")]).await;
    push(&far, "a", "two", "a2").await;
    push(&far, "b", "three", "b2").await;
    let commands = async |name: Option<&str>, made_by: Option<&str>, limit| {
        let (path, made_by) = (name.map(output), made_by.map(command));
        let runs = far.storage().log(path.as_ref(), made_by.as_ref(), limit).await.unwrap();
        runs.into_iter().map(|run| run.record.command_hash.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(commands(None, None, 10).await, ["three", "two", "one"]);
    assert_eq!(commands(None, None, 2).await, ["three", "two"]);
    assert_eq!(commands(Some("a"), None, 10).await, ["two", "one"]);
    assert_eq!(commands(Some("b"), Some("one"), 10).await, ["one"]);
    assert_eq!(commands(None, Some("two"), 10).await, ["two"]);
    assert!(commands(Some("c"), None, 10).await.is_empty());
    far.remote.take_operations();
    commands(None, None, 10).await;
    assert_eq!(
        far.remote.take_operations(),
        [Operation::List, Operation::Get, Operation::Get, Operation::Get],
        "the run with two outputs is read once"
    );
}

#[tokio::test]
async fn records_of_later_versions_and_junk_are_ignored_with_one_warning() {
    let far = Far::default();
    push(&far, "m", "c", "v1").await;
    let key = records(&far).remove(0);
    let whole = String::from_utf8(far.remote.bytes(&key).unwrap().to_vec()).unwrap();
    let junk = [
        whole.replace("run-record.md#v1", "run-record.md#v2"),
        whole.replace(r#""m":"#, r#""../up":"#),
        "x".repeat(1 << 20),
        "x".repeat((1 << 20) + 1),
        "{}".to_owned(),
    ];
    for (number, junk) in junk.into_iter().enumerate() {
        let name = format!(".larder/1/runs/m/c/820000000000{number}.00000000deadbee{number}.x.json");
        far.remote.insert(&Key::parse(name).unwrap(), junk);
    }
    let runs = far.storage().log(Some(&output("m")), None, 10).await.unwrap();
    assert_eq!(runs.len(), 1);
    assert!(matches!(warnings(&far)[..], [Warning::ForeignRecord { .. }]), "{:?}", warnings(&far));
}

#[tokio::test]
async fn a_clock_more_than_a_day_ahead_of_the_remote_is_said_once() {
    let behind = SystemTime::now() - 25 * HOUR;
    let far = Far { remote: MemoryBackend::new().with_clock(ManualClock::new(behind)), ..Far::default() };
    push_together(&far, "c", &[("a", "1"), ("b", "2")]).await;
    assert!(matches!(warnings(&far)[..], [Warning::ClockAhead { .. }]), "{:?}", warnings(&far));
}

/// Pushes a text under a command whose manifest is known, as a run does.
async fn run(far: &Far, made_by: &str, text: &str, inputs: &str) {
    far.lab.write("m", text);
    let mut options = PushOptions::default();
    options.details.manifest = Some(format!("larder-command 1\nsite -\nenv -\n{inputs}"));
    far.storage().push(&output("m"), &command(made_by), &options).await.unwrap();
}

#[tokio::test]
async fn why_compares_with_the_run_that_shares_the_most_inputs() {
    let far = Far::default();
    run(&far, "near", "1", "dep h1 a\ndep h2 b\narg x\n").await;
    run(&far, "unlike", "2", "dep h9 a\ndep h9 b\narg y\n").await;
    run(&far, "asked", "3", "dep h1 a\ndep h3 b\narg x\n").await;
    let report = far.storage().why(&output("m"), None).await.unwrap();
    assert_eq!((report.run.record.command_hash, report.contents), (command("asked"), 1));
    let nearest = report.nearest.unwrap();
    assert_eq!(nearest.run.record.command_hash, command("near"));
    let changed = Difference::Dependency { path: "b".into(), change: Change::Changed, files: Vec::new() };
    assert_eq!(nearest.differences, Some(vec![changed]));

    // Only the 8 newest commands are compared, and one command may have several contents.
    for number in 0..7 {
        run(&far, &format!("other{number}"), "4", "dep h9 a\ndep h9 b\narg z\n").await;
    }
    run(&far, "asked", "5", "dep h1 a\ndep h3 b\narg x\n").await;
    let report = far.storage().why(&output("m"), Some(&command("asked"))).await.unwrap();
    assert_eq!(report.contents, 2);
    assert_eq!(report.nearest.unwrap().run.record.command_hash, command("other6"), "the newest of equals");
    let error = far.storage().why(&output("absent"), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
