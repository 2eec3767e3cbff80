//! Two clones of one git repository, with a shared directory as the remote.

use std::fs;

use larder_tests::{Run, Sandbox};

use crate::work_tree::WorkTree;

/// Two clones with the same pinned outputs in both. Each output is a file.
struct Team<'a> {
    ann: WorkTree<'a>,
    ben: WorkTree<'a>,
}

impl<'a> Team<'a> {
    /// Pins these outputs, with the text `1` in each.
    fn new(sandbox: &'a Sandbox, outputs: &[&str]) -> Self {
        let ann = WorkTree::new(sandbox);
        for output in outputs {
            ann.write(output, "1");
        }
        larder(&ann, &[&["pin"][..], outputs].concat()).ok();
        ann.commit("pin");
        let ben = ann.cloned("ben");
        larder(&ben, &["pull"]).ok();
        Self { ann, ben }
    }

    /// Ann changes outputs, publishes and commits them.
    fn ann_changes(&self, outputs: &[&str]) {
        publish(&self.ann, outputs, "ann");
    }

    /// Ben changes outputs, publishes and commits them.
    fn ben_changes(&self, outputs: &[&str]) {
        publish(&self.ben, outputs, "ben");
    }

    /// Ben merges Ann's branch. Returns whether git could.
    fn ben_merges(&self, style: &str) -> bool {
        self.ben.git(&["fetch", "-q"]);
        let style = format!("merge.conflictStyle={style}");
        self.ben.try_git(&["-c", &style, "merge", "-q", "--no-edit", "origin/main"]).0
    }
}

fn larder(tree: &WorkTree, args: &[&str]) -> Run {
    tree.larder(args).run()
}

fn publish(tree: &WorkTree, outputs: &[&str], text: &str) {
    for output in outputs {
        tree.write(output, text);
    }
    larder(tree, &["push"]).ok();
    tree.commit(text);
}

fn read(tree: &WorkTree, path: &str) -> String {
    fs::read_to_string(tree.path(path)).unwrap()
}

/// Returns the states of all pinned outputs, in the order of their paths.
#[track_caller]
fn states(tree: &WorkTree) -> Vec<String> {
    let results = larder(tree, &["status", "--json"]).ok().results();
    results.iter().map(|result| result["state"].as_str().unwrap().to_owned()).collect()
}

/// Asserts that all outputs are as pinned, and that the merge can be committed.
#[track_caller]
fn assert_settled(tree: &WorkTree) {
    larder(tree, &["status", "--check"]).ok();
    assert!(!read(tree, "larder.lock").contains("<<<<"), "{}", read(tree, "larder.lock"));
    // Also ends a merge.
    tree.git(&["add", "-A"]);
    tree.git(&["commit", "-q", "--allow-empty", "-m", "settled"]);
}

pub(crate) fn a_clone_gets_the_pinned_outputs() {
    let sandbox = Sandbox::new();
    let team = Team::new(&sandbox, &["metrics.json", "models/en", "models/übung 1"]);
    for output in ["metrics.json", "models/en", "models/übung 1"] {
        assert_eq!(read(&team.ben, output), "1");
    }
    for tree in [&team.ann, &team.ben] {
        assert_settled(tree);
        // Only larder's own files are in the repository.
        let tracked = tree.git(&["ls-files"]);
        assert_eq!(tracked, ".gitignore\nlarder.lock\nlarder.toml\n");
    }
    // A new version reaches the other clone.
    team.ann_changes(&["models/en"]);
    assert!(team.ben_merges("merge"));
    assert_eq!(states(&team.ben), ["clean", "behind", "clean"]);
    larder(&team.ben, &["pull"]).ok().says(&["models/en"]);
    assert_eq!(read(&team.ben, "models/en"), "ann");
    assert_settled(&team.ben);
}

pub(crate) fn changes_of_different_outputs_merge() {
    // Of a neighbor, and of an output with another one in between.
    for (index, (ann, ben)) in [("a", "b"), ("b", "a"), ("a", "c")].into_iter().enumerate() {
        for style in ["merge", "diff3", "zdiff3"] {
            let sandbox = Sandbox::new();
            let team = Team::new(&sandbox, &["a", "b", "c"]);
            team.ann_changes(&[ann]);
            team.ben_changes(&[ben]);
            // Git may see a conflict between neighboring lines. Larder does not.
            team.ben_merges(style);
            let expected = |path: &str| if path == ann { "behind" } else { "clean" };
            assert_eq!(states(&team.ben), ["a", "b", "c"].map(expected), "{index} {style}");
            larder(&team.ben, &["pull"]).ok();
            assert_eq!(read(&team.ben, ann), "ann", "{index} {style}");
            assert_eq!(read(&team.ben, ben), "ben", "{index} {style}");
            assert_settled(&team.ben);
            // Ann gets both.
            team.ann.git(&["pull", "-q", "--ff-only", team.ben.path("").to_str().unwrap(), "main"]);
            larder(&team.ann, &["pull"]).ok();
            assert_eq!(read(&team.ann, ben), "ben", "{index} {style}");
            assert_settled(&team.ann);
        }
    }
}

