//! A failure gives one line with the location and the remedy, and the right exit code. Nothing is lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod full_disk;
mod limits;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, ExitCode};

use larder_tests::{Case, Need, Sandbox, Tree, files_below, run};

fn main() -> ExitCode {
    run(
        "failures",
        &[
            Case::new("wrong_usage", wrong_usage),
            Case::new("what_is_not_there", not_there),
            Case::new("remotes_that_cannot_be_used", unusable_remotes),
            Case::new("outputs_that_cannot_be_packed", unpackable),
            Case::new("a_given_content_hash_must_match", content_hash_must_match),
            Case::new("links_in_the_place_of_larders_own_directories", linked_state),
            Case::new("files_among_the_journals_that_are_none", foreign_journals),
            Case::new("one_failure_of_several_leaves_the_others", several),
            Case::new("a_full_remote", full_disk::full_remote).needs(&[Need::Tmpfs]),
            Case::new("a_full_project", full_disk::full_project).needs(&[Need::Tmpfs]),
            Case::new("a_remote_that_does_not_answer", silent_remote).needs(&[Need::Strace]),
            Case::new("stdout_that_cannot_be_written", full_disk::full_stdout).needs(&[Need::DevFull]),
            Case::new("the_worst_of_several_exit_codes", worst_exit_code),
            Case::new("who_may_start_few_threads_is_served_or_told_so", limits::few_threads)
                .needs(&[Need::Users]),
            Case::new("who_may_open_few_files_is_served_or_told_so", limits::few_files),
            Case::new("who_may_use_little_memory_is_served_or_told_so", limits::little_memory),
        ],
    )
}

/// The arguments, the exit code, and texts in the error line.
type Row<'a> = (&'a [&'a str], i32, &'a [&'a str]);

#[track_caller]
fn check(sandbox: &Sandbox, rows: &[Row<'_>]) {
    for (args, code, parts) in rows {
        sandbox.larder([]).args(*args).run().fails(*code, parts);
    }
}

fn wrong_usage() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    let long = "x".repeat(129);
    let project = sandbox.project().display().to_string();
    let absolute = sandbox.path("model").display().to_string();
    check(
        &sandbox,
        &[
            (&["push"], 2, &[]),
            (&["nonsense"], 2, &["nonsense"]),
            (&["push", "model", "--nonsense"], 2, &["--nonsense"]),
            (&["push", "model", "--command-hash", "a/b"], 2, &["a/b"]),
            (&["push", "model", "--command-hash", ""], 2, &["1 to 128"]),
            (&["push", "model", "--command-hash", &long], 2, &["1 to 128"]),
            (&["push", "model", "--content-hash", "blake3-abc"], 2, &["blake3-abc", "64"]),
            (&["pull", "model", "--content-hash", "sha256-tree-XYZ"], 2, &["sha256-tree-XYZ"]),
            (&["push", "model", "--compression", "rar"], 2, &["rar", "zstd"]),
            (&["push", "model", "--compression", "zstd:99"], 2, &["99"]),
            (&["push", "model", "--hash", "md4"], 2, &["md4", "blake3"]),
            (&["push", "model", "-j", "0"], 2, &[]),
            (&["push", "../model"], 2, &["../model", "outside the project"]),
            (&["push", "."], 2, &["root"]),
            (&["push", "model/.."], 2, &["root"]),
            (&["push", "/etc"], 2, &["/etc"]),
            (&["push", ".git/config"], 2, &[".git"]),
            (&["push", "sub/.LARDER/x"], 2, &[".LARDER"]),
            (&["push", "larder.toml"], 2, &["larder.toml"]),
            (&["push", "model", "model", "--content-hash", "x"], 2, &["--content-hash"]),
            (&["url", "model"], 2, &["--command-hash"]),
            (&["-C", "nowhere", "push", "model"], 2, &["nowhere"]),
            (&["hash", "content", "model", "--hash", "sha1"], 2, &["sha1"]),
            (&["completions", "powerless"], 2, &["powerless"]),
        ],
    );
    let _ = sandbox.run([]).exits(2);
    assert!(!sandbox.remote().exists(), "wrong usage touches no remote");
    // An absolute path inside the project names the output too.
    sandbox.run(["push", &absolute]).ok();
    assert!(sandbox.keys()[0].starts_with("model/"), "{project}: {:?}", sandbox.keys());
}

fn not_there() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.remote()).unwrap();
    check(
        &sandbox,
        &[
            (&["push", "no/such"], 1, &["no/such"]),
            (&["hash", "content", "no/such"], 1, &["no/such"]),
            (&["hash", "command", "-d", "no/such", "--", "x"], 1, &["no/such"]),
        ],
    );
    assert_eq!(sandbox.keys(), Vec::<String>::new());
    for args in [
        &["pull", "model"][..],
        &["pull", "model", "--command-hash", "x"],
        &["pull", "model", "--command-hash", "x", "--content-hash", "y"],
        &["find", "model"],
    ] {
        let miss = sandbox.larder([]).args(args).run().exits(3);
        assert!(miss.said().contains("model"), "{miss}");
    }
    let ls = sandbox.run(["ls"]).ok();
    assert_eq!(ls.text(), "");
}

