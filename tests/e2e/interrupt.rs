//! Ctrl-C and SIGTERM at several moments. The command ends within two seconds, and publishes, moves and leaves nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::process::ExitCode;
use std::time::Duration;

use larder_tests::{Case, Need, Running, Sandbox, Signal, Tree, noise, run};

fn main() -> ExitCode {
    run(
        "interrupt",
        &[
            Case::new("while_push_hashes", while_hashing).needs(&[Need::Signals]),
            Case::new("while_push_uploads", while_uploading).needs(&[Need::Signals]),
            Case::new("while_pull_unpacks", while_unpacking).needs(&[Need::Signals, Need::Disk(4)]),
            Case::new("while_pull_compares", while_comparing).needs(&[Need::Signals]),
            Case::new("while_hash_reads", while_hash_reads).needs(&[Need::Signals]),
            Case::new("while_outputs_are_put_into_place", while_placing)
                .needs(&[Need::Signals, Need::Strace]),
            Case::new("what_was_ignored_before_stays_ignored", ignored_before),
        ],
    )
}

/// Sends each of both signals to a new process that has reached the point, and checks how it ends.
fn interrupt(start: impl Fn() -> Running, arrived: impl Fn(&Running) -> bool, check: impl Fn()) {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut running = start();
        running.wait_until(&arrived);
        let sent = running.signal(signal);
        let run = running.wait();
        // The process may exit with the code or die of the signal. A shell shows the same number.
        let ended = run.code.or(run.signal.map(|signal| 128 + signal));
        assert_eq!(ended, Some(code), "{run}");
        assert!(run.after(sent) < Duration::from_secs(2), "it ended after {:?}: {run}", run.after(sent));
        check();
    }
}

/// A file that takes long to read and needs no space.
fn sparse(sandbox: &Sandbox, path: &str, gib: u64) {
    File::create(sandbox.path(path)).unwrap().set_len(gib << 30).unwrap();
}

fn while_hashing() {
    let sandbox = Sandbox::new();
    sparse(&sandbox, "huge", 64);
    let start = || sandbox.larder(["push", "huge"]).spawn();
    interrupt(
        start,
        |push| push.bytes_read() > 256 << 20,
        || {
            assert_eq!(sandbox.keys(), Vec::<String>::new());
            sandbox.assert_clean();
        },
    );
}

fn while_uploading() {
    let sandbox = Sandbox::new();
    Tree::new().with("large", noise(1, 200 << 20)).write(&sandbox.path("model"));
    // xz is slow enough to be interrupted.
    let push = sandbox.larder(["push", "model", "--compression", "xz:6"]);
    for mib in [1, 12] {
        interrupt(
            || push.spawn(),
            |push| push.bytes_written() > mib << 20,
            || {
                assert_eq!(sandbox.keys(), Vec::<String>::new());
                sandbox.assert_clean();
            },
        );
    }
}

fn while_unpacking() {
    let sandbox = Sandbox::new();
    sparse(&sandbox, "zeros", 3);
    Tree::small(1).write(&sandbox.path("first"));
    let push = sandbox.run(["push", "zeros", "first", "--command-hash", "x"]);
    let _ = push.ok();
    let old = Tree::of_file("old");
    fs::remove_file(sandbox.path("zeros")).unwrap();
    old.write(&sandbox.path("zeros"));
    fs::remove_dir_all(sandbox.path("first")).unwrap();
    let pull = sandbox.larder(["pull", "first", "zeros", "--force", "--command-hash", "x"]);
    for mib in [1, 200] {
        interrupt(
            || pull.spawn(),
            |pull| pull.bytes_written() > mib << 20,
            || {
                assert_eq!(sandbox.keys().len(), 2);
                Tree::read(&sandbox.path("zeros")).assert_same(&old);
                assert!(!sandbox.path("first").exists());
                sandbox.assert_clean();
            },
        );
    }
}

/// All outputs are moved into place, and the text, the document and the exit code agree.
fn while_placing() {
    let sandbox = Sandbox::new();
    let tree = Tree::small(1);
    tree.write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    for (signal, code) in [("SIGINT", 130), ("SIGTERM", 143)] {
        for json in [false, true] {
            fs::remove_dir_all(sandbox.path("model")).unwrap();
            let pull = sandbox.larder(["pull", "model"]).args(json.then_some("--json"));
            // The signal arrives during the rename. Removing the staging takes long enough to handle it.
            let run = pull
                .inject_all(&[
                    &format!("renameat2:signal={signal}:when=1"),
                    "unlinkat:delay_enter=200000:when=1",
                ])
                .run()
                .exits(code);
            Tree::read(&sandbox.path("model")).assert_same(&tree);
            if json {
                let document = run.json();
                assert_eq!(document["ok"], false, "{run}");
                assert_eq!(document["error"]["kind"], "interrupted", "{run}");
                assert_eq!(document["results"][0]["outcome"], "restored", "{run}");
            } else {
                assert!(run.text().contains("restored"), "{run}");
                assert!(run.stderr.contains("error: interrupted"), "{run}");
            }
            sandbox.assert_clean();
        }
    }
}

fn while_comparing() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    sparse(&sandbox, "model", 64);
    let start = || sandbox.larder(["pull", "model"]).spawn();
    interrupt(
        start,
        |pull| pull.bytes_read() > 256 << 20,
        || {
            assert_eq!(fs::metadata(sandbox.path("model")).unwrap().len(), 64 << 30);
            sandbox.assert_clean();
        },
    );
}

fn while_hash_reads() {
    let sandbox = Sandbox::new();
    sparse(&sandbox, "huge", 64);
    let start = || sandbox.larder(["hash", "content", "huge"]).spawn();
    interrupt(start, |hash| hash.bytes_read() > 256 << 20, || {});
}

/// Ignored signals stop no command, as in the background of a script or under `trap '' INT TERM`.
fn ignored_before() {
    let sandbox = Sandbox::new();
    sparse(&sandbox, "huge", 64);
    sparse(&sandbox, "small", 0);
    sandbox.run(["push", "small"]).ok();
    fs::remove_file(sandbox.path("small")).unwrap();
    sparse(&sandbox, "small", 64);
    for args in [&["push", "huge"][..], &["pull", "small"], &["hash", "content", "huge"]] {
        let call = sandbox.larder([]).args(args);
        let mut running = call.through(["sh", "-c", "trap '' INT TERM; exec \"$0\" \"$@\""]).spawn();
        running.wait_until(|running| running.bytes_read() > 256 << 20);
        let _ = running.signal(Signal::INT);
        let _ = running.signal(Signal::TERM);
        // A command that handles one of them stops much earlier.
        let read = running.bytes_read();
        running.wait_until(|running| running.bytes_read() > read + (1 << 30));
    }
}
