//! `kill -9` at every system call with which `pin`, and a push and a pull of all pinned outputs, change something.

use std::fs;
use std::process::Command;

use larder_tests::{Entry, Sandbox, Tree, files_below, noise};

use crate::sweep::{remove, sweep};

/// The outputs.
const OUTPUTS: [&str; 2] = ["a", "b"];

/// Returns a version of an output.
fn tree(version: u64) -> Tree {
    Tree::new().with("dir/file", noise(version, 3_000)).with_entry("link", Entry::Link(b"dir".to_vec()))
}

fn write(sandbox: &Sandbox, version: u64) {
    for path in OUTPUTS {
        remove(sandbox.path(path));
        tree(version).write(&sandbox.path(path));
    }
}

fn lock(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("larder.lock")).unwrap()
}

/// Writes and pins version 1 of both outputs, and then version 2. Returns the text of `larder.lock` with each, and
/// `.larder/state` with the first.
fn pin_twice(sandbox: &Sandbox) -> ([String; 2], Tree) {
    let [first, second] = [1, 2].map(|version| {
        write(sandbox, version);
        sandbox.run(["pin", "a", "b"]).ok();
        (lock(sandbox), Tree::read(&sandbox.path(".larder/state")))
    });
    ([first.0, second.0], first.1)
}

/// Returns the pins of a `larder.lock` with both outputs.
fn pins(text: &str) -> Vec<&str> {
    text.split("\n[[pin]]\n").skip(1).map(str::trim_end).collect()
}

/// Asserts that `larder.lock` has a whole pin per output, each of one of two versions.
fn assert_each_of(found: &str, old: &str, new: &str, when: &str) {
    let (found, old, new) = (pins(found), pins(old), pins(new));
    assert_eq!(found.len(), 2, "{when}");
    for (index, pin) in found.iter().enumerate() {
        assert!(*pin == old[index] || *pin == new[index], "{when}: {pin}");
    }
}

/// Asserts that both pinned versions have an object and a run record, which makes them the newest.
fn assert_published(sandbox: &Sandbox, lock: &str, when: &str) {
    let files = files_below(&sandbox.remote());
    for content in pins(lock).into_iter().map(content) {
        let has = |is_wanted: &dyn Fn(&String) -> bool| files.iter().any(is_wanted);
        assert!(has(&|file| file.ends_with(content)), "{when}: {files:?}");
        assert!(has(&|file| file.ends_with(&format!("{content}.json"))), "{when}: {files:?}");
    }
}

/// Returns the content hash of a pin.
fn content(pin: &str) -> &str {
    pin.lines().find_map(|line| line.strip_prefix("content = ")).unwrap().trim_matches('"')
}

/// Asserts that a command leaves nothing beside the files of a project.
fn assert_clean(sandbox: &Sandbox, when: &str) {
    assert!(sandbox.leftovers().is_empty(), "{when}: {:?}", sandbox.leftovers());
    let expected = ["a", "b", "larder.toml", "larder.lock", ".larder", ".gitignore", ".git"];
    for entry in
        fs::read_dir(sandbox.project()).unwrap().chain(fs::read_dir(sandbox.path(".larder")).unwrap())
    {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(expected.contains(&name.as_str()) || !name.contains("new"), "{when}: {name}");
    }
}

pub(crate) fn killed_pull() {
    let sandbox = Sandbox::new();
    let ([_, new], bases) = pin_twice(&sandbox);
    // The first output is behind, and the second is missing.
    let start_over = || {
        fs::write(sandbox.path("larder.lock"), &new).unwrap();
        remove(sandbox.path(".larder"));
        bases.write(&sandbox.path(".larder/state"));
        write(&sandbox, 1);
        remove(sandbox.path("b"));
    };
    let pull = sandbox.larder(["pull"]);
    let (first, second) = (tree(1), tree(2));
    let remote = {
        start_over();
        Tree::read(&sandbox.remote())
    };
    sweep(&pull, start_over, |killed, when| {
        assert_eq!(lock(&sandbox), new, "{when}");
        if killed {
            // The next command recovers.
            sandbox.run(["ls"]).ok();
        }
        let [a, b] = OUTPUTS.map(|path| Tree::read_if_exists(&sandbox.path(path)));
        assert!(a.as_ref() == Some(&second) || (killed && a.as_ref() == Some(&first)), "{when}: {a:?}");
        assert!(b.as_ref() == Some(&second) || (killed && b.is_none()), "{when}: {b:?}");
        pull.run().ok();
        for path in OUTPUTS {
            Tree::read(&sandbox.path(path)).assert_same(&second);
        }
        sandbox.run(["status", "--check"]).ok();
        assert_clean(&sandbox, when);
    });
    assert!(Tree::read(&sandbox.remote()) == remote, "a pull writes to the remote");
}

pub(crate) fn killed_push() {
    let sandbox = Sandbox::new();
    let ([old, new], bases) = pin_twice(&sandbox);
    let start_over = || {
        for key in sandbox.keys() {
            if new.contains(key.rsplit('/').next().unwrap()) {
                remove(sandbox.remote().join(key));
            }
        }
        fs::write(sandbox.path("larder.lock"), &old).unwrap();
        remove(sandbox.path(".larder"));
        bases.write(&sandbox.path(".larder/state"));
        write(&sandbox, 2);
    };
    let push = sandbox.larder(["push"]);
    sweep(&push, start_over, |killed, when| {
        let found = lock(&sandbox);
        assert_each_of(&found, &old, &new, when);
        assert!(killed || found == new, "{when}");
        // A pin comes after its object.
        for pin in pins(&found) {
            assert!(sandbox.keys().iter().any(|key| key.ends_with(content(pin))), "{when}: {pin}");
        }
        push.run().ok();
        assert_eq!(lock(&sandbox), new, "{when}");
        assert_eq!(sandbox.keys().len(), 4, "{when}");
        sandbox.run(["status", "--check"]).ok();
        assert_published(&sandbox, &new, when);
        for path in OUTPUTS {
            Tree::read(&sandbox.path(path)).assert_same(&tree(2));
        }
        assert_clean(&sandbox, when);
    });
}

pub(crate) fn killed_pin() {
    let sandbox = Sandbox::new();
    assert!(
        Command::new("git").args(["init", "-q"]).current_dir(sandbox.project()).status().unwrap().success()
    );
    let pin = sandbox.larder(["pin", "a", "b"]);
    write(&sandbox, 1);
    pin.run().ok();
    let new = lock(&sandbox);
    let start_over = || {
        for path in ["larder.lock", ".gitignore", ".larder"] {
            remove(sandbox.path(path));
        }
        remove(sandbox.remote());
    };
    sweep(&pin, start_over, |killed, when| {
        let found = sandbox.path("larder.lock").exists().then(|| lock(&sandbox));
        assert!(found.is_none() || found.as_ref() == Some(&new), "{when}: {found:?}");
        assert!(killed || found.is_some(), "{when}");
        if found.is_some() {
            assert_eq!(sandbox.keys().len(), 2, "{when}: a pin comes after its object");
        }
        pin.run().ok();
        assert_eq!(lock(&sandbox), new, "{when}");
        assert_eq!(fs::read_to_string(sandbox.path(".gitignore")).unwrap(), "/a\n/b\n", "{when}");
        assert_eq!(sandbox.keys().len(), 2, "{when}");
        sandbox.run(["status", "--check"]).ok();
        assert_published(&sandbox, &new, when);
        assert_clean(&sandbox, when);
    });
}
