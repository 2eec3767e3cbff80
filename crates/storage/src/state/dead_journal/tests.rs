use std::fs::{self, OpenOptions};
use std::os::unix::net::UnixListener;

use super::super::directory::JOURNALS;
use super::super::identity::FileIdentity;
use super::super::journal::ProcessJournal;
use rustix::fs::Mode;

use super::*;

fn journals(project: &tempfile::TempDir) -> PathBuf {
    project.path().join(".larder/journal")
}

fn open(project: &tempfile::TempDir, name: &str) -> OpenedJournal {
    let directory = StateDirectory::open(project.path(), &JOURNALS).unwrap().unwrap();
    DeadJournal::open(&Arc::new(directory), project.path(), name.as_ref()).unwrap()
}

#[track_caller]
fn dead(project: &tempfile::TempDir, name: &str) -> DeadJournal {
    let OpenedJournal::Dead(dead) = open(project, name) else { panic!("its process is gone") };
    dead
}

/// Writes a journal with these records, as a dead process leaves it.
fn left_behind(project: &tempfile::TempDir, records: &[JournalRecord]) -> String {
    let journal = ProcessJournal::begin(project.path()).unwrap();
    for record in records {
        journal.append(record).unwrap();
    }
    journal.leave_unfinished();
    journal.id().to_owned()
}

fn append(project: &tempfile::TempDir, name: &str, bytes: &[u8]) {
    OpenOptions::new().append(true).open(journals(project).join(name)).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_living_journal_is_left_alone_and_a_dead_one_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let journal = ProcessJournal::begin(dir.path()).unwrap();
    let id = journal.id().to_owned();
    let name = [STAGING_PREFIX, journal.staging_name().as_bytes(), b"\xff %41\n"].concat();
    let strange = Path::new("/x").join(OsStr::from_bytes(&name));
    journal.append(&JournalRecord::Staging { path: strange.clone() }).unwrap();
    assert!(matches!(open(&dir, &id), OpenedJournal::InUse));

    journal.leave_unfinished();
    drop(journal);
    assert_eq!(dead(&dir, &id).outside_stagings().collect::<Vec<_>>(), [strange]);
}

#[test]
fn a_journal_ends_with_its_process() {
    let dir = tempfile::tempdir().unwrap();
    drop(ProcessJournal::begin(dir.path()).unwrap());
    assert_eq!(fs::read_dir(journals(&dir)).unwrap().count(), 0);
}

#[test]
fn a_torn_record_has_not_happened_and_an_unknown_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let id = left_behind(&dir, &[]);
    let settled = JournalRecord::Settled { placing: 7 };
    let line = settled.to_line().unwrap();
    append(&dir, &id, &line[..20]);
    assert_eq!(dead(&dir, &id).records.len(), 1);
    append(&dir, &id, &[b"\n", &line[..]].concat());
    assert_eq!(dead(&dir, &id).records[1..], [settled]);
    append(&dir, &id, b"garbage \xff\n");
    assert_eq!(dead(&dir, &id).records.len(), 2);
}

#[test]
fn each_settled_placing_leaves_the_others_open() {
    let path = |text: &str| vec![PathBuf::from(text)];
    let moved = |text: &str| {
        let new = FileIdentity { inode: 1, created: None };
        let [staged, destination, backup] = ["staged", text, "backup"].map(PathBuf::from);
        vec![Move { staged, destination, backup, new, previous: None }]
    };
    let dir = tempfile::tempdir().unwrap();
    let id = left_behind(
        &dir,
        &[
            JournalRecord::Parents { placing: 0, paths: path("p0") },
            JournalRecord::Placing { placing: 1, moves: moved("m1") },
            JournalRecord::Placing { placing: 0, moves: moved("m0") },
            JournalRecord::Placing { placing: 2, moves: moved("m2") },
            JournalRecord::Settled { placing: 1 },
        ],
    );
    let journal = dead(&dir, &id);
    assert_eq!(
        journal.unsettled(),
        [
            Unsettled { placing: 0, parents: &path("p0"), moves: &moved("m0") },
            Unsettled { placing: 2, parents: &[], moves: &moved("m2") },
        ]
    );
}

#[test]
fn a_journal_that_was_not_written_here_is_not_believed() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = left_behind(&dir, &[]);
    fs::create_dir_all(journals(&copy)).unwrap();
    fs::copy(journals(&dir).join(&id), journals(&copy).join(&id)).unwrap();
    assert!(matches!(open(&copy, &id), OpenedJournal::Foreign));
    // A journal that does not say where it was written is not used either.
    let line = JournalRecord::Staging { path: "/home".into() }.to_line().unwrap();
    fs::write(journals(&dir).join(&id), line).unwrap();
    assert!(matches!(open(&dir, &id), OpenedJournal::Foreign));
}

#[test]
fn whatever_else_is_there_is_foreign_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(journals(&dir)).unwrap();
    let at = |name: &str| journals(&dir).join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, at("1-1-1"), Mode::RWXU).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("x"), Mode::RWXU).unwrap();
    fs::create_dir(at("2-2-2")).unwrap();
    let _socket = UnixListener::bind(at("3-3-3")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("4-4-4")).unwrap();
    fs::write(at("5-5-5"), b"\xff\xfe\n").unwrap();
    File::create(at("6-6-6")).unwrap().set_len(MAX_JOURNAL + 1).unwrap();
    for name in ["1-1-1", "x", "2-2-2", "3-3-3", "4-4-4", "5-5-5", "6-6-6"] {
        assert!(matches!(open(&dir, name), OpenedJournal::Foreign), "{name}");
    }
    assert!(matches!(open(&dir, "7-7-7"), OpenedJournal::InUse), "it is gone");
}

#[test]
fn uploads_of_dead_processes_are_kept_until_their_remote_has_been_swept() {
    let dir = tempfile::tempdir().unwrap();
    let journal = ProcessJournal::begin(dir.path()).unwrap();
    let id = journal.id().to_owned();
    let token = UploadToken::new;
    journal.upload_opened("s3://a", &token("1")).unwrap();
    journal.upload_opened("s3://a", &token("2")).unwrap();
    journal.upload_opened("s3://b", &token("3")).unwrap();
    journal.upload_closed("s3://a", &token("1"));
    drop(journal);

    let mut first = dead(&dir, &id);
    assert_eq!(first.uploads("s3://a"), [token("2")]);
    assert!(first.forget_uploads("s3://a"));
    drop(first);
    let mut second = dead(&dir, &id);
    assert_eq!((second.uploads("s3://a"), second.uploads("s3://b")), (vec![], vec![token("3")]));
    assert!(!second.forget_uploads("s3://b"));
    assert!(!journals(&dir).join(&id).exists());
}
