//! Kills at each system call with which a command changes something.

use std::fs;
use std::path::PathBuf;

use larder_tests::Larder;

/// The system calls that change files and names, and the exit. Not every machine has all of them.
const CHANGING: [&str; 23] = [
    "openat",
    "?mkdir",
    "mkdirat",
    "write",
    "pwrite64",
    "writev",
    "copy_file_range",
    "?rename",
    "?renameat",
    "renameat2",
    "?link",
    "linkat",
    "?unlink",
    "unlinkat",
    "?rmdir",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fchmod",
    "utimensat",
    "symlinkat",
    "flock",
    "exit_group",
];

/// Kills `command` at the first, second, third … use of each changing call (counted per thread), until it makes fewer
/// calls. Calls `check` after every run, killed or not. The command of a `larder run` is killed in the same way.
pub(crate) fn sweep(command: &Larder, mut prepare: impl FnMut(), mut check: impl FnMut(bool, &str)) {
    let mut kills = 0;
    for call in CHANGING {
        let mut nth = 1;
        loop {
            prepare();
            let run = command.clone().inject(&format!("{call}:signal=SIGKILL:when={nth}")).run();
            // A run reports the kill of its command as 137.
            let killed = run.signal == Some(9) || run.code == Some(137);
            assert!(
                killed || run.code == Some(0),
                "expected a kill at {call} number {nth}, or success: {run}"
            );
            check(killed, &format!("after the kill at {call} number {nth}"));
            if !killed {
                break;
            }
            kills += 1;
            // Kill at each of the first calls, then at fewer, because a loop over files or buffers repeats itself.
            nth += 1 + nth / 10;
        }
    }
    assert!(kills > 20, "only {kills} moments were tried");
}

pub(crate) fn remove(path: PathBuf) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
