use std::sync::Arc;

use super::*;

/// Returns in one word how the placing was settled.
fn settle(moves: &[Move]) -> Option<&'static str> {
    match super::settle(moves).unwrap() {
        Settled::Nothing => None,
        Settled::As(outcome) => Some(outcome),
        Settled::Stuck { .. } => Some("stuck"),
    }
}

struct Sandbox {
    dir: tempfile::TempDir,
    journal: Arc<ProcessJournal>,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(ProcessJournal::begin(dir.path()).unwrap());
        Self { dir, journal }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a tree of one file.
    fn make(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
        fs::write(self.path(name).join("f"), content).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        let path = self.path(name);
        let file = if path.is_dir() { path.join("f") } else { path };
        fs::read_to_string(file).ok()
    }

    fn planned(&self, name: &str, replace: bool) -> Planned {
        Planned {
            staged: self.path(&format!("staging/{name}/new")),
            destination: self.path(name),
            backup: self.path(&format!("staging/{name}/old")),
            replace,
        }
    }

    /// Stages a file or directory for `name`.
    fn stage(&self, name: &str, content: &str, as_file: bool) {
        let staged = self.path(&format!("staging/{name}/new"));
        fs::create_dir_all(staged.parent().unwrap()).unwrap();
        if as_file {
            fs::write(staged, content).unwrap();
        } else {
            fs::create_dir(&staged).unwrap();
            fs::write(staged.join("f"), content).unwrap();
        }
    }
}

#[test]
fn several_outputs_are_placed_with_their_parents() {
    let sandbox = Sandbox::new();
    sandbox.stage("a/b/one", "1", false);
    sandbox.stage("a/two.txt", "2", true);
    place(&sandbox.journal, &[sandbox.planned("a/b/one", false), sandbox.planned("a/two.txt", false)])
        .unwrap();
    assert_eq!(sandbox.read("a/b/one").as_deref(), Some("1"));
    assert_eq!(sandbox.read("a/two.txt").as_deref(), Some("2"));
}

#[test]
fn every_kind_replaces_every_kind() {
    for (old_is_file, new_is_file) in [(true, true), (true, false), (false, true), (false, false)] {
        let sandbox = Sandbox::new();
        sandbox.stage("x", "new", new_is_file);
        if old_is_file {
            fs::write(sandbox.path("x"), "old").unwrap();
        } else {
            sandbox.make("x", "old");
        }
        place(&sandbox.journal, &[sandbox.planned("x", true)]).unwrap();
        assert_eq!(sandbox.read("x").as_deref(), Some("new"), "{old_is_file} {new_is_file}");
    }
}

#[test]
fn a_link_at_the_destination_is_replaced_and_not_followed() {
    let sandbox = Sandbox::new();
    sandbox.make("elsewhere", "untouched");
    std::os::unix::fs::symlink("elsewhere", sandbox.path("x")).unwrap();
    sandbox.stage("x", "new", false);
    place(&sandbox.journal, &[sandbox.planned("x", true)]).unwrap();
    assert_eq!(sandbox.read("x").as_deref(), Some("new"));
    assert_eq!(sandbox.read("elsewhere").as_deref(), Some("untouched"));
    assert!(!fs::symlink_metadata(sandbox.path("x")).unwrap().is_symlink());
}

#[test]
fn a_failure_puts_back_what_was_moved_and_removes_new_parents() {
    let sandbox = Sandbox::new();
    for name in ["replaced", "new/absent", "there"] {
        sandbox.stage(name, "new", false);
    }
    sandbox.make("replaced", "old");
    sandbox.make("there", "somebody was faster");
    let planned = [
        sandbox.planned("replaced", true),
        sandbox.planned("new/absent", false),
        sandbox.planned("there", false),
    ];
    let outcome = place(&sandbox.journal, &planned);
    assert!(matches!(outcome, Err(Unplaced::Appeared(2))), "{outcome:?}");
    assert_eq!(sandbox.read("replaced").as_deref(), Some("old"));
    assert_eq!(sandbox.read("there").as_deref(), Some("somebody was faster"));
    assert!(!sandbox.path("new").exists());
    for name in ["replaced", "new/absent", "there"] {
        assert_eq!(sandbox.read(&format!("staging/{name}/new")).as_deref(), Some("new"), "{name}");
    }
}

/// Does the first steps of a process that died, for an old directory `x` and a new one, without an exchange.
fn killed_after(steps: usize, sandbox: &Sandbox, planned: &Planned) {
    if steps >= 1 {
        // The move is entry by entry, as on overlayfs.
        fs::create_dir(&planned.backup).unwrap();
    }
    if steps >= 2 {
        fs::rename(planned.destination.join("f"), planned.backup.join("f")).unwrap();
    }
    if steps >= 3 {
        fs::remove_dir(&planned.destination).unwrap();
    }
    if steps >= 4 {
        fs::rename(&planned.staged, &planned.destination).unwrap();
    }
    assert!(sandbox.path("staging").exists());
}