pub(crate) fn new_and_removed_pins_merge() {
    let sandbox = Sandbox::new();
    let team = Team::new(&sandbox, &["a", "k", "z"]);
    // Both add a pin at the same place, and Ann removes one beside it.
    team.ann.write("m", "ann");
    larder(&team.ann, &["pin", "m"]).ok();
    larder(&team.ann, &["unpin", "k"]).ok();
    team.ann.commit("m");
    team.ben.write("n", "ben");
    larder(&team.ben, &["pin", "n"]).ok();
    team.ben.commit("n");
    team.ben_merges("merge");
    // Lines of .gitignore are merged by git alone.
    fs::write(team.ben.path(".gitignore"), "/a\n/k\n/m\n/n\n/z\n").unwrap();
    let pinned = larder(&team.ben, &["status", "--json"]).ok().results();
    let pinned: Vec<&str> = pinned.iter().map(|result| result["path"].as_str().unwrap()).collect();
    assert_eq!(pinned, ["a", "m", "n", "z"]);
    larder(&team.ben, &["pull"]).ok();
    assert_eq!((read(&team.ben, "m").as_str(), read(&team.ben, "n").as_str()), ("ann", "ben"));
    assert_eq!(read(&team.ben, "k"), "1", "the file stays");
    assert_settled(&team.ben);
}

pub(crate) fn every_command_names_the_conflict() {
    for style in ["merge", "diff3", "zdiff3"] {
        let sandbox = Sandbox::new();
        let team = Team::new(&sandbox, &["a", "model", "z"]);
        team.ann_changes(&["a", "model"]);
        team.ben_changes(&["model"]);
        assert!(!team.ben_merges(style), "{style}");
        let (lock, remote) = (read(&team.ben, "larder.lock"), sandbox.keys());
        assert!(lock.contains("<<<<<<<"), "{style}");
        for args in [
            &["status"][..],
            &["status", "--check"],
            &["status", "z"],
            &["push"],
            &["push", "--strict"],
            &["push", "model"],
            &["push", "model", "--force"],
            &["pull"],
            &["pull", "model"],
            &["pull", "--latest"],
            &["pull", "--force", "--all"],
            &["pull", "--to", "copy"],
            &["unpin", "model"],
            &["unpin", "z"],
        ] {
            let run = larder(&team.ben, args).fails(2, &["`model`", "larder pin PATH", "--ours", "--theirs"]);
            assert!(!run.stderr.contains("`a`") && !run.stderr.contains("`z`"), "{style}: {run}");
        }
        assert_eq!(read(&team.ben, "larder.lock"), lock);
        assert_eq!(read(&team.ben, "model"), "ben");
        assert_eq!(sandbox.keys(), remote);
    }
}

pub(crate) fn a_conflict_is_settled_by_a_side_or_a_path() {
    let sandbox = Sandbox::new();
    let team = Team::new(&sandbox, &["a", "model", "z"]);
    team.ann_changes(&["model"]);
    team.ben_changes(&["model"]);
    assert!(!team.ben_merges("merge"));
    let conflicted = read(&team.ben, "larder.lock");
    for (args, state, after_pull) in [
        (&["pin", "--ours"][..], "clean", "ben"),
        (&["pin", "--ours", "model"], "clean", "ben"),
        (&["pin", "--theirs"], "behind", "ann"),
        (&["pin", "--theirs", "model"], "behind", "ann"),
        (&["pin", "model"], "clean", "ben"),
    ] {
        team.ben.write("larder.lock", &conflicted);
        team.ben.write("model", "ben");
        larder(&team.ben, args).ok();
        assert_eq!(states(&team.ben), ["clean", state, "clean"], "{args:?}");
        larder(&team.ben, &["pull"]).ok();
        assert_eq!(read(&team.ben, "model"), after_pull, "{args:?}");
        // The version of Ben again, as it was synchronized before the merge.
        if after_pull == "ann" {
            team.ben.write("model", "ben");
            larder(&team.ben, &["pin", "model"]).ok();
        }
    }
    // A third version settles it as well.
    team.ben.write("larder.lock", &conflicted);
    team.ben.write("model", "both");
    larder(&team.ben, &["pin", "model"]).ok().says(&["pinned: model"]);
    assert_settled(&team.ben);
    assert_eq!(sandbox.keys().iter().filter(|key| key.starts_with("model/")).count(), 4);
    // An output without a conflict is refused, and nothing is changed.
    team.ben.write("larder.lock", &conflicted);
    larder(&team.ben, &["pin", "--ours", "a"]).fails(2, &["no conflict in `a`"]);
    assert_eq!(read(&team.ben, "larder.lock"), conflicted);
}

