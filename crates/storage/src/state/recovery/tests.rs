//! A model of the journal. One process runs two placings at once, on a file system that cannot exchange two
//! names. The test tries every order of their steps, and kills the process after each step.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::super::journal::ProcessJournal;
use super::super::placement::{Planned, place};
use super::super::staging::Staging;
use super::super::steps::scripted;
use super::*;

struct Killed;

/// A placing that waits before each of its steps.
struct Placer {
    /// `true` means to do the next step. `false` or a closed channel means to die.
    orders: SyncSender<bool>,
    /// Receives a message before each step. The channel closes at the end.
    waits: Receiver<()>,
}

impl Placer {
    fn start<'s>(scope: &'s Scope<'s, '_>, journal: Arc<ProcessJournal>, planned: Planned) -> Self {
        let (orders, received) = sync_channel::<bool>(0);
        let (waiting, waits) = sync_channel(0);
        scope.spawn(move || {
            let hook = move || {
                if waiting.send(()).is_err() || received.recv() != Ok(true) {
                    // This unwinds without printing a panic message.
                    resume_unwind(Box::new(Killed));
                }
            };
            let work = AssertUnwindSafe(|| scripted(hook, || place(&journal, &[planned]).is_ok()));
            if let Ok(is_placed) = catch_unwind(work) {
                assert!(is_placed);
            }
        });
        Self { orders, waits }
    }

    /// Returns whether it has reached another step, and not its end.
    fn is_waiting(&self) -> bool {
        self.waits.recv().is_ok()
    }
}

/// A project of the model. `a` is a tree and `b/c` is a file. Each has an old version, and the new version is
/// staged.
struct Model {
    dir: tempfile::TempDir,
    /// Whether the destinations have a previous version.
    replace: bool,
}

const OUTPUTS: [&str; 2] = ["a", "b/c"];

impl Model {
    fn new(replace: bool) -> Self {
        // This uses memory if possible, because thousands of kills would otherwise wait for the disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let model = Self { dir, replace };
        if replace {
            for name in OUTPUTS {
                make(&model.path(name), "old", name == "a");
            }
        }
        model
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn stage(&self, journal: &Arc<ProcessJournal>, name: &str) -> (Staging, Planned) {
        let staging = Staging::create(Arc::clone(journal), self.dir.path(), &self.path(name)).unwrap();
        let staged = staging.new_root().join(name);
        make(&staged, "new", name == "a");
        let planned =
            Planned { staged, destination: self.path(name), backup: staging.backup(), replace: self.replace };
        (staging, planned)
    }

    /// Runs the steps of the two placings in this order, and then kills the process. Each number is one step
    /// of that placing. Returns which placings could have continued.
    fn run(&self, order: &[usize]) -> [bool; 2] {
        let journal = Arc::new(ProcessJournal::begin(self.dir.path()).unwrap());
        let mut stagings = Vec::new();
        let mut waiting = [false; 2];
        thread::scope(|scope| {
            let placers = OUTPUTS.map(|name| {
                let (staging, planned) = self.stage(&journal, name);
                stagings.push(staging);
                Placer::start(scope, Arc::clone(&journal), planned)
            });
            waiting = [0, 1].map(|number| placers[number].is_waiting());
            for &number in order {
                // Some placings have fewer steps.
                placers[number].orders.send(true).ok();
                waiting[number] = placers[number].is_waiting();
            }
        });
        // A dead process removes nothing.
        journal.leave_unfinished();
        waiting
    }

    fn check(&self, order: &[usize]) {
        let recovered = recover(self.dir.path(), false, None).unwrap();
        let stuck = recovered.warnings.iter().any(|warning| matches!(warning, Warning::Sweep { .. }));
        assert!(!stuck, "{order:?}: {:?}", recovered.warnings);
        for name in OUTPUTS {
            let path = self.path(name);
            let file = if name == "a" { path.join("f") } else { path };
            let content = fs::read_to_string(file).ok();
            let is_right = match content.as_deref() {
                Some("new") => true,
                Some("old") => self.replace,
                None => !self.replace,
                Some(_) => false,
            };
            assert!(is_right, "{name} is {content:?} after {order:?}");
        }
        for left in [".larder/tmp", ".larder/journal"] {
            assert_eq!(fs::read_dir(self.path(left)).unwrap().count(), 0, "{left} after {order:?}");
        }
    }
}

fn make(path: &Path, content: &str, as_tree: bool) {
    let file = if as_tree { path.join("f") } else { path.to_owned() };
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

#[test]
fn two_placings_at_once_lose_nothing_whenever_they_are_killed() {
    for replace in [true, false] {
        let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
        let mut tried = 0;
        // The loop tries all orders of one length, and then those that are one step longer.
        while !orders.is_empty() {
            let mut longer = Vec::new();
            for order in orders {
                let model = Model::new(replace);
                let waiting = model.run(&order);
                model.check(&order);
                tried += 1;
                longer.extend((0..2).filter(|number| waiting[*number]).map(|number| {
                    let mut order = order.clone();
                    order.push(number);
                    order
                }));
            }
            orders = longer;
        }
        assert!(tried > 100, "only {tried} kills were tried");
    }
}

/// Kills the recovery at each of its steps, and then lets the next recovery finish.
#[test]
fn a_recovery_that_is_killed_is_completed_by_the_next() {
    for steps in 0..6 {
        for order in [vec![0; steps], vec![1; steps]] {
            for killed_at in 0..8 {
                let model = Model::new(true);
                model.run(&order);
                let left = Rc::new(Cell::new(killed_at));
                let hook = move || {
                    if left.get() == 0 {
                        resume_unwind(Box::new(Killed));
                    }
                    left.set(left.get() - 1);
                };
                let recovery = || scripted(hook, || recover(model.dir.path(), false, None).map(drop));
                drop(catch_unwind(AssertUnwindSafe(recovery)));
                model.check(&order);
            }
        }
    }
}

#[test]
fn files_that_are_no_journals_are_named_once_and_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journals = dir.path().join(".larder/journal");
    fs::create_dir_all(&journals).unwrap();
    for number in 0..10 {
        fs::write(journals.join(format!("x{number}")), b"\xff\n").unwrap();
    }
    let warnings = recover(dir.path(), true, None).unwrap().warnings;
    let [warning @ Warning::ForeignJournals { .. }] = &warnings[..] else { panic!("{warnings:?}") };
    let text = warning.to_string();
    assert!(text.starts_with("larder ignores `x0`, `x1`, `x2` and 7 more in "), "{text}");
    let names: BTreeSet<_> =
        fs::read_dir(&journals).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 10);
}
