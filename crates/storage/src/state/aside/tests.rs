//! A model of a command that fails. The process is killed before each change of the file system, and so is each recovery.

use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use super::super::output_locks::{LockAttempt, LockRequest};
use super::super::recovery::recover;
use super::super::steps::scripted;
use super::*;
use crate::report::Warning;

struct Killed;

/// Runs `work`, and kills it before the step with this number. Returns whether it was killed.
fn killed_at(step: usize, work: impl FnOnce()) -> bool {
    let left = Rc::new(Cell::new(step));
    let hook = move || match left.get() {
        // This unwinds without printing a panic message.
        0 => resume_unwind(Box::new(Killed)),
        steps => left.set(steps - 1),
    };
    catch_unwind(AssertUnwindSafe(|| scripted(hook, work))).is_err()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Nothing,
    File,
    Tree,
}

fn make(path: &Path, kind: Kind, text: &str) {
    match kind {
        Kind::Nothing => {}
        Kind::File => fs::write(path, text).unwrap(),
        Kind::Tree => {
            fs::create_dir(path).unwrap();
            fs::write(path.join(text), text).unwrap();
        }
    }
}

#[track_caller]
fn check(path: &Path, kind: Kind, text: &str) {
    match kind {
        Kind::Nothing => assert!(!exists(path), "{}", path.display()),
        Kind::File => assert_eq!(fs::read_to_string(path).unwrap(), text),
        Kind::Tree => {
            assert_eq!(fs::read_dir(path).unwrap().count(), 1, "two versions are mixed");
            assert_eq!(fs::read_to_string(path.join(text)).unwrap(), text);
        }
    }
}

/// A project in which a command makes `a/b` and fails.
struct Model {
    dir: tempfile::TempDir,
    previous: Kind,
    product: Kind,
}

impl Model {
    fn new(previous: Kind, product: Kind) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        if !matches!(previous, Kind::Nothing) {
            fs::create_dir(dir.path().join("a")).unwrap();
        }
        make(&dir.path().join("a/b"), previous, "old");
        Self { dir, previous, product }
    }

    /// Runs the command, and kills the process before this step. Returns whether it was killed, and whether the command had
    /// run.
    fn run(&self, step: usize) -> (bool, bool) {
        let journal = Arc::new(ProcessJournal::begin(self.dir.path()).unwrap());
        let outputs = [OutputPath::new("a/b").unwrap()];
        let has_run = Cell::new(false);
        let killed = killed_at(step, || {
            let aside = OutputsAside::begin(Arc::clone(&journal), self.dir.path(), &outputs, &[]).unwrap();
            assert!(!exists(&self.dir.path().join("a/b")), "the command begins without the output");
            make(&self.dir.path().join("a/b"), self.product, "new");
            has_run.set(true);
            aside.put_back().unwrap();
        });
        if killed {
            // A dead process removes nothing.
            journal.leave_unfinished();
        }
        (killed, has_run.get())
    }

    #[track_caller]
    fn check(&self, has_run: bool) {
        check(&self.dir.path().join("a/b"), self.previous, "old");
        let failed = self.dir.path().join(".larder/failed/a/b");
        check(&failed, if has_run { self.product } else { Kind::Nothing }, "new");
        for name in ["tmp", "journal"] {
            let entries = fs::read_dir(self.dir.path().join(".larder").join(name));
            assert_eq!(entries.map_or(0, Iterator::count), 0, "{name}");
        }
    }
}

const KINDS: [Kind; 3] = [Kind::Nothing, Kind::File, Kind::Tree];

#[test]
fn a_kill_at_any_step_loses_nothing() {
    let mut kills = 0;
    for (previous, product) in KINDS.into_iter().flat_map(|one| KINDS.map(|other| (one, other))) {
        for step in 0.. {
            let model = Model::new(previous, product);
            let (killed, has_run) = model.run(step);
            if !killed {
                model.check(true);
                break;
            }
            kills += 1;
            // Kill the recovery before each of its steps too, on new models.
            for again in 0.. {
                let model = Model::new(previous, product);
                model.run(step);
                let interrupted = killed_at(again, || drop(recover(model.dir.path(), false, None).unwrap()));
                if interrupted {
                    recover(model.dir.path(), false, None).unwrap();
                }
                model.check(has_run);
                if !interrupted {
                    break;
                }
            }
        }
    }
    assert!(kills > 30, "only {kills} kills");
}