pub(crate) fn several_conflicts_are_settled_one_by_one() {
    let sandbox = Sandbox::new();
    let outputs = ["a", "b", "c", "d"];
    let team = Team::new(&sandbox, &outputs);
    team.ann_changes(&outputs);
    team.ben_changes(&outputs[..3]);
    assert!(!team.ben_merges("merge"));
    let mut left = vec!["`a`", "`b`", "`c`"];
    for args in [&["pin", "b"][..], &["pin", "--theirs", "a"], &["pin", "--ours", "c"]] {
        let run = larder(&team.ben, &["status"]).fails(2, &left);
        assert!(!run.stderr.contains("`d`"), "{run}");
        larder(&team.ben, args).ok();
        let settled = format!("`{}`", args.last().unwrap());
        left.retain(|path| *path != settled);
        if !left.is_empty() {
            let run = larder(&team.ben, &["pull"]).fails(2, &left);
            assert!(!run.stderr.contains(&settled), "{run}");
        }
    }
    assert_eq!(states(&team.ben), ["behind", "clean", "clean", "behind"]);
    larder(&team.ben, &["pull"]).ok();
    assert_eq!(outputs.map(|output| read(&team.ben, output)), ["ann", "ben", "ben", "ann"]);
    assert_settled(&team.ben);
}

pub(crate) fn an_older_commit_brings_its_versions_back() {
    let sandbox = Sandbox::new();
    let team = Team::new(&sandbox, &["a", "b"]);
    team.ann_changes(&["a"]);
    publish(&team.ann, &["a", "b"], "ann again");
    team.ben.git(&["pull", "-q", "--ff-only"]);
    for (commit, a, b) in [
        ("main", "ann again", "ann again"),
        ("main~2", "1", "1"),
        ("main~1", "ann", "1"),
        ("main", "ann again", "ann again"),
    ] {
        for tree in [&team.ann, &team.ben] {
            tree.git(&["checkout", "-q", commit]);
            larder(tree, &["pull"]).ok();
            assert_eq!((read(tree, "a").as_str(), read(tree, "b").as_str()), (a, b), "{commit}");
            larder(tree, &["status", "--check"]).ok();
            assert_eq!(tree.git(&["status", "--porcelain"]), "", "{commit}");
        }
    }
}

pub(crate) fn uncommitted_changes_are_kept_and_named() {
    let sandbox = Sandbox::new();
    let team = Team::new(&sandbox, &["a", "b", "c", "d"]);
    team.ann_changes(&["a", "c"]);
    team.ben.git(&["pull", "-q", "--ff-only"]);
    for output in ["a", "b"] {
        team.ben.write(output, "uncommitted");
    }
    assert_eq!(states(&team.ben), ["diverged", "modified", "behind", "clean"]);
    let run = larder(&team.ben, &["pull"]).exits(1).says(&["kept a:", "kept b:"]);
    assert!(!run.said().contains("kept c") && !run.said().contains("kept d"), "{run}");
    assert_eq!(
        ["a", "b", "c", "d"].map(|output| read(&team.ben, output)),
        ["uncommitted", "uncommitted", "ann", "1"]
    );
    assert_eq!(states(&team.ben), ["diverged", "modified", "clean", "clean"]);
    // Also on the way to an older commit.
    team.ben.git(&["checkout", "-q", "main~1"]);
    larder(&team.ben, &["pull"]).exits(1).says(&["kept a:", "kept b:"]);
    assert_eq!(read(&team.ben, "a"), "uncommitted");
    assert_eq!(read(&team.ben, "c"), "1");
}

pub(crate) fn a_push_of_an_older_tree_keeps_a_newer_pin() {
    let sandbox = Sandbox::new();
    let team = Team::new(&sandbox, &["a", "b", "c"]);
    team.ann_changes(&["a", "b"]);
    team.ben.git(&["pull", "-q", "--ff-only"]);
    team.ben.write("b", "ben");
    let (lock, keys) = (read(&team.ben, "larder.lock"), sandbox.keys());
    assert_eq!(states(&team.ben), ["behind", "diverged", "clean"]);
    larder(&team.ben, &["push"]).exits(1).says(&["skipped a:", "`larder pull` first", "skipped b:"]);
    assert_eq!(read(&team.ben, "larder.lock"), lock);
    assert_eq!(sandbox.keys(), keys);
    // What is modified is published beside them.
    team.ben.write("c", "ben");
    larder(&team.ben, &["push"]).exits(1);
    assert_eq!(sandbox.keys().len(), keys.len() + 1);
    assert_eq!(states(&team.ben), ["behind", "diverged", "clean"]);
    larder(&team.ben, &["pull"]).exits(1);
    assert_eq!(["a", "b", "c"].map(|output| read(&team.ben, output)), ["ann", "ben", "ben"]);
}
