//! `larder unpin`: pins are removed.

use std::fs;
use std::process::Command;

use larder_tests::Sandbox;

use crate::work_tree::{WorkTree, lock_text};

fn read(sandbox: &Sandbox, path: &str) -> String {
    fs::read_to_string(sandbox.path(path)).unwrap()
}

fn pin(sandbox: &Sandbox, pins: &[(&str, &str)]) {
    fs::write(sandbox.path("larder.lock"), lock_text(pins)).unwrap();
}

pub(crate) fn a_pin_and_its_line_go_and_files_stay() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("models")).unwrap();
    fs::write(sandbox.path("models/en"), "model").unwrap();
    fs::write(sandbox.path(".gitignore"), "*.bin\n/models/en\n/other\n/a b\n").unwrap();
    sandbox.run(["push", "models/en"]).ok();
    pin(&sandbox, &[("a b", "1"), ("models/en", "1"), ("other", "1")]);
    let unpin = sandbox.run(["unpin", "./models/en/", "a b", "models/en"]).ok();
    assert_eq!(unpin.text(), "unpinned models/en\nunpinned a b\n");
    assert!(unpin.stderr.contains("removed `/models/en` from .gitignore"), "{unpin}");
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[("other", "1")]));
    assert_eq!(read(&sandbox, ".gitignore"), "*.bin\n/other\n");
    assert_eq!(read(&sandbox, "models/en"), "model");
    assert_eq!(sandbox.keys().len(), 1);
    let last = sandbox.run(["unpin", "other", "--json"]).ok();
    assert_eq!(last.results(), [serde_json::json!({ "path": "other", "outcome": "unpinned" })]);
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[]));
    sandbox.assert_clean();
}

pub(crate) fn without_a_pin_nothing_is_changed() {
    let sandbox = Sandbox::new();
    let unpin = sandbox.run(["unpin", "model"]).exits(3);
    assert!(unpin.stderr.starts_with("`model` is not pinned\n"), "{unpin}");
    assert!(!unpin.stderr.contains("hint"), "{unpin}");
    assert!(!sandbox.path("larder.lock").exists() && !sandbox.path(".larder").exists());

    pin(&sandbox, &[("models/de", "1"), ("models/en", "1"), ("other", "1")]);
    fs::write(sandbox.path(".gitignore"), "/models/en\n").unwrap();
    let before = read(&sandbox, "larder.lock");
    for (path, hint) in [
        ("odels/en", "hint: larder.lock has `models/en`"),
        ("models", "hint: larder.lock has `models/de`, `models/en`\n"),
    ] {
        let unpin = sandbox.run(["unpin", path]).exits(3);
        assert!(unpin.stderr.contains(hint), "{unpin}");
    }
    let unpin = sandbox.run(["unpin", "models/en", "x", "y", "--json"]).exits(3);
    assert_eq!(unpin.json()["error"]["kind"], "not_found");
    assert_eq!(unpin.json()["error"]["message"], "`x`, `y` are not pinned");
    assert_eq!(read(&sandbox, "larder.lock"), before);
    assert_eq!(read(&sandbox, ".gitignore"), "/models/en\n");
    sandbox.run(["unpin", "../outside"]).fails(2, &["outside the project"]);
}

pub(crate) fn paths_are_relative_to_the_working_directory() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("models")).unwrap();
    pin(&sandbox, &[("en", "1"), ("models/en", "1")]);
    sandbox.larder(["unpin", "en"]).in_dir(sandbox.path("models")).run().ok();
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[("en", "1")]));
    sandbox.larder(["unpin", "../en"]).in_dir(sandbox.path("models")).run().ok();
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[]));
}

pub(crate) fn a_lock_that_cannot_be_read_is_named_with_its_line() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("larder.lock"), "version = 2\n").unwrap();
    sandbox.run(["unpin", "a"]).fails(2, &["larder.lock:1: the version of the format is 2", "newer larder"]);
    fs::remove_file(sandbox.path("larder.lock")).unwrap();
    std::os::unix::fs::symlink("larder.toml", sandbox.path("larder.lock")).unwrap();
    sandbox.run(["unpin", "a"]).fails(1, &["failed to read", "it is a symlink"]);
}

pub(crate) fn a_conflict_is_named() {
    let sandbox = Sandbox::new();
    let tree = WorkTree::new(&sandbox);
    let pin = |content| tree.write("larder.lock", &lock_text(&[("a", content), ("b", "1")]));
    pin("1");
    tree.commit("base");
    tree.git(&["checkout", "-q", "-b", "other"]);
    pin("2");
    tree.commit("theirs");
    tree.git(&["checkout", "-q", "main"]);
    pin("3");
    tree.commit("ours");
    assert!(!tree.try_git(&["merge", "-q", "other"]).0);
    let before = read(&sandbox, "larder.lock");
    tree.larder(&["unpin", "b"]).run().fails(2, &["conflicts of a merge in `a`: `larder pin PATH`"]);
    assert_eq!(read(&sandbox, "larder.lock"), before);
}

pub(crate) fn a_project_of_another_user_is_not_changed() {
    let sandbox = Sandbox::new();
    pin(&sandbox, &[("a", "1")]);
    let binary = sandbox.public_binary();
    let unpin = sandbox.larder(["unpin", "a"]).with_binary(binary).as_user(65534, &[65534]).run();
    unpin.fails(1, &["failed to change files of the project", "cannot be written", "ermission denied"]);
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[("a", "1")]));
}

pub(crate) fn a_read_only_project_is_not_changed() {
    let mut sandbox = Sandbox::new();
    let project = sandbox.mount_tmpfs("project", 16);
    pin(&sandbox, &[("a", "1"), ("b", "1")]);
    // Whether larder has used the project before or not.
    for used in [false, true] {
        if used {
            sandbox.run(["unpin", "a"]).ok();
        }
        let remount = |how: &str| {
            let mut mount = Command::new("mount");
            assert!(mount.arg("-o").arg(format!("remount,{how}")).arg(&project).status().unwrap().success());
        };
        remount("ro");
        let unpin = sandbox.run(["unpin", "b"]);
        unpin.fails(
            1,
            &["failed to change files of the project", "cannot be written", "Read-only file system"],
        );
        sandbox.run(["unpin", "c"]).exits(3);
        remount("rw");
    }
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[("b", "1")]));
}

pub(crate) fn several_at_once_are_all_done() {
    let sandbox = Sandbox::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let pins: Vec<(&str, &str)> = names.iter().map(|name| (*name, "1")).collect();
    pin(&sandbox, &pins);
    fs::write(sandbox.path(".gitignore"), names.map(|name| format!("/{name}\n")).concat()).unwrap();
    let running = names[1..].iter().map(|name| sandbox.larder(["unpin", name]).spawn());
    for running in running.collect::<Vec<_>>() {
        running.wait().ok();
    }
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[("a", "1")]));
    assert_eq!(read(&sandbox, ".gitignore"), "/a\n");
    sandbox.assert_clean();
}

pub(crate) fn the_state_may_be_on_another_file_system() {
    let mut sandbox = Sandbox::new();
    sandbox.mount_tmpfs("project/.larder", 16);
    pin(&sandbox, &[("a", "1"), ("b", "1")]);
    // A process that died has left this.
    fs::write(sandbox.path(".larder.lock.larder-new"), "half").unwrap();
    sandbox.run(["unpin", "a"]).ok();
    assert_eq!(read(&sandbox, "larder.lock"), lock_text(&[("b", "1")]));
    sandbox.assert_clean();
}