#[test]
fn a_replacement_that_was_killed_at_any_step_is_completed() {
    for steps in 0..=4 {
        let sandbox = Sandbox::new();
        sandbox.make("x", "old");
        sandbox.stage("x", "new", false);
        let planned = sandbox.planned("x", true);
        let moves = [Move::plan(&planned).unwrap()];
        killed_after(steps, &sandbox, &planned);
        let outcome = settle(&moves);
        let expected = if steps == 0 { (None, "old") } else { (Some("it was completed"), "new") };
        assert_eq!(
            (outcome, sandbox.read("x").as_deref()),
            (expected.0, Some(expected.1)),
            "after {steps} steps"
        );
    }
}

#[test]
fn several_outputs_killed_between_the_moves_are_completed() {
    for exchange in [true, false] {
        let sandbox = Sandbox::new();
        for name in ["a", "b"] {
            sandbox.make(name, "old");
            sandbox.stage(name, "new", false);
        }
        let planned = [sandbox.planned("a", true), sandbox.planned("b", true)];
        let moves: Vec<Move> = planned.iter().map(|planned| Move::plan(planned).unwrap()).collect();
        if exchange {
            super::exchange(&planned[0].staged, &planned[0].destination).unwrap();
        } else {
            killed_after(3, &sandbox, &planned[0]);
        }
        assert_eq!(settle(&moves), Some("it was completed"));
        assert_eq!((sandbox.read("a").as_deref(), sandbox.read("b").as_deref()), (Some("new"), Some("new")));
    }
}

#[test]
fn what_cannot_be_completed_any_more_is_undone() {
    let sandbox = Sandbox::new();
    sandbox.make("a", "old");
    sandbox.stage("a", "new", false);
    sandbox.stage("b", "new", false);
    let planned = [sandbox.planned("a", true), sandbox.planned("b", false)];
    let moves: Vec<Move> = planned.iter().map(|planned| Move::plan(planned).unwrap()).collect();
    killed_after(4, &sandbox, &planned[0]);
    // After the crash, a user creates the second output by hand.
    sandbox.make("b", "by hand");
    assert_eq!(settle(&moves), Some("it was undone"));
    assert_eq!((sandbox.read("a").as_deref(), sandbox.read("b").as_deref()), (Some("old"), Some("by hand")));
}

#[test]
fn files_and_directories_are_put_back_for_one_another() {
    for (old_is_file, new_is_file) in [(true, true), (true, false), (false, true), (false, false)] {
        for exchange in [true, false] {
            let sandbox = Sandbox::new();
            sandbox.stage("x", "new", new_is_file);
            if old_is_file {
                fs::write(sandbox.path("x"), "old").unwrap();
            } else {
                sandbox.make("x", "old");
            }
            let planned = sandbox.planned("x", true);
            let moved = Move::plan(&planned).unwrap();
            if exchange {
                super::exchange(&planned.staged, &planned.destination).unwrap();
            } else {
                fs::rename(&planned.destination, &planned.backup).unwrap();
                fs::rename(&planned.staged, &planned.destination).unwrap();
            }
            moved.undo().unwrap();
            let context = format!("file {old_is_file} to file {new_is_file}, exchange {exchange}");
            assert_eq!(sandbox.read("x").as_deref(), Some("old"), "{context}");
            assert!(!exists(&planned.backup), "{context}");
        }
    }
}

#[test]
fn what_somebody_has_made_since_is_never_touched() {
    for steps in [3, 4] {
        let sandbox = Sandbox::new();
        sandbox.make("x", "old");
        sandbox.stage("x", "new", false);
        let planned = sandbox.planned("x", true);
        let moves = [Move::plan(&planned).unwrap()];
        // It is created while the old tree exists. Later it could get the old tree's inode number within the
        // same clock tick.
        sandbox.make("elsewhere", "by hand");
        killed_after(steps, &sandbox, &planned);
        fs::remove_dir_all(sandbox.path("x")).ok();
        fs::rename(sandbox.path("elsewhere"), sandbox.path("x")).unwrap();
        let outcome = settle(&moves);
        assert_eq!(outcome, Some(if steps == 3 { "stuck" } else { "it was completed" }));
        assert_eq!(sandbox.read("x").as_deref(), Some("by hand"));
        assert_eq!(sandbox.read("staging/x/old").as_deref(), Some("old"));
    }
}

#[test]
fn an_old_tree_is_not_mixed_with_what_has_appeared_in_its_place() {
    let sandbox = Sandbox::new();
    sandbox.make("x", "old");
    sandbox.stage("x", "new", false);
    let planned = sandbox.planned("x", true);
    let moved = Move::plan(&planned).unwrap();
    fs::rename(&planned.destination, &planned.backup).unwrap();
    sandbox.make("x", "by hand");
    assert!(moved.undo().is_err());
    assert_eq!(sandbox.read("x").as_deref(), Some("by hand"));
    assert_eq!(sandbox.read("staging/x/old").as_deref(), Some("old"));
}
