//! Exchange with the real weasel in both directions, under the same keys.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::ExitCode;

use larder_tests::{Case, Entry, Need, Sandbox, Tree, WeaselProject, noise, run};

const SCRIPT: [&str; 2] = ["python train.py --epochs 3", "echo \"größe\" > done"];
const DEPS: [&str; 3] = ["corpus/train.txt", "configs", "a dep"];

fn main() -> ExitCode {
    run(
        "weasel",
        &[
            Case::new("weasel_pulls_what_larder_pushed", larder_to_weasel).needs(&[Need::Weasel]),
            Case::new("larder_pulls_what_weasel_pushed", weasel_to_larder).needs(&[Need::Weasel]),
            Case::new("both_name_the_same_object", same_keys).needs(&[Need::Weasel]),
            Case::new("the_stub_of_a_killed_weasel_is_no_object", stub),
        ],
    )
}

/// A tree that weasel can store and restore. Its names must be UTF-8.
fn tree() -> Tree {
    Tree::small(3)
        .with("übung/日本語 with spaces", "names")
        .with("n".repeat(200) + "/long", "long names")
        .with("empty", "")
        .with("vectors.bin", noise(1, 9 << 20))
        .with_entry("tool", Entry::File(b"#!/bin/sh\n".to_vec(), true))
}

const OUTPUTS: [&str; 3] = ["training/größe model", "metrics.json", "tool"];

fn project(sandbox: &Sandbox) -> WeaselProject<'_> {
    fs::create_dir_all(sandbox.path("corpus")).unwrap();
    fs::write(sandbox.path("corpus/train.txt"), "a corpus").unwrap();
    fs::write(sandbox.path("a dep"), "with a space in its name").unwrap();
    Tree::new().with("b.cfg", "b").with("a/z.cfg", "z").with("a.cfg", "a").write(&sandbox.path("configs"));
    tree().write(&sandbox.path(OUTPUTS[0]));
    fs::write(sandbox.path(OUTPUTS[1]), "{\"score\": 0.5}\n").unwrap();
    Tree::default()
        .with_entry("", Entry::File(b"#!/bin/sh\n".to_vec(), true))
        .write(&sandbox.path(OUTPUTS[2]));
    WeaselProject::new(sandbox, &DEPS, &OUTPUTS, &SCRIPT)
}

fn command_hash(sandbox: &Sandbox) -> String {
    let deps = DEPS.iter().flat_map(|dep| ["-d", dep]);
    let hash = sandbox.larder(["hash", "command", "--hash", "weasel"]).args(deps).arg("--").args(SCRIPT);
    hash.run().ok().line().to_owned()
}

fn remove_outputs(sandbox: &Sandbox) -> Vec<Tree> {
    let remove = |path: &&str| {
        let at = sandbox.path(path);
        let tree = Tree::read(&at);
        if at.is_dir() { fs::remove_dir_all(at) } else { fs::remove_file(at) }.unwrap();
        tree
    };
    OUTPUTS.iter().map(remove).collect()
}

fn assert_outputs(sandbox: &Sandbox, expected: &[Tree]) {
    for (path, tree) in OUTPUTS.iter().zip(expected) {
        Tree::read(&sandbox.path(path)).assert_same(tree);
    }
}

fn push_with_larder(sandbox: &Sandbox) {
    let hash = command_hash(sandbox);
    let options = ["--hash", "weasel", "--compression", "gzip", "--command-hash", &hash];
    sandbox.larder(["push"]).args(OUTPUTS).args(options).run().ok();
}

fn larder_to_weasel() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    push_with_larder(&sandbox);
    let expected = remove_outputs(&sandbox);
    weasel.run("pull");
    assert_outputs(&sandbox, &expected);
}

fn weasel_to_larder() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    weasel.run("push");
    let hash = command_hash(&sandbox);
    let expected = remove_outputs(&sandbox);
    let pull = sandbox
        .larder(["pull", "--json", "--hash", "weasel", "--command-hash", &hash])
        .args(OUTPUTS)
        .run()
        .ok();
    for result in pull.results() {
        assert_eq!((&result["outcome"], &result["verified"]), (&"restored".into(), &true.into()), "{pull}");
    }
    assert_outputs(&sandbox, &expected);
    // weasel pushes a link that leaves the output, and larder does not restore it.
    symlink("/etc", sandbox.path(OUTPUTS[0]).join("away")).unwrap();
    fs::remove_dir_all(sandbox.remote()).unwrap();
    weasel.run("push");
    fs::remove_dir_all(sandbox.path(OUTPUTS[0])).unwrap();
    sandbox.run(["pull", OUTPUTS[0], "--hash", "weasel"]).fails(4, &["away"]);
    assert!(!sandbox.path(OUTPUTS[0]).exists());
}

fn same_keys() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    weasel.run("push");
    let keys = sandbox.keys();
    assert_eq!(keys.len(), OUTPUTS.len());
    fs::remove_dir_all(sandbox.remote()).unwrap();
    push_with_larder(&sandbox);
    assert_eq!(sandbox.keys(), keys);
    // weasel finds all objects present, and replaces none.
    let objects =
        || -> Vec<Vec<u8>> { keys.iter().map(|key| fs::read(sandbox.remote().join(key)).unwrap()).collect() };
    let before = objects();
    weasel.run("push");
    assert!(objects() == before, "weasel replaced an object that larder pushed");
}

fn stub() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    let push = sandbox.larder(["push", "model", "--hash", "weasel", "--compression", "gzip", "--json"]);
    push.run().ok();
    // A killed push of weasel leaves an empty file under the final name.
    fs::write(sandbox.object(), "").unwrap();
    assert_eq!(push.run().ok().outcome(), "uploaded");
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sandbox.run(["pull", "model", "--hash", "weasel"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
}