fn unusable_remotes() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    fs::write(sandbox.path("file"), "not a directory").unwrap();
    fs::create_dir(sandbox.path("inside")).unwrap();
    Tree::small(2).write(&sandbox.path("inside/out"));
    check(
        &sandbox,
        &[
            (&["push", "model", "-r", "nosuch"], 2, &["nosuch", "shared", "./nosuch"]),
            (&["push", "model", "-r", "ftp://host/x"], 2, &["ftp"]),
            (&["push", "model", "-r", "https://host/x"], 2, &["https"]),
            (&["push", "model", "-r", "./model/store"], 2, &["model"]),
            (&["push", "model", "-r", "./model"], 2, &["model"]),
            (&["push", "inside/out", "-r", "./inside"], 2, &["inside"]),
            (&["pull", "inside/new", "-r", "./inside"], 2, &["inside"]),
            (&["push", "model", "-r", "./a/b"], 5, &["a"]),
            (&["push", "model", "-r", "./a/b", "--dry-run"], 5, &["a"]),
            (&["pull", "other", "-r", "./a/b"], 5, &["a"]),
            (&["find", "model", "-r", "./a/b"], 5, &["a"]),
            (&["ls", "-r", "./a/b"], 5, &["a"]),
            // A push would create the remote, so it has no objects.
            (&["pull", "other", "-r", "./absent"], 3, &["absent"]),
            (&["find", "model", "-r", "./absent"], 3, &["absent"]),
            (&["push", "model", "-r", "./file"], 5, &["file"]),
        ],
    );
    assert_eq!(sandbox.run(["ls", "-r", "./absent"]).ok().text(), "");
    for absent in ["a", "absent", "nosuch", "model/store"] {
        assert!(!sandbox.path(absent).exists(), "`{absent}` was made");
    }
    let secret = sandbox.run(["push", "model", "-r", "https://user:hunter2@host/x"]).exits(2);
    assert!(!secret.said().contains("hunter2"), "the output has a secret");
    // The push creates only the last component.
    sandbox.run(["push", "model", "-r", "./made"]).ok();
    assert!(sandbox.path("made/model").is_dir());
}

fn unpackable() {
    let make_fifo = |sandbox: &Sandbox, path: &str| {
        assert!(Command::new("mkfifo").arg(sandbox.path(path)).status().unwrap().success());
    };
    let sandbox = Sandbox::new();
    for path in ["fifo", "absolute", "leaves", "loop"] {
        Tree::small(1).write(&sandbox.path(path));
    }
    make_fifo(&sandbox, "fifo/ner/pipe");
    make_fifo(&sandbox, "pipe");
    symlink("/etc/hostname", sandbox.path("absolute/link")).unwrap();
    symlink("ner/../../elsewhere", sandbox.path("leaves/link")).unwrap();
    symlink("../ner", sandbox.path("loop/ner/again")).unwrap();
    check(
        &sandbox,
        &[
            (&["push", "fifo"], 1, &["fifo/ner/pipe"]),
            (&["push", "pipe"], 1, &["pipe"]),
            (&["hash", "content", "fifo"], 1, &["fifo/ner/pipe"]),
            (&["push", "absolute"], 1, &["absolute/link", "--dereference"]),
            (&["push", "leaves"], 1, &["leaves/link", "--dereference"]),
            (&["push", "loop", "--dereference"], 1, &["loop/ner/again"]),
        ],
    );
    assert_eq!(sandbox.keys(), Vec::<String>::new());
    sandbox.assert_clean();
}

fn content_hash_must_match() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "contents").unwrap();
    let hash = sandbox.run(["hash", "content", "file"]).ok().line().to_owned();
    let other = format!("blake3-{}", blake3::hash(b"other contents").to_hex());
    sandbox.run(["push", "file", "--content-hash", &other]).fails(4, &["file", &other]);
    assert_eq!(sandbox.keys(), Vec::<String>::new());
    sandbox.run(["push", "file", "--content-hash", &hash]).ok();
    // A custom name does not allow verification. The pull succeeds, and reports that.
    sandbox.run(["push", "file", "--command-hash", "x", "--content-hash", "v1"]).ok();
    fs::remove_file(sandbox.path("file")).unwrap();
    let pull = sandbox.run(["pull", "file", "--command-hash", "x", "--json"]).ok();
    assert_eq!(pull.results()[0]["verified"], false, "{pull}");
    assert_eq!(fs::read(sandbox.path("file")).unwrap(), b"contents");
}

