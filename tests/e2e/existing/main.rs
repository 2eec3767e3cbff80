//! Pulls onto existing files, and pulls of several outputs that belong together.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mounts;
mod several;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::ExitCode;

use larder_tests::{Case, Need, Run, Sandbox, Tree, run};

use several::push_pair;

fn main() -> ExitCode {
    run(
        "existing",
        &[
            Case::new("what_is_there_stays_and_is_compared", stays_and_is_compared),
            Case::new("what_cannot_be_compared_is_kept_and_said", incomparable),
            Case::new("a_race_for_the_destination_is_tried_again_and_ends", race).needs(&[Need::Strace]),
            Case::new("force_replaces_whatever_is_there", force_replaces),
            Case::new("without_the_exchange_of_the_file_system", without_exchange).needs(&[Need::Overlay]),
            Case::new("force_leaves_what_is_the_same", force_leaves_the_same),
            Case::new("force_restores_the_execute_bit_of_a_file", force_restores_the_execute_bit),
            Case::new("a_path_below_a_subdirectory_is_never_a_key_of_the_root", no_literal_key),
            Case::new("many_damaged_candidates_are_counted", many_damaged),
            Case::new("a_tree_with_a_mount_in_it_is_not_replaced", mounts::mount_within)
                .needs(&[Need::Tmpfs]),
            Case::new("leftovers_are_not_removed_across_a_mount", mounts::mount_in_leftovers)
                .needs(&[Need::Tmpfs]),
            Case::new("what_is_in_the_way_of_the_destination_is_named", mounts::obstructed),
            Case::new("a_link_above_the_destination_is_followed_out_of_the_project", mounts::linked_parent),
            Case::new("several_outputs_come_from_one_command_hash", several::one_command_hash),
            Case::new("of_several_outputs_none_moves_where_one_cannot", several::none_moves),
            Case::new("a_dry_run_changes_nothing", dry_run),
            Case::new("the_newest_is_found", newest),
        ],
    )
}

/// A sandbox where `model` was pushed under the command hash `x` and then removed.
pub(crate) fn pushed(tree: &Tree) -> Sandbox {
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
    assert!(said.stderr.contains("--force"), "the warning has a remedy: {said}");
    assert_eq!(fs::read(sandbox.path("model/config.cfg")).unwrap(), b"mine");
    let forced = sandbox.run(["pull", "model", "--force", "--json"]).ok();
    assert_eq!(forced.outcome(), "restored");
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
    sandbox.assert_clean();
}

fn incomparable() {
    let sandbox = Sandbox::new();
    let push = |path: &str, own_name: &str| {
        fs::write(sandbox.path(path), "the same").unwrap();
        sandbox.run(["push", path, "--command-hash", "x", "--content-hash", own_name]).ok();
    };
    push("one", "v1");
    push("two", "v1");
    let kept = sandbox.run(["pull", "one", "--json"]).ok();
    assert_eq!(kept.outcome(), "kept");
    let said = |args: &[&str], parts: &[&str]| {
        let run = sandbox.larder(["pull"]).args(args).run().ok();
        for part in parts {
            assert!(run.said().contains(part), "`{part}` is not said: {run}");
        }
        assert!(
            !run.said().contains("differs") && !run.said().contains('≠'),
            "the message claims a comparison: {run}"
        );
    };
    said(&["one"], &["one may differ", "x/v1 is a custom name", "cannot tell", "--force"]);
    fs::remove_file(sandbox.path("one")).unwrap();
    let several = sandbox.run(["pull", "one", "two"]);
    let several =
        several.fails(1, &["nothing was restored", "two exists", "custom name", "cannot tell", "--force"]);
    assert!(!several.stderr.contains("differs"), "{several}");
    assert!(!sandbox.path("one").exists());
    sandbox.run(["pull", "one", "two", "--force"]).ok();

    // A hash in weasel's format, which only that scheme can verify.
    fs::write(sandbox.path("three"), "the same").unwrap();
    sandbox.run(["push", "three", "--hash", "weasel", "--command-hash", "x"]).ok();
    said(&["three"], &["three may differ", "weasel's", "cannot tell", "--hash weasel", "--force"]);
    assert_eq!(sandbox.run(["pull", "three", "--hash", "weasel", "--json"]).ok().outcome(), "up_to_date");
}

