//! Mount points and links at, above and below the destination.

use std::fs;
use std::os::unix::fs::symlink;

use larder_tests::{Sandbox, Tree};

use crate::pushed;

pub(crate) fn mount_within() {
    let mut sandbox = pushed(&Tree::small(1));
    let root = sandbox.root().to_owned();
    fs::create_dir(root.join("precious")).unwrap();
    fs::write(root.join("precious/data"), "precious").unwrap();
    Tree::small(2).write(&sandbox.path("model"));
    fs::create_dir_all(sandbox.path("model/deep/mnt")).unwrap();
    fs::write(sandbox.path("model/deep/file"), "mine").unwrap();
    let refused = |sandbox: &Sandbox, mount: &str| {
        for command in [
            &["pull", "model", "--force"][..],
            &["pull", "model", "--force", "--dry-run"],
            &["pull", "model", "other", "--force"],
        ] {
            if command.contains(&"other") && sandbox.run(["find", "other"]).code != Some(0) {
                fs::write(sandbox.path("other"), "other").unwrap();
                sandbox.run(["push", "other", "--command-hash", "x"]).ok();
            }
            let run = sandbox.larder([]).args(command).run();
            run.fails(
                1,
                &["failed to replace", &sandbox.path(mount).display().to_string(), "is a mount point"],
            );
        }
        assert_eq!(fs::read(root.join("precious/data")).unwrap(), b"precious");
        sandbox.assert_clean();
    };

    // A bind mount has the same device.
    sandbox.bind("precious", "project/model/deep/mnt");
    refused(&sandbox, "model/deep/mnt");
    assert_eq!(fs::read(sandbox.path("model/deep/mnt/data")).unwrap(), b"precious");
    sandbox.unmount();
    sandbox.bind("precious/data", "project/model/deep/file");
    refused(&sandbox, "model/deep/file");
    sandbox.unmount();
    sandbox.mount_tmpfs("project/model/deep/mnt", 1);
    refused(&sandbox, "model/deep/mnt");
    sandbox.unmount();
    sandbox.bind("precious", "project/model");
    refused(&sandbox, "model");
    sandbox.unmount();

    sandbox.run(["pull", "model", "--force"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&Tree::small(1));
    sandbox.assert_clean();
}

pub(crate) fn mount_in_leftovers() {
    let mut sandbox = pushed(&Tree::small(1));
    fs::create_dir(sandbox.root().join("precious")).unwrap();
    fs::write(sandbox.root().join("precious/data"), "precious").unwrap();
    let staging = ".larder/tmp/1-2-3.0";
    fs::create_dir_all(sandbox.path(staging).join("old/mnt")).unwrap();
    sandbox.bind("precious", &format!("project/{staging}/old/mnt"));
    let pull = sandbox.run(["pull", "model"]).ok();
    assert_eq!(pull.stderr.matches("old/mnt is a mount point").count(), 1, "{pull}");
    assert_eq!(fs::read(sandbox.path(staging).join("old/mnt/data")).unwrap(), b"precious");
    sandbox.unmount();
    sandbox.run(["ls"]).ok();
    sandbox.assert_clean();
    assert_eq!(fs::read(sandbox.root().join("precious/data")).unwrap(), b"precious");
}

pub(crate) fn obstructed() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("p")).unwrap();
    fs::write(sandbox.path("p/q"), "an output").unwrap();
    sandbox.run(["push", "p/q", "--command-hash", "x"]).ok();
    fs::remove_dir_all(sandbox.path("p")).unwrap();
    // larder checks the destination before the first request. This remote does not exist.
    for (remote, args) in [("shared", &[][..]), ("shared", &["--force"]), ("./absent", &["--dry-run"])] {
        let pull = sandbox.larder(["pull", "p/q", "--command-hash", "x", "-r", remote]).args(args);
        let says = |what: &str| {
            let parts = ["p/q", "project/p is in the way", "not a directory", "move it away"];
            let run = pull.run().fails(1, &parts);
            assert_eq!(run.stderr.lines().count(), 1, "{what}: {run}");
        };
        fs::write(sandbox.path("p"), "mine").unwrap();
        says("a file");
        assert_eq!(fs::read(sandbox.path("p")).unwrap(), b"mine");
        fs::remove_file(sandbox.path("p")).unwrap();
        symlink("nowhere", sandbox.path("p")).unwrap();
        says("a link to nothing");
        fs::remove_file(sandbox.path("p")).unwrap();
    }
    fs::write(sandbox.path("elsewhere"), "mine").unwrap();
    sandbox.run(["pull", "p/q", "--to", "elsewhere"]).fails(1, &["elsewhere is in the way", "move it away"]);
    sandbox.run(["pull", "p/q", "--command-hash", "x"]).ok();
    sandbox.assert_clean();
}

pub(crate) fn linked_parent() {
    let sandbox = Sandbox::new();
    let disk = sandbox.root().join("big-disk");
    fs::create_dir(&disk).unwrap();
    symlink(&disk, sandbox.path("models")).unwrap();
    Tree::small(2).write(&sandbox.path("models/en"));
    sandbox.run(["push", "models/en"]).ok();
    fs::remove_dir_all(disk.join("en")).unwrap();
    for force in [&[][..], &["--force"]] {
        sandbox.larder(["pull", "models/en"]).args(force).run().ok();
        Tree::read(&disk.join("en")).assert_same(&Tree::small(2));
        assert!(sandbox.path("models").is_symlink(), "the link stays");
    }
    sandbox.assert_clean();
}