/// Git stores symlinks, so that a checkout may have one at any of these names.
fn linked_state() {
    for link in [".larder", ".larder/tmp", ".larder/journal", ".larder/store"] {
        let sandbox = Sandbox::new();
        if link.ends_with("store") {
            sandbox.configure("");
        }
        Tree::small(1).write(&sandbox.path("model"));
        sandbox.run(["push", "model"]).ok();
        let outside = sandbox.root().join("outside");
        // Files that larder would remove if these were its own directories.
        for path in ["1-2-3.0/file", "tmp/1-2-3.0/file", "journal/1-2-3"] {
            fs::create_dir_all(outside.join(path).parent().unwrap()).unwrap();
            fs::write(outside.join(path), "").unwrap();
        }
        if sandbox.path(link).exists() {
            fs::remove_dir_all(sandbox.path(link)).unwrap();
        }
        fs::create_dir_all(sandbox.path(link).parent().unwrap()).unwrap();
        symlink(&outside, sandbox.path(link)).unwrap();
        let before = files_below(&outside);
        for command in [&["push", "model"][..], &["pull", "model", "--force"], &["ls"], &["find", "model"]] {
            let run = sandbox.larder([]).args(command).run();
            run.fails(1, &[&sandbox.path(link).display().to_string(), "it is a symlink"]);
        }
        assert_eq!(files_below(&outside), before, "{link}");
    }
}

fn foreign_journals() {
    let sandbox = Sandbox::new();
    let tree = Tree::small(1);
    tree.write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    let journals = sandbox.path(".larder/journal");
    fs::create_dir_all(journals.join("1-2-3")).unwrap();
    fs::write(journals.join("1-2-4"), b"\xff\xfe\n").unwrap();
    for fifo in ["x", "1-2-5"] {
        assert!(Command::new("mkfifo").arg(journals.join(fifo)).status().unwrap().success());
    }
    let _socket = std::os::unix::net::UnixListener::bind(journals.join("1-2-6")).unwrap();
    fs::remove_dir_all(sandbox.path("model")).unwrap();
    for command in [&["ls"][..], &["pull", "model"], &["push", "model"]] {
        let run = sandbox.larder([]).args(command).run().ok();
        let warnings = run.stderr.lines().filter(|line| line.starts_with("warning: ")).count();
        assert!(warnings == 1 && run.stderr.contains("and 2 more"), "{run}");
    }
    Tree::read(&sandbox.path("model")).assert_same(&tree);
    assert_eq!(fs::read_dir(&journals).unwrap().count(), 5, "none of them changed");
}

fn several() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("first"));
    Tree::small(2).write(&sandbox.path("last"));
    sandbox.run(["push", "first", "absent", "last"]).fails(1, &["absent"]);
    assert_eq!(sandbox.keys().len(), 2, "each output has its own object");
}

fn silent_remote() {
    let sandbox = Sandbox::new();
    Tree::small(1).write(&sandbox.path("model"));
    sandbox.run(["push", "model", "--command-hash", "x"]).ok();
    Tree::small(2).write(&sandbox.path("other"));
    // Imitate a share whose server is gone: a call returns only after every timeout.
    for (args, call) in [
        (&["find", "model"][..], "getdents64"),
        (&["ls"], "getdents64"),
        (&["pull", "model", "--to", "copy"], "getdents64"),
        (&["push", "other"], "flock"),
    ] {
        let call = format!("{call}:delay_enter=3000000:when=1");
        let run = sandbox.larder([]).args(args).args(["--stall-timeout", "0.5"]).inject(&call).run();
        run.fails(5, &[sandbox.remote().to_str().unwrap(), "0.5 s"]);
    }
    // That remote could not remove anything. The next command does.
    sandbox.run(["push", "other"]).ok();
    sandbox.assert_clean();
}

fn worst_exit_code() {
    let sandbox = Sandbox::new();
    for (path, seed) in [("whole", 1), ("damaged", 2)] {
        Tree::small(seed).write(&sandbox.path(path));
    }
    sandbox.run(["push", "whole", "damaged", "--command-hash", "x"]).ok();
    let key = sandbox.keys().into_iter().find(|key| key.starts_with("damaged/")).unwrap();
    fs::write(sandbox.remote().join(key), "damaged").unwrap();
    for path in ["whole", "damaged"] {
        fs::remove_dir_all(sandbox.path(path)).unwrap();
    }
    sandbox.run(["pull", "whole", "damaged"]).exits(4);
    sandbox.run(["pull", "whole", "absent"]).exits(3);
    assert!(!sandbox.path("whole").exists());
}
