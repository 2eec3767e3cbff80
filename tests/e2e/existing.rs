//! What a pull does where something is, and how several outputs stay together.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::ExitCode;

use larder_tests::{Case, Need, Sandbox, Tree, run};

fn main() -> ExitCode {
    run(
        "existing",
        &[
            Case::new("what_is_there_stays_and_is_compared", stays_and_is_compared),
            Case::new("force_replaces_whatever_is_there", force_replaces),
            Case::new("without_the_exchange_of_the_file_system", without_exchange).needs(&[Need::Overlay]),
            Case::new("several_outputs_come_from_one_command_hash", one_command_hash),
            Case::new("of_several_outputs_none_moves_where_one_cannot", none_moves),
            Case::new("a_dry_run_changes_nothing", dry_run),
            Case::new("the_newest_is_found", newest),
        ],
    )
}

/// A sandbox where `model` was pushed under the command hash `x`, and is gone.
fn pushed(tree: &Tree) -> Sandbox {
    let sandbox = Sandbox::new();
    tree.write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--command-hash", "x"]).ok();
    fs::rename(sandbox.path("model"), sandbox.root().join("pushed")).unwrap();
    sandbox
}

fn stays_and_is_compared() {
    let sandbox = pushed(&Tree::small(1));
    sandbox.run(["pull", "model"]).ok();
    let inode = |path: &str| fs::metadata(sandbox.path(path)).unwrap().ino();
    let before = inode("model/config.cfg");
    let same = sandbox.run(["pull", "model", "--json"]).ok();
    assert_eq!((same.outcome().as_str(), inode("model/config.cfg")), ("up_to_date", before));
    fs::write(sandbox.path("model/config.cfg"), "mine").unwrap();
    let differs = sandbox.run(["pull", "model", "--json"]).ok();
    assert_eq!(differs.outcome(), "kept");
    let said = sandbox.run(["pull", "model"]).ok();
    assert!(said.stderr.contains("--force"), "a warning says what to do: {said}");
    assert_eq!(fs::read(sandbox.path("model/config.cfg")).unwrap(), b"mine");
    let forced = sandbox.run(["pull", "model", "--force", "--json"]).ok();
    assert_eq!(forced.outcome(), "restored");
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
    sandbox.assert_clean();
}

fn force_replaces() {
    let shapes = [Tree::small(1), Tree::of_file("a file"), Tree::new(), Tree::small(2)];
    for new in &shapes {
        let sandbox = pushed(new);
        for old in &shapes {
            old.write(&sandbox.path("model"));
            sandbox.run(["pull", "model", "--force"]).ok();
            Tree::read(&sandbox.path("model")).assert_same(new);
            let model = sandbox.path("model");
            if model.is_dir() { fs::remove_dir_all(model) } else { fs::remove_file(model) }.unwrap();
        }
        symlink("elsewhere", sandbox.path("model")).unwrap();
        Tree::small(9).write(&sandbox.path("elsewhere"));
        sandbox.run(["pull", "model", "--force"]).ok();
        Tree::read(&sandbox.path("model")).assert_same(new);
        Tree::read(&sandbox.path("elsewhere")).assert_same(&Tree::small(9));
        sandbox.assert_clean();
    }
}

fn without_exchange() {
    let old = Tree::small(1);
    // The old tree lies in the lower layer: not even a plain rename moves it.
    let sandbox = Sandbox::on_overlay(|project| old.write(&project.join("model")));
    sandbox.run(["push", "model", "--command-hash", "1"]).ok();
    let new = Tree::small(2);
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    new.write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--command-hash", "2"]).ok();
    for (hash, tree) in [("1", &old), ("2", &new), ("1", &old)] {
        sandbox.run(["pull", "model", "--force", "--command-hash", hash]).ok();
        Tree::read(&sandbox.path("model")).assert_same(tree);
        sandbox.assert_clean();
    }
}

/// Pushes `a` and `b`, of which the contents are `seed` and one more, under a command hash.
fn push_pair(sandbox: &Sandbox, command: &str, seed: u64, paths: &[&str]) {
    for (path, seed) in [("a", seed), ("b", seed + 1)] {
        let _ = fs::remove_dir_all(sandbox.path(path));
        Tree::small(seed).write(&sandbox.path(path));
    }
    let push = sandbox.larder(["push", "--command-hash", command]).args(paths);
    push.run().ok();
    for path in ["a", "b"] {
        fs::remove_dir_all(sandbox.path(path)).unwrap();
    }
}

