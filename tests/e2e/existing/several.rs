//! Pulls of several outputs, which are restored as one.

use std::fs;

use larder_tests::{Sandbox, Tree};

/// Pushes `a` with content `seed` and `b` with content `seed + 1`, under one command hash.
pub(crate) fn push_pair(sandbox: &Sandbox, command: &str, seed: u64, paths: &[&str]) {
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

pub(crate) fn one_command_hash() {
    let sandbox = Sandbox::new();
    push_pair(&sandbox, "first", 10, &["a", "b"]);
    push_pair(&sandbox, "second", 20, &["a", "b"]);
    // The command of the newest `a` never pushed its `b`.
    push_pair(&sandbox, "third", 30, &["a"]);
    let pull = sandbox.run(["pull", "a", "b", "--json"]).ok();
    for result in pull.results() {
        assert_eq!(result["command_hash"], "second", "{pull}");
        assert_eq!(result["outcome"], "restored", "{pull}");
    }
    Tree::read(&sandbox.path("a")).assert_same(&Tree::small(20));
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(21));
}

pub(crate) fn none_moves() {
    let sandbox = Sandbox::new();
    push_pair(&sandbox, "whole", 10, &["a", "b"]);
    push_pair(&sandbox, "half", 20, &["a"]);
    let absent = |path: &str| assert!(!sandbox.path(path).exists(), "{path} was moved");

    sandbox.run(["pull", "a", "b", "--command-hash", "half"]).exits(3);
    absent("a");
    absent("b");

    // An output that exists and differs prevents the pull of the other.
    Tree::small(99).write(&sandbox.path("b"));
    sandbox.run(["pull", "a", "b", "--command-hash", "whole"]).fails(1, &["b exists and differs", "--force"]);
    absent("a");
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(99));
    sandbox.run(["pull", "a", "b", "--command-hash", "whole", "--force"]).ok();
    Tree::read(&sandbox.path("a")).assert_same(&Tree::small(10));
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(11));

    // So does a damaged one.
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
