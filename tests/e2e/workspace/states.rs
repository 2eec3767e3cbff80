//! Each state of a pinned output, crossed with each command.

use std::fs;
use std::path::Path;
use std::process::Command;

use larder_tests::{Sandbox, Tree, files_below};

/// The states, and the version that each has in `larder.lock`, as its base, and on disk. The newest version in the remote is 2.
const STATES: [(&str, u64, Option<u64>, Option<u64>); 6] = [
    ("clean", 1, Some(1), Some(1)),
    ("behind", 2, Some(1), Some(1)),
    ("modified", 1, Some(1), Some(3)),
    ("diverged", 2, Some(1), Some(3)),
    ("diverged", 1, None, Some(3)),
    ("missing", 1, Some(1), None),
];

/// The commands. Each has per state: the exit code, the version on disk and the pinned version afterwards, and what changed in the
/// remote: nothing (`=`), records only (`r`), or there is a new object (`+`).
const COMMANDS: [(&[&str], [&str; 6]); 19] = [
    (&["status"], ["0 1 1 =", "0 1 2 =", "0 3 1 =", "0 3 2 =", "0 3 1 =", "0 - 1 ="]),
    (&["status", "model"], ["0 1 1 =", "0 1 2 =", "0 3 1 =", "0 3 2 =", "0 3 1 =", "0 - 1 ="]),
    (&["status", "--check"], ["0 1 1 =", "1 1 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "1 - 1 ="]),
    (&["push"], ["0 1 1 =", "0 1 2 =", "0 3 3 +", "1 3 2 =", "1 3 1 =", "0 - 1 ="]),
    (&["push", "--strict"], ["0 1 1 =", "0 1 2 =", "0 3 3 +", "1 3 2 =", "1 3 1 =", "3 - 1 ="]),
    (&["push", "--dry-run"], ["0 1 1 =", "0 1 2 =", "0 3 1 =", "1 3 2 =", "1 3 1 =", "0 - 1 ="]),
    (&["push", "model"], ["0 1 1 r", "0 1 1 r", "0 3 3 +", "1 3 2 =", "1 3 1 =", "1 - 1 ="]),
    (&["push", "model", "--force"], ["0 1 1 r", "0 1 1 r", "0 3 3 +", "0 3 3 +", "0 3 3 +", "1 - 1 ="]),
    (&["pull"], ["0 1 1 =", "0 2 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "0 1 1 ="]),
    (&["pull", "--strict"], ["0 1 1 =", "0 2 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "0 1 1 ="]),
    (&["pull", "--dry-run"], ["0 1 1 =", "0 1 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "0 - 1 ="]),
    (&["pull", "--force"], ["2 1 1 =", "2 1 2 =", "2 3 1 =", "2 3 2 =", "2 3 1 =", "2 - 1 ="]),
    (&["pull", "--force", "--all"], ["0 1 1 =", "0 2 2 =", "0 1 1 =", "0 2 2 =", "0 1 1 =", "0 1 1 ="]),
    (&["pull", "--latest"], ["0 2 2 =", "0 2 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "0 2 2 ="]),
    (&["pull", "model"], ["0 1 1 =", "0 2 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "0 1 1 ="]),
    (&["pull", "model", "--force"], ["0 1 1 =", "0 2 2 =", "0 1 1 =", "0 2 2 =", "0 1 1 =", "0 1 1 ="]),
    (&["pull", "model", "--latest"], ["0 2 2 =", "0 2 2 =", "1 3 1 =", "1 3 2 =", "1 3 1 =", "0 2 2 ="]),
    (&["pull", "--to", "copy"], ["0 1 1 =", "0 1 2 =", "0 3 1 =", "0 3 2 =", "0 3 1 =", "0 - 1 ="]),
    (&["pin", "model"], ["0 1 1 =", "0 1 1 =", "0 3 3 +", "0 3 3 +", "0 3 3 +", "1 - 1 ="]),
];

/// A sandbox whose project and remote are put into a state again for each command.
struct States {
    sandbox: Sandbox,
    /// The text of `larder.lock` with version 1, 2 and 3 pinned.
    locks: [String; 3],
    /// The remote with version 1 and 2.
    remote: Tree,
    /// `.larder/state` with version 1 as the base.
    bases: Tree,
}

impl States {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let model = sandbox.path("model");
        let replace = |version| {
            remove(&model);
            Tree::small(version).write(&model);
        };
        let lock = || fs::read_to_string(sandbox.path("larder.lock")).unwrap();
        replace(1);
        sandbox.run(["pin", "model"]).ok();
        let (first, bases) = (lock(), Tree::read(&sandbox.path(".larder/state")));
        replace(2);
        sandbox.run(["pin", "model"]).ok();
        let (second, remote) = (lock(), Tree::read(&sandbox.remote()));
        replace(3);
        sandbox.run(["pin", "model"]).ok();
        Self { locks: [first, second, lock()], remote, bases, sandbox }
    }

    fn prepare(&self, pin: u64, base: Option<u64>, disk: Option<u64>) {
        for path in ["model", "copy", ".larder", "larder.lock"] {
            remove(&self.sandbox.path(path));
        }
        remove(&self.sandbox.remote());
        self.remote.write(&self.sandbox.remote());
        fs::write(self.sandbox.path("larder.lock"), &self.locks[index(pin)]).unwrap();
        if base.is_some() {
            self.bases.write(&self.sandbox.path(".larder/state"));
        }
        if let Some(version) = disk {
            Tree::small(version).write(&self.sandbox.path("model"));
        }
    }

    /// Returns the version on disk.
    fn disk(&self) -> Option<u64> {
        version(&self.sandbox.path("model"))
    }

    /// Returns the pinned version.
    fn pin(&self) -> u64 {
        let lock = fs::read_to_string(self.sandbox.path("larder.lock")).unwrap();
        let at = self.locks.iter().position(|known| *known == lock);
        let at = at.unwrap_or_else(|| panic!("no version is pinned like this: {lock}"));
        u64::try_from(at).unwrap() + 1
    }

    fn state(&self) -> String {
        self.sandbox.run(["status", "--json"]).ok().field("state")
    }
}

fn index(version: u64) -> usize {
    usize::try_from(version).unwrap() - 1
}

/// Returns the version at a path. It must be whole.
fn version(at: &Path) -> Option<u64> {
    let found = Tree::read_if_exists(at)?;
    let version = (1..=3).find(|version| Tree::small(*version) == found);
    Some(version.unwrap_or_else(|| panic!("no version: {found:?}")))
}

fn remove(path: &Path) {
    assert!(Command::new("rm").arg("-rf").arg(path).status().unwrap().success());
}

pub(crate) fn each_state_and_each_command() {
    let states = States::new();
    let sandbox = &states.sandbox;
    for (args, expected) in COMMANDS {
        for ((state, pin, base, disk), expected) in STATES.into_iter().zip(expected) {
            states.prepare(pin, base, disk);
            assert_eq!(states.state(), state, "pin {pin}, base {base:?}, disk {disk:?}");
            let (keys, files) = (sandbox.keys(), files_below(&sandbox.remote()));
            let run = sandbox.larder([]).args(args).run();
            let show = |version: Option<u64>| version.map_or("-".to_owned(), |version| version.to_string());
            let remote = if sandbox.keys() != keys {
                "+"
            } else if files_below(&sandbox.remote()) != files {
                "r"
            } else {
                "="
            };
            let found = format!(
                "{} {} {} {remote}",
                run.code.map_or("signal".to_owned(), |code| code.to_string()),
                show(states.disk()),
                states.pin()
            );
            let case = format!("{state} (pin {pin}, base {base:?}, disk {disk:?}) and {args:?}");
            assert_eq!(found, expected, "{case}: {run}");
            let is_all_forced = args == ["pull", "--force"];
            assert!(state == "clean" || is_all_forced || run.said().contains("model"), "{case}: {run}");
            if args.contains(&"--to") {
                assert_eq!(version(&sandbox.path("copy/model")), Some(pin), "{case}");
            } else {
                assert!(!sandbox.path("copy").exists());
            }
            // Afterwards, an output that is as pinned is clean, and another one is in the state that it was in.
            let after = match states.disk() {
                None => "missing",
                Some(disk) if disk == states.pin() => "clean",
                Some(_) => state,
            };
            assert_eq!(states.state(), after, "afterwards, {case}");
            sandbox.assert_clean();
        }
    }
}
