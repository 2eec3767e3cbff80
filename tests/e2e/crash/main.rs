//! `kill -9` at every system call with which push and pull change something.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod full_disk;
mod pinned;
mod pins;
mod project;
mod runs;
mod sweep;
mod versions;

use std::fs;
use std::process::{Command, ExitCode};

use larder_tests::{Case, Larder, Need, Sandbox, Tree, run};

use sweep::{remove, sweep};

fn main() -> ExitCode {
    run(
        "crash",
        &[
            Case::new("push_killed_at_any_call", killed_push).needs(&[Need::Strace]),
            Case::new("forced_push_killed_at_any_call", killed_forced_push).needs(&[Need::Strace]),
            Case::new("pull_killed_at_any_call", killed_pull).needs(&[Need::Strace]),
            Case::new("pull_over_a_tree_killed_at_any_call", versions::killed_replacement)
                .needs(&[Need::Strace]),
            Case::new("the_same_without_an_exchange", versions::killed_without_exchange)
                .needs(&[Need::Strace]),
            Case::new("pull_of_several_killed_at_any_call", versions::killed_pair).needs(&[Need::Strace]),
            Case::new("several_without_an_exchange", versions::killed_pair_without_exchange)
                .needs(&[Need::Strace]),
            Case::new(
                "outputs_of_a_lower_layer_killed_between_their_entries",
                versions::killed_over_a_lower_layer,
            )
            .needs(&[Need::Strace, Need::Overlay]),
            Case::new("project_pull_killed_at_any_call", project::killed_pull).needs(&[Need::Strace]),
            Case::new("project_pull_without_an_exchange", project::killed_pull_without_exchange)
                .needs(&[Need::Strace]),
            Case::new("pin_killed_at_any_call", pinned::killed_pin).needs(&[Need::Strace, Need::Git]),
            Case::new("push_of_pins_killed_at_any_call", pinned::killed_push).needs(&[Need::Strace]),
            Case::new("pull_of_pins_killed_at_any_call", pinned::killed_pull).needs(&[Need::Strace]),
            Case::new("unpin_killed_at_any_call", pins::killed_unpin).needs(&[Need::Strace]),
            Case::new("init_killed_at_any_call", pins::killed_init).needs(&[Need::Strace]),
            Case::new("run_killed_at_any_call", runs::killed_miss).needs(&[Need::Strace]),
            Case::new("run_that_restores_killed_at_any_call", runs::killed_hit).needs(&[Need::Strace]),
            Case::new("a_torn_line_of_a_journal_loses_itself_only", full_disk::torn_line)
                .needs(&[Need::Strace, Need::Tmpfs]),
            Case::new("staging_beside_an_output_never_gets_into_a_push", staging_is_never_pushed)
                .needs(&[Need::Strace, Need::Tmpfs]),
            Case::new("a_read_only_file_system_with_leftovers_can_be_read", read_only_leftovers)
                .needs(&[Need::Strace, Need::Tmpfs]),
            Case::new("calls_that_fail_are_reported_and_undone", failing_calls).needs(&[Need::Strace]),
        ],
    )
}

fn killed_push() {
    let sandbox = Sandbox::new();
    let tree = Tree::small(1);
    tree.write(&sandbox.path("model"));
    let push = sandbox.larder(["push", "model", "--json", "--command-hash", "x"]);
    let start_over = || {
        remove(sandbox.remote());
        remove(sandbox.path(".larder"));
    };
    sweep(&push, start_over, |_, when| {
        let published = sandbox.keys();
        assert!(published.len() <= 1, "{when}: {published:?}");
        // A record is whole, and comes after the objects that it names. The next push writes one in any case.
        let recorded = sandbox.run(["log"]).ok().said();
        assert!(!recorded.contains("ignoring"), "{when}: {recorded}");
        let records = || sandbox.run(["log", "--json"]).ok().results().len();
        let before = records();
        assert!(before <= published.len(), "{when}");
        let again = push.run().ok();
        assert_eq!(records(), before + 1, "{when}");
        let expected = if published.is_empty() { "uploaded" } else { "already_present" };
        assert_eq!(again.outcome(), expected, "{when}");
        sandbox.assert_clean();
        assert_eq!(sandbox.run(["ls", "--json"]).ok().results().len(), 1, "{when}");
        // A published object is complete.
        remove(sandbox.path("copy"));
        sandbox.run(["pull", "model", "--to", "copy"]).ok();
        Tree::read(&sandbox.path("copy/model")).assert_same(&tree);
        remove(sandbox.path("copy"));
    });
}

