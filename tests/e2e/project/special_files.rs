//! Special files and links in the place of project files.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::plain;

/// The special files that a checkout or an archive can have instead of a regular file, and a word of the error.
///
/// A link at `project.lock` is refused, whatever its target is.
const SPECIAL_FILES: [(&str, &str); 5] = [
    ("mkfifo \"$1\"", "not a regular file"),
    ("ln -s /dev/zero \"$1\"", "not a regular file"),
    ("mkfifo pipe && ln -s pipe \"$1\"", "not a regular file"),
    ("mkdir \"$1\"", "directory"),
    ("truncate -s 1G \"$1\"", "larger than"),
];

pub(crate) fn special_files() {
    for (make, word) in SPECIAL_FILES {
        for name in ["project.yml", "project.lock"] {
            let sandbox = plain();
            let _ = fs::remove_file(sandbox.path(name));
            let mut shell = Command::new("sh");
            let made = shell.args(["-c", make, "sh", name]).current_dir(sandbox.project()).status();
            assert!(made.unwrap().success(), "{make}");
            for command in ["push", "pull", "status"] {
                let larder = sandbox.larder(["project", command, "default", "."]);
                let (run, peak) = larder.run_and_measure();
                let is_linked_lock = name == "project.lock" && make.contains("ln -s");
                // A bad project.yml is a usage error, as a bad larder.toml is.
                let code = if name == "project.yml" { 2 } else { 1 };
                run.fails(code, &["failed to read", name, if is_linked_lock { "symlink" } else { word }]);
                assert!(peak < 128, "{make} at {name}: {peak} MiB");
            }
            // A plain command with a remote of larder.toml does not need the file.
            sandbox.run(["push", "out", "--remote", "shared"]).ok();
            let unknown = sandbox.run(["push", "out", "--remote", "absent"]);
            assert!(matches!(unknown.code, Some(1 | 2)), "{unknown}");
        }
    }
}

pub(crate) fn linked_lock() {
    let sandbox = plain();
    sandbox.run(["project", "push"]).ok();
    fs::write(sandbox.root().join("elsewhere"), "").unwrap();
    for target in ["../elsewhere", "nowhere"] {
        symlink(target, sandbox.path("project.lock")).unwrap();
        fs::remove_file(sandbox.path("out")).unwrap();
        sandbox.run(["project", "pull"]).fails(1, &["project.lock", "it is a symlink; replace it"]);
        assert!(sandbox.path("project.lock").is_symlink() && !sandbox.path("out").exists());
        assert_eq!(fs::read(sandbox.root().join("elsewhere")).unwrap(), b"");
        assert!(!sandbox.path("nowhere").exists());
        fs::remove_file(sandbox.path("project.lock")).unwrap();
        sandbox.run(["project", "pull"]).ok();
        fs::remove_file(sandbox.path("project.lock")).unwrap();
    }
}