fn one_command_hash() {
    let sandbox = Sandbox::new();
    push_pair(&sandbox, "first", 10, &["a", "b"]);
    push_pair(&sandbox, "second", 20, &["a", "b"]);
    // The newest `a` is of a command that never pushed its `b`.
    push_pair(&sandbox, "third", 30, &["a"]);
    let pull = sandbox.run(["pull", "a", "b", "--json"]).ok();
    for result in pull.results() {
        assert_eq!(result["command_hash"], "second", "{pull}");
        assert_eq!(result["outcome"], "restored", "{pull}");
    }
    Tree::read(&sandbox.path("a")).assert_same(&Tree::small(20));
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(21));
}

fn none_moves() {
    let sandbox = Sandbox::new();
    push_pair(&sandbox, "whole", 10, &["a", "b"]);
    push_pair(&sandbox, "half", 20, &["a"]);
    let absent = |path: &str| assert!(!sandbox.path(path).exists(), "{path} was moved");

    sandbox.run(["pull", "a", "b", "--command-hash", "half"]).exits(3);
    absent("a");
    absent("b");

    // One that exists and differs holds the other back.
    Tree::small(99).write(&sandbox.path("b"));
    sandbox.run(["pull", "a", "b", "--command-hash", "whole"]).fails(1, &["b exists and differs", "--force"]);
    absent("a");
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(99));
    sandbox.run(["pull", "a", "b", "--command-hash", "whole", "--force"]).ok();
    Tree::read(&sandbox.path("a")).assert_same(&Tree::small(10));
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(11));

    // A damaged one too.
    for path in ["a", "b"] {
        fs::remove_dir_all(sandbox.path(path)).unwrap();
    }
    let key = sandbox.keys().into_iter().find(|key| key.starts_with("b/whole/")).unwrap();
    let object = sandbox.remote().join(&key);
    let mut bytes = fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&object, bytes).unwrap();
    sandbox.run(["pull", "a", "b", "--command-hash", "whole"]).fails(4, &[&key]);
    absent("a");
    absent("b");
    sandbox.assert_clean();

    sandbox.run(["pull", "a", "a/ner"]).fails(2, &["a/ner"]);
    sandbox.run(["pull", "a", "b", "--content-hash", "x"]).fails(2, &["content hash"]);
}

fn dry_run() {
    let sandbox = pushed(&Tree::small(1));
    let keys = sandbox.keys();
    Tree::small(2).write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--dry-run"]).ok();
    assert_eq!(sandbox.keys(), keys);
    sandbox.run(["pull", "model", "--force", "--dry-run"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(2));
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(["pull", "model", "--dry-run"]).ok();
    assert!(!sandbox.path("model").exists());
    sandbox.run(["pull", "other", "--dry-run"]).exits(3);
}

fn newest() {
    let sandbox = Sandbox::new();
    for (seed, command) in [(1, "x"), (2, "y"), (3, "x"), (1, "x")] {
        let _ = fs::remove_dir_all(sandbox.path("model"));
        Tree::small(seed).write(&sandbox.path("model"));
        sandbox.run(["push", "model", "--command-hash", command]).ok();
    }
    // The last push found its object present and renewed nothing.
    let restored = |args: &[&str]| {
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        sandbox.larder(["pull", "model"]).args(args).run().ok();
        let found = Tree::read(&sandbox.path("model"));
        (1..=3).find(|seed| Tree::small(*seed) == found).expect("one of those that were pushed")
    };
    assert_eq!(restored(&[]), 3);
    assert_eq!(restored(&["--command-hash", "y"]), 2);
    assert_eq!(restored(&["--command-hash", "x"]), 3);
    let all = sandbox.run(["find", "model", "--all"]).ok();
    assert_eq!(all.text().lines().count(), 3, "{all}");
    let best = sandbox.run(["find", "model"]).ok();
    assert_eq!(Some(best.line()), all.text().lines().next(), "the newest comes first");
}
