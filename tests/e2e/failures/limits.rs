//! Limits of the system on threads, open files and memory.

use std::fs;
use std::process::Command;

use larder_tests::{Larder, Sandbox, Tree, noise};

/// A user without other processes, because the limit on processes counts all processes of a user.
const LONELY: u32 = 61_010;

/// A tree that uses every path through the pools: files that are read ahead, and one that is hashed in parallel.
fn many_files() -> Tree {
    let mut tree = Tree::new().with("large", noise(1, 5 << 20));
    for number in 0..300_u64 {
        tree = tree.with(format!("{}/{number}", number % 7), noise(number, 100));
    }
    tree
}

/// Pushes, finds and pulls with `limited` calls. Each must succeed, or say how to raise `limit`. Returns the number of
/// successes.
#[track_caller]
fn check_limited(sandbox: &Sandbox, tree: &Tree, limited: impl Fn(&[&str]) -> Larder, limit: &str) -> usize {
    let calls: [&[&str]; 6] = [
        &["hash", "content", "model"],
        &["push", "model"],
        &["push", "model", "--force"],
        &["find", "model"],
        &["ls", "model"],
        &["pull", "model", "--to", "copy"],
    ];
    let mut worked = 0;
    for args in calls {
        let run = limited(args).run();
        assert!(!run.stderr.contains("panicked"), "{run}");
        if run.code == Some(0) {
            worked += 1;
        } else if run.code != Some(3) || !sandbox.keys().is_empty() {
            let _ = run.fails(1, &[limit]);
        }
    }
    let copy = sandbox.path("copy");
    if copy.join("model").exists() {
        Tree::read(&copy.join("model")).assert_same(tree);
    }
    // Published objects are complete.
    if !sandbox.keys().is_empty() {
        sandbox.run(["pull", "model", "--to", "whole"]).ok();
        Tree::read(&sandbox.path("whole/model")).assert_same(tree);
        fs::remove_dir_all(sandbox.path("whole")).unwrap();
    }
    sandbox.assert_clean();
    worked
}

pub(crate) fn few_threads() {
    let tree = many_files();
    let mut best = 0;
    for limit in (1..=12).chain([16, 32]) {
        let sandbox = Sandbox::new();
        tree.write(&sandbox.path("model"));
        fs::create_dir(sandbox.remote()).unwrap();
        let owner = format!("{LONELY}:{LONELY}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(sandbox.root()).status().unwrap().success());
        let limit = format!("--nproc={limit}");
        let limited = |args: &[&str]| {
            let larder = sandbox.larder([]).args(args).with_binary(sandbox.public_binary());
            larder.as_user(LONELY, &[LONELY]).through(["prlimit", &limit])
        };
        limited(&["hash", "content", "model"]).run().ok();
        best = best.max(check_limited(&sandbox, &tree, limited, "ulimit -u"));
    }
    assert_eq!(best, 6, "32 threads are enough for everything");
}

pub(crate) fn few_files() {
    let tree = many_files();
    let mut best = 0;
    for limit in [6, 8, 10, 11, 12, 13, 14, 16, 20, 24, 32, 256] {
        let sandbox = Sandbox::new();
        tree.write(&sandbox.path("model"));
        fs::create_dir(sandbox.remote()).unwrap();
        // One object to list, even if no push succeeds.
        if limit % 2 == 0 {
            sandbox.run(["push", "model", "--command-hash", "x"]).ok();
        }
        let limit = format!("--nofile={limit}");
        let limited = |args: &[&str]| sandbox.larder([]).args(args).through(["prlimit", &limit]);
        best = best.max(check_limited(&sandbox, &tree, limited, "ulimit -n"));
    }
    assert_eq!(best, 6, "256 open files are enough for everything");
}

/// Missing memory is a failure with a message, never a signal, and nothing is left half done. This holds for small
/// allocations too, and for those of libraries.
pub(crate) fn little_memory() {
    let tree = many_files();
    let sandbox = Sandbox::new();
    tree.write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--command-hash", "whole"]).ok();
    let limited = |mib: u64, args: &[&str]| {
        sandbox.larder([]).args(args).through(["prlimit", &format!("--as={}", mib << 20)]).run()
    };
    // Below this limit, the system does not start the binary.
    let least = (16..).step_by(16).find(|&mib| limited(mib, &["--version"]).code == Some(0)).unwrap();
    let mut failed = 0;
    for more in [0, 8, 16, 32, 64, 128, 256, 512, 1024, 4096] {
        for jobs in ["1", "64"] {
            let calls: [&[&str]; 3] = [
                &["hash", "content", "model", "--jobs", jobs],
                &["push", "model", "--force", "--command-hash", "limited", "--jobs", jobs],
                &["pull", "model", "--to", "copy", "--force", "--command-hash", "whole", "--jobs", jobs],
            ];
            for args in calls {
                let run = limited(least + more, args);
                if run.code == Some(0) {
                    continue;
                }
                let run = run.exits(1);
                assert!(run.stderr.contains("memory") || run.stderr.contains("ulimit"), "{run}");
                assert!(more < 4096, "this is enough memory: {run}");
                failed += 1;
            }
        }
        sandbox.run(["push", "model", "--command-hash", "limited"]).ok();
        for command_hash in ["limited", "whole"] {
            sandbox.run(["pull", "model", "--to", "copy", "--force", "--command-hash", command_hash]).ok();
            Tree::read(&sandbox.path("copy/model")).assert_same(&tree);
        }
        sandbox.assert_clean();
    }
    assert!(failed > 0, "the smallest limit is enough for everything");
}
