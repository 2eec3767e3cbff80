//! Pushes and pulls with a stat cache: unchanged files are hashed from memory, and every byte that is published is read.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use larder_storage::{
    Event, PackError, Phase, PullOutcome, PushOptions, PushOutcome, RemoteStorage, Reporter, Scheme,
    StatCache,
};
use larder_tree::FileState;

use crate::support::{Lab, command, noise, output, pulling, pushing};

/// Counts the bytes that are hashed.
#[derive(Default)]
struct Hashed(AtomicU64);

impl Reporter for Hashed {
    fn report(&self, event: Event<'_>) {
        if let Event::Advanced { phase: Phase::Hash, bytes, .. } = event {
            self.0.fetch_add(bytes, Ordering::SeqCst);
        }
    }
}

/// Waits until everything that was written is older than the clock of the file system.
fn settle(lab: &Lab) {
    let clock = || StatCache::new(&lab.path("none")).clock(lab.project.path()).unwrap();
    let before = clock();
    while clock() == before {
        thread::yield_now();
    }
}

fn storage(lab: &Lab) -> (RemoteStorage, Arc<Hashed>) {
    let hashed = Arc::new(Hashed::default());
    let mut options = lab.options();
    options.stat_cache = Some(StatCache::new(lab.project.path()));
    options.reporter = Arc::clone(&hashed) as _;
    (lab.storage_with(options), hashed)
}

/// Pushes `out`. Returns the outcome, and how many bytes were hashed before the upload.
async fn push(lab: &Lab, made_by: &str) -> (PushOutcome, u64) {
    let (storage, hashed) = storage(lab);
    let pushed = storage.push(&output("out"), &command(made_by), &PushOptions::default()).await.unwrap();
    storage.close().await.unwrap();
    (pushed.outcome, hashed.0.load(Ordering::SeqCst))
}

/// Pulls `out`. Returns the outcome, and how many bytes were hashed for the comparison.
async fn pull(lab: &Lab, force: bool) -> (PullOutcome, u64) {
    let (storage, hashed) = storage(lab);
    let pulled = storage.pull(&[output("out")], &pulling(|options| options.force = force)).await.unwrap();
    storage.close().await.unwrap();
    (pulled[0].outcome, hashed.0.load(Ordering::SeqCst))
}

fn lab() -> Lab {
    let lab = Lab::default();
    fs::create_dir(lab.path(".larder")).unwrap();
    for index in 0..20 {
        lab.write(&format!("out/d{}/{index}", index % 3), noise(index, 100));
    }
    lab.write("out/large", noise(100, 2 << 20));
    settle(&lab);
    lab
}

const SMALL: u64 = 20 * 100;
const LARGE: u64 = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_an_unchanged_output_reads_nothing() {
    let lab = lab();
    assert_eq!(push(&lab, "c").await, (PushOutcome::Uploaded, SMALL + LARGE));
    assert_eq!(push(&lab, "c").await, (PushOutcome::AlreadyPresent, 0));
    lab.write("out/d0/0", noise(200, 100));
    settle(&lab);
    assert_eq!(push(&lab, "c").await, (PushOutcome::Uploaded, 100));
    assert_eq!(push(&lab, "c").await, (PushOutcome::AlreadyPresent, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_the_same_bytes_with_and_without_the_cache() {
    let lab = lab();
    push(&lab, "first").await;
    assert_eq!(push(&lab, "remembered").await, (PushOutcome::Uploaded, 0));
    lab.write("out/d1/1", noise(200, 100));
    settle(&lab);
    assert_eq!(push(&lab, "in-part").await, (PushOutcome::Uploaded, 100));
    let plain = lab.storage();
    plain.push(&output("out"), &command("plain"), &PushOptions::default()).await.unwrap();
    let objects: Vec<_> = lab.objects().iter().map(|key| fs::read(lab.object(key)).unwrap()).collect();
    // first, in-part, plain, remembered
    assert_eq!(objects.len(), 4);
    assert!(objects[0] == objects[3] && objects[1] == objects[2] && objects[0] != objects[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_cache_publishes_nothing() {
    let lab = lab();
    let (storage, _) = storage(&lab);
    let path = lab.path("out/large");
    let state = FileState::of(&fs::metadata(&path).unwrap());
    let wrong = <[u8; 32]>::try_from(Scheme::Blake3.digest(b"something else").as_bytes()).unwrap();
    let cache = StatCache::new(lab.project.path());
    let clock = cache.clock(&path).unwrap();
    cache.record(&lab.path("out"), "blake3", clock, [(b"large".as_slice(), state, wrong)]);
    let error = storage.push(&output("out"), &command("c"), &PushOptions::default()).await.unwrap_err();
    assert!(matches!(error, larder_storage::Error::Pack(PackError::Changed { .. })), "{error}");
    assert!(lab.objects().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_compares_from_memory_and_records_what_it_unpacks() {
    let lab = lab();
    // More than a tick of the clock is needed to write all of it.
    for index in 0..24 {
        lab.write(&format!("out/many/{index:02}"), noise(index, 4 << 20));
    }
    settle(&lab);
    let all = SMALL + LARGE + 24 * (4 << 20);
    assert_eq!(push(&lab, "c").await.1, all);
    assert_eq!(pull(&lab, false).await, (PullOutcome::UpToDate, 0));
    lab.remove("out");
    assert_eq!(pull(&lab, false).await, (PullOutcome::Restored, 0));
    settle(&lab);
    let (outcome, hashed) = pull(&lab, false).await;
    assert_eq!(outcome, PullOutcome::UpToDate);
    assert!(hashed < all, "{hashed} of {all}");
    assert_eq!(pull(&lab, false).await, (PullOutcome::UpToDate, 0));
    assert_eq!(push(&lab, "c").await, (PushOutcome::AlreadyPresent, 0));

    lab.write("out/d0/0", noise(200, 100));
    settle(&lab);
    assert_eq!(pull(&lab, false).await, (PullOutcome::Kept, 100));
    assert_eq!(pull(&lab, true).await, (PullOutcome::Restored, 0));
    assert_eq!(fs::read(lab.path("out/d0/0")).unwrap(), noise(0, 100));
    settle(&lab);
    // Whatever the pull has recorded is true.
    let hash = larder_storage::content_hash;
    let cached = storage(&lab).0.content_hash(&lab.path("out"), None).await.unwrap();
    assert_eq!(cached, hash(&lab.path("out"), &larder_hashing::HashOptions::default()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_a_file_is_remembered_too() {
    let lab = Lab::default();
    fs::create_dir(lab.path(".larder")).unwrap();
    lab.write("out", "content");
    settle(&lab);
    assert_eq!(push(&lab, "c").await, (PushOutcome::Uploaded, 7));
    assert_eq!(push(&lab, "c").await, (PushOutcome::AlreadyPresent, 0));
    lab.remove("out");
    assert_eq!(pull(&lab, false).await, (PullOutcome::Restored, 0));
    settle(&lab);
    assert_eq!(
        pull(&lab, false).await,
        (PullOutcome::UpToDate, 7),
        "putting it into place changed its times"
    );
    assert_eq!(pull(&lab, false).await, (PullOutcome::UpToDate, 0));
    let forced = storage(&lab).0;
    let pushed =
        forced.push(&output("out"), &command("c"), &pushing(|options| options.force = true)).await.unwrap();
    assert_eq!(pushed.outcome, PushOutcome::Uploaded);
}