fn killed_forced_push() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    let push = sandbox.larder(["push", "model", "--force", "--command-hash", "x"]);
    push.run().ok();
    let damage = || fs::write(sandbox.object(), "damaged").unwrap();
    sweep(&push, damage, |killed, when| {
        // The key has the old or the new object.
        let object = fs::read(sandbox.object()).unwrap();
        let old = object == b"damaged";
        assert!(killed || !old, "{when}");
        sandbox.run(["pull", "model", "--to", "copy"]).exits(if old { 4 } else { 0 });
        remove(sandbox.path("copy"));
        push.run().ok();
        sandbox.assert_clean();
    });
}

fn killed_pull() {
    let sandbox = Sandbox::new();
    let tree = Tree::small(1);
    tree.write(&sandbox.path("models/en"));
    sandbox.run(["push", "models/en"]).ok();
    let pull = sandbox.larder(["pull", "models/en"]);
    sweep(
        &pull,
        || remove(sandbox.path("models")),
        |killed, when| {
            let found = Tree::read_if_exists(&sandbox.path("models/en"));
            assert!(killed || found.is_some(), "{when}");
            if let Some(found) = found {
                found.assert_same(&tree);
            }
            pull.run().ok();
            Tree::read(&sandbox.path("models/en")).assert_same(&tree);
            assert_eq!(sandbox.path("models").read_dir().unwrap().count(), 1, "{when}");
            sandbox.assert_clean();
        },
    );
}

fn staging_is_never_pushed() {
    let mut sandbox = Sandbox::new();
    // With another file system inside the project, staging is beside the output, in a tree that a push of the parent packs.
    sandbox.mount_tmpfs("project/models", 64);
    let tree = Tree::small(1);
    tree.write(&sandbox.path("models/en"));
    sandbox.run(["push", "models/en"]).ok();
    fs::write(sandbox.path("models/de"), "german").unwrap();
    let without = Tree::new().with("de", "german");
    let pull = sandbox.larder(["pull", "models/en"]);
    let mut kills = 0;
    for call in ["openat", "write", "symlinkat", "renameat2"] {
        for nth in 1.. {
            remove(sandbox.path("models/en"));
            let killed = pull.clone().inject(&format!("{call}:signal=SIGKILL:when={nth}")).run();
            if killed.signal.is_none() {
                break;
            }
            kills += 1;
            let restored = sandbox.path("models/en").exists();
            sandbox.run(["push", "models"]).ok();
            sandbox.run(["pull", "models", "--to", "copy"]).ok();
            let copy = Tree::read(&sandbox.path("copy/models"));
            assert!(restored || copy == without, "{call} {nth}: more than the outputs was pushed: {copy:?}");
            remove(sandbox.path("copy"));
            remove(sandbox.remote().join("models"));
        }
    }
    assert!(kills > 5, "only {kills} moments were tried");
    pull.run().ok();
    Tree::read(&sandbox.path("models/en")).assert_same(&tree);
    sandbox.assert_clean();
}