fn race() {
    let sandbox = pushed(&Tree::small(1));
    for force in [&[][..], &["--force"]] {
        let pull = sandbox.larder(["pull", "model", "--json"]).args(force);
        // Imitate a file that existed for a moment. strace counts the calls per thread, and any of the pool's six threads
        // may make the call, so the first call of each fails.
        let again = pull.clone().inject("renameat2:error=EEXIST:when=1").run().ok();
        assert_eq!(again.outcome(), "restored", "{force:?}");
        Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        let pull = sandbox.larder(["pull", "model"]).args(force);
        pull.inject("renameat2:error=EEXIST").run().fails(1, &["model", "keeps creating", "pull again"]);
        assert!(!sandbox.path("model").exists());
        sandbox.assert_clean();
    }
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
    // The old tree is in the lower layer, so that even a plain rename fails.
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

fn force_leaves_the_same() {
    let sandbox = Sandbox::new();
    push_pair(&sandbox, "x", 10, &["a", "b"]);
    let find = sandbox.run(["find", "a", "--json"]).ok();
    let content = find.results()[0]["content_hash"].as_str().unwrap().to_owned();
    sandbox.run(["pull", "a", "b"]).ok();
    fs::write(sandbox.path("b/config.cfg"), "mine").unwrap();
    let inode = |path: &str| fs::metadata(sandbox.path(path)).unwrap().ino();
    let before = inode("a");
    let both = sandbox.larder(["pull", "a", "--force", "--json", "--command-hash", "x", "--content-hash"]);
    let outcomes = [
        sandbox.run(["pull", "a", "--force", "--json"]).ok().outcome(),
        both.arg(&content).run().ok().outcome(),
    ];
    assert_eq!(outcomes, ["up_to_date", "up_to_date"]);
    let pair = sandbox.run(["pull", "a", "b", "--force", "--json"]).ok();
    let outcomes: Vec<_> = pair.results().iter().map(|result| result["outcome"].clone()).collect();
    assert_eq!(outcomes, ["up_to_date", "restored"]);
    assert_eq!(inode("a"), before, "the files are not replaced");
    Tree::read(&sandbox.path("b")).assert_same(&Tree::small(11));

    // A directory replaces a link, even if the link's target is equal.
    fs::rename(sandbox.path("a"), sandbox.root().join("elsewhere")).unwrap();
    symlink(sandbox.root().join("elsewhere"), sandbox.path("a")).unwrap();
    sandbox.run(["pull", "a", "--force"]).ok();
    assert!(!sandbox.path("a").is_symlink());
    Tree::read(&sandbox.path("a")).assert_same(&Tree::small(10));
    sandbox.assert_clean();
}

fn force_restores_the_execute_bit() {
    for scheme in ["blake3", "weasel"] {
        let sandbox = Sandbox::new();
        let tool = sandbox.path("tool");
        let pull = sandbox.larder(["pull", "tool", "--force", "--json", "--hash", scheme]);
        let is_executable = || fs::metadata(&tool).unwrap().mode() & 0o111 == 0o111;
        for (mode, other) in [(0o755, 0o644), (0o644, 0o755)] {
            fs::write(&tool, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&tool, fs::Permissions::from_mode(mode)).unwrap();
            let push = ["push", "tool", "--force", "--command-hash", "x", "--hash", scheme];
            sandbox.run(push).ok();
            let before = fs::metadata(&tool).unwrap().ino();
            assert_eq!(pull.run().ok().outcome(), "up_to_date");
            assert_eq!(fs::metadata(&tool).unwrap().ino(), before, "the same file stays");

            fs::set_permissions(&tool, fs::Permissions::from_mode(other)).unwrap();
            let dry_run = pull.clone().arg("--dry-run").run().ok();
            assert_eq!(dry_run.outcome(), "restored");
            assert_eq!(is_executable(), other == 0o755);
            assert_eq!(pull.run().ok().outcome(), "restored");
            assert_eq!(is_executable(), mode == 0o755);
        }
        sandbox.assert_clean();
    }
}

fn no_literal_key() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("m.json"), "pushed").unwrap();
    sandbox.run(["push", "m.json"]).ok();
    fs::write(sandbox.path("m.json"), "mine").unwrap();
    fs::create_dir(sandbox.path("sub")).unwrap();
    let pull = sandbox.larder(["pull", "m.json", "--force"]).in_dir(sandbox.path("sub")).run();
    pull.fails(3, &["sub/m.json"]);
    assert_eq!(fs::read(sandbox.path("m.json")).unwrap(), b"mine");
    assert!(!sandbox.path("sub/m.json").exists());
}

fn many_damaged() {
    let sandbox = Sandbox::new();
    for number in 0..12 {
        fs::write(sandbox.path("model"), format!("{number}")).unwrap();
        sandbox.run(["push", "model", "--command-hash", "x"]).ok();
    }
    for key in sandbox.keys() {
        fs::write(sandbox.remote().join(key), "damaged").unwrap();
    }
    let pull = sandbox.run(["pull", "model", "--force"]).exits(4);
    let warnings = |run: &Run| run.stderr.lines().filter(|line| line.starts_with("warning: ")).count();
    assert_eq!(warnings(&pull), 6, "{pull}");
    assert!(pull.stderr.contains("6 more objects are damaged"), "{pull}");

    // The same of objects that are not larder's, by every command that meets them.
    for number in 0..30 {
        fs::write(sandbox.remote().join(format!("model/x/stray file {number}")), "").unwrap();
    }
    for (args, code) in
        [(&["pull", "model", "--force"][..], 4), (&["find", "model"], 0), (&["ls", "model"], 0)]
    {
        let run = sandbox.larder([]).args(args).run().exits(code);
        let damaged = if code == 4 { 6 } else { 0 };
        assert_eq!(warnings(&run), 11 + damaged, "{run}");
        assert!(run.stderr.contains("20 more foreign objects"), "{run}");
    }
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
    // The last push found its object present, and recorded that it is the newest.
    let restored = |args: &[&str]| {
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        sandbox.larder(["pull", "model"]).args(args).run().ok();
        let found = Tree::read(&sandbox.path("model"));
        (1..=3).find(|seed| Tree::small(*seed) == found).expect("one of the pushed trees")
    };
    assert_eq!(restored(&[]), 1);
    assert_eq!(restored(&["--command-hash", "y"]), 2);
    assert_eq!(restored(&["--command-hash", "x"]), 1);
    let all = sandbox.run(["find", "model", "--all"]).ok();
    assert_eq!(all.text().lines().count(), 3, "{all}");
    let best = sandbox.run(["find", "model"]).ok();
    assert_eq!(Some(best.line()), all.text().lines().next(), "the newest is first");
}