#[test]
fn a_success_removes_the_previous_version() {
    let model = Model::new(Kind::Tree, Kind::File);
    let journal = Arc::new(ProcessJournal::begin(model.dir.path()).unwrap());
    let outputs = [OutputPath::new("a/b").unwrap()];
    let aside = OutputsAside::begin(Arc::clone(&journal), model.dir.path(), &outputs, &[]).unwrap();
    make(&model.dir.path().join("a/b"), Kind::File, "new");
    assert!(aside.discard(&[]).unwrap().is_empty());
    drop(journal);
    recover(model.dir.path(), false, None).unwrap();
    check(&model.dir.path().join("a/b"), Kind::File, "new");
    assert_eq!(fs::read_dir(model.dir.path().join(".larder/tmp")).unwrap().count(), 0);
}

#[test]
fn recovery_waits_for_a_command_that_lives() {
    let model = Model::new(Kind::File, Kind::File);
    let journal = Arc::new(ProcessJournal::begin(model.dir.path()).unwrap());
    let outputs = [OutputPath::new("a/b").unwrap()];
    let aside = OutputsAside::begin(Arc::clone(&journal), model.dir.path(), &outputs, &[]).unwrap();
    drop((aside, journal));
    let LockAttempt::Locked(held_by_command) =
        LockRequest::new(model.dir.path(), &outputs).unwrap().attempt().unwrap()
    else {
        panic!("nobody holds the lock")
    };
    make(&model.dir.path().join("a/b"), Kind::File, "new");
    assert!(recover(model.dir.path(), false, None).unwrap().warnings.is_empty());
    check(&model.dir.path().join("a/b"), Kind::File, "new");
    // Whoever holds the lock may recover.
    let warnings = recover(model.dir.path(), false, Some(&held_by_command)).unwrap().warnings;
    assert!(matches!(warnings.as_slice(), [Warning::Recovered { .. }]), "{warnings:?}");
    model.check(true);
}

#[test]
fn failed_products_replace_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for text in ["one", "two"] {
        fs::write(path("a"), text).unwrap();
        let kept = keep(dir.path(), FAILED, "a", &path("a")).unwrap();
        assert_eq!(kept, path(".larder/failed/a"));
        assert_eq!(fs::read_to_string(kept).unwrap(), text);
    }
    // The file of an earlier failure makes way for a directory.
    fs::create_dir(path("a")).unwrap();
    fs::write(path("a/b"), "three").unwrap();
    let kept = keep(dir.path(), FAILED, "a/b", &path("a/b")).unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), "three");
    // A link in the place of a directory is not followed.
    fs::remove_dir_all(path(".larder/failed")).unwrap();
    std::os::unix::fs::symlink(path("a"), path(".larder/failed")).unwrap();
    fs::write(path("a/b"), "four").unwrap();
    assert!(matches!(keep(dir.path(), FAILED, "a/b", &path("a/b")), Err(Error::StateIsSymlink { .. })));
}

#[test]
fn a_previous_version_can_be_kept() {
    let model = Model::new(Kind::Tree, Kind::File);
    let journal = Arc::new(ProcessJournal::begin(model.dir.path()).unwrap());
    let outputs = [OutputPath::new("a/b").unwrap()];
    let aside = OutputsAside::begin(Arc::clone(&journal), model.dir.path(), &outputs, &[]).unwrap();
    make(&model.dir.path().join("a/b"), Kind::File, "new");
    let kept = model.dir.path().join(".larder/replaced/a/b");
    assert_eq!(aside.discard(&outputs).unwrap(), std::slice::from_ref(&kept));
    check(&model.dir.path().join("a/b"), Kind::File, "new");
    check(&kept, Kind::Tree, "old");
}