/// Lets the first, second, third … use of a call fail, until a run makes fewer calls. Checks each run.
fn fail_each(command: &Larder, faults: &[(&str, &str)], check: impl Fn(bool, &str)) {
    for (call, error) in faults {
        let mut failures = 0;
        for nth in 1.. {
            let run = command.clone().inject(&format!("{call}:error={error}:when={nth}")).run();
            let when = format!("{call} number {nth} with {error}");
            assert!(matches!(run.code, Some(0 | 1 | 5)), "{when}: {run}");
            assert!(run.code == Some(0) || run.stderr.starts_with("error: "), "{when}: {run}");
            check(run.code == Some(0), &when);
            if run.code == Some(0) {
                break;
            }
            failures += 1;
        }
        assert!(failures > 0, "{call} with {error} harmed nothing: it tests nothing");
    }
}

fn failing_calls() {
    let sandbox = Sandbox::new();
    let tree = Tree::small(1);
    tree.write(&sandbox.path("model"));
    let push = sandbox.larder(["push", "model", "--command-hash", "x"]);
    push.run().ok();
    remove(sandbox.remote().join("model"));
    fail_each(&push, &[("fsync", "EIO"), ("fsync", "ENOSPC")], |done, when| {
        // After a failed sync of a directory, the object is complete, but may not survive a power cut.
        assert!(sandbox.keys().len() <= 1 && (!done || sandbox.keys().len() == 1), "{when}");
        sandbox.assert_clean();
        push.run().ok();
        sandbox.run(["pull", "model", "--to", "copy"]).ok();
        Tree::read(&sandbox.path("copy/model")).assert_same(&tree);
        remove(sandbox.path("copy"));
        remove(sandbox.remote().join("model"));
    });
    push.run().ok();
    let old = Tree::small(2);
    for faults in
        [[("symlinkat", "EACCES"), ("mkdirat", "ENOSPC")], [("renameat2", "EIO"), ("symlinkat", "EIO")]]
    {
        remove(sandbox.path("model"));
        old.write(&sandbox.path("model"));
        fail_each(&sandbox.larder(["pull", "model", "--force"]), &faults, |done, when| {
            let found = Tree::read(&sandbox.path("model"));
            assert!(if done { found == tree } else { found == old }, "{when}");
            sandbox.assert_clean();
            if done {
                remove(sandbox.path("model"));
                old.write(&sandbox.path("model"));
            }
        });
    }
}

fn read_only_leftovers() {
    let mut sandbox = Sandbox::new();
    let project = sandbox.mount_tmpfs("project", 64);
    sandbox.configure_remote();
    let remount = |how: &str| {
        let status = Command::new("mount").arg("-o").arg(format!("remount,{how}")).arg(&project).status();
        assert!(status.unwrap().success());
    };
    let (old, new) = (Tree::small(1), Tree::small(2));
    new.write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--command-hash", "x"]).ok();
    // Kill before and after the exchange. After it, the journal has an exchange to complete.
    for kill in ["renameat2:signal=SIGKILL:when=1", "unlinkat:signal=SIGKILL:when=1"] {
        remove(sandbox.path("model"));
        old.write(&sandbox.path("model"));
        let killed = sandbox.larder(["pull", "model", "--force"]).inject(kill).run();
        assert_eq!(killed.signal, Some(9), "{killed}");
        assert!(sandbox.leftovers().len() > 1, "expected a journal and staging");
        let there = Tree::read(&sandbox.path("model"));
        remount("ro");
        sandbox.run(["ls"]).ok();
        sandbox.run(["find", "model"]).ok();
        sandbox.run(["push", "model", "--dry-run"]).ok();
        // The dry run fails where the real pull would.
        sandbox.run(["pull", "model", "--to", "elsewhere", "--dry-run"]).fails(1, &["read-only"]);
        let forced = sandbox.run(["pull", "model", "--force"]);
        if there == new {
            let _ = forced.ok();
        } else {
            let _ = forced.fails(1, &["read-only"]);
        }
        Tree::read(&sandbox.path("model")).assert_same(&there);
        remount("rw");
        sandbox.run(["pull", "model", "--force"]).ok();
        Tree::read(&sandbox.path("model")).assert_same(&new);
        sandbox.assert_clean();
    }
}
