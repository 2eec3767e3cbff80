//! The journal of uploads, and the cleanup after a dead process.

use std::fs;
use std::sync::Arc;

use crate::requests::Far;
use crate::support::{Lab, command, noise, output};
use larder_backend::{ErrorKind as Remote, Key, Operation, UploadToken};
use larder_storage::{FindOptions, PushOptions, RemoteStorage, Warning};
use larder_testkit::{Effect, Fault, FaultyBackend, Gate};

/// Writes the journal of a dead process of this project.
fn dead_journal(lab: &Lab, records: &str) -> (std::path::PathBuf, String) {
    let journal = lab.path(".larder/journal/1-2-3");
    crate::support::write(&journal, "");
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&journal).unwrap());
    let root = lab.project.path().canonicalize().unwrap();
    let root = root.display();
    let owner =
        record(&format!("{{\"record\":\"owner\",\"format\":2,\"root\":\"{root}\",\"inode\":{inode}}}"));
    fs::write(&journal, format!("{owner}{records}")).unwrap();
    (journal, owner)
}

/// A line of a journal.
fn record(json: &str) -> String {
    let checksum = larder_storage::Scheme::Blake3.digest(json.as_bytes()).to_string();
    format!("{} {json}\n", &checksum[..16])
}

#[tokio::test]
async fn the_next_command_aborts_uploads_of_a_dead_process() {
    let far = Far::default();
    far.lab.write("m", "1");
    let orphan = far.remote.leak_upload(&Key::parse("m/c/h").unwrap());
    let elsewhere = UploadToken::new("of another remote");
    let opened = |remote: &str, token: &UploadToken| {
        let token = token.as_str();
        record(&format!("{{\"record\":\"upload_opened\",\"remote\":\"{remote}\",\"token\":\"{token}\"}}"))
    };
    let remote = far.remote.to_string();
    let records = opened(&remote, &orphan) + &opened("s3://other", &elsewhere);
    let (journal, owner) = dead_journal(&far.lab, &records);

    far.push().await;
    assert!(far.remote.open_uploads().is_empty());
    let left = fs::read_to_string(&journal).unwrap();
    let rest = opened("s3://other", &elsewhere);
    assert_eq!(left, owner + &rest, "that is for a command with that remote");
    far.storage().find(&output("m"), &FindOptions::default()).await.unwrap();
    far.push().await;
    assert!(!far.remote.requests().iter().any(|request| request.operation == Operation::Sweep));
}

#[tokio::test]
async fn a_failed_sweep_is_a_warning_and_is_kept_for_later() {
    let far = Far::default();
    far.lab.write("m", "1");
    let orphan = far.remote.leak_upload(&Key::parse("m/c/h").unwrap());
    let opened = record(&format!(
        "{{\"record\":\"upload_opened\",\"remote\":\"{}\",\"token\":\"{}\"}}",
        far.remote,
        orphan.as_str()
    ));
    let (journal, owner) = dead_journal(&far.lab, &opened);
    let storage = far.faulty([Fault::new(Operation::Sweep, Effect::Error(Remote::Unavailable))]);
    storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
    storage.close().await.unwrap();
    assert!(matches!(far.lab.reports.warnings()[..], [Warning::Sweep { .. }]));
    assert_eq!(fs::read_to_string(&journal).unwrap(), owner + &opened);
    far.push().await;
    assert!(!journal.exists());
    assert!(far.remote.open_uploads().is_empty());
}

#[tokio::test]
async fn without_interrupted_uploads_only_other_errors_are_warnings() {
    let sweep = |kind| async move {
        let far = Far::default();
        far.lab.write("m", "1");
        let storage = far.faulty([Fault::new(Operation::Sweep, Effect::Error(kind))]);
        storage.push(&output("m"), &command("c"), &PushOptions::default()).await.unwrap();
        storage.close().await.unwrap();
        far.lab.reports.warnings()
    };
    for kind in [
        Remote::PermissionDenied,
        Remote::Unauthenticated,
        Remote::Unavailable,
        Remote::Timeout,
        Remote::RootMissing,
    ] {
        assert_eq!(sweep(kind).await, [], "{kind:?}");
    }
    assert!(matches!(sweep(Remote::Other).await[..], [Warning::Sweep { .. }]));
}

#[tokio::test]
async fn a_push_records_its_open_upload_until_the_end() {
    let far = Far::default();
    far.lab.write("m", noise(4, 3 << 20));
    let gate = Gate::new();
    let faulty = FaultyBackend::new(far.remote.clone());
    faulty.inject(Fault::new(Operation::Commit, Effect::Stall(gate.clone())));
    let storage = RemoteStorage::with_backend(far.lab.project.path(), Arc::new(faulty), far.lab.options());
    let (pushed_output, made_by, options) = (output("m"), command("c"), PushOptions::default());
    let push = storage.push(&pushed_output, &made_by, &options);
    let look = async {
        gate.reached().await;
        let journals: Vec<String> =
            far.lab.leftovers().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let token = far.remote.open_uploads().remove(0);
        assert!(journals.concat().contains(&format!("\"token\":\"{}\"", token.as_str())), "{journals:?}");
        // Another command at the same time does not touch it.
        far.storage().push(&output("m"), &command("other"), &PushOptions::default()).await.unwrap();
        assert_eq!(far.remote.open_uploads(), [token]);
        gate.release();
    };
    let (pushed, ()) = tokio::join!(push, look);
    pushed.unwrap();
    storage.close().await.unwrap();
    assert!(far.lab.leftovers().is_empty());
}
