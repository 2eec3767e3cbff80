//! Disks and outputs without space.

use std::fs;

use larder_tests::{Sandbox, Tree, noise};

pub(crate) fn full_remote() {
    let mut sandbox = Sandbox::new();
    let remote = sandbox.mount_tmpfs("remote", 4);
    Tree::small(1).write(&sandbox.path("small"));
    Tree::new().with("large", noise(1, 12 << 20)).write(&sandbox.path("model"));
    Tree::new().with("larger", noise(1, 80 << 20)).write(&sandbox.path("streamed"));
    for path in ["model", "streamed"] {
        sandbox.run(["push", path]).fails(1, &[remote.to_str().unwrap(), "space"]);
        assert_eq!(sandbox.keys(), Vec::<String>::new());
        sandbox.assert_clean();
    }
    // The space of the failed push is free again.
    sandbox.run(["push", "small"]).ok();
}

pub(crate) fn full_project() {
    let mut sandbox = Sandbox::new();
    for path in ["one", "two"] {
        Tree::new().with("large", noise(1, 12 << 20)).write(&sandbox.path(path));
    }
    sandbox.run(["push", "one", "two"]).ok();
    let project = sandbox.mount_tmpfs("project", 16);
    sandbox.configure_remote();
    sandbox.run(["pull", "one", "two"]).fails(1, &["space"]);
    let left: Vec<_> = fs::read_dir(&project).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "larder.toml" || name == ".larder"), "left: {left:?}");
    sandbox.assert_clean();
    sandbox.run(["pull", "one"]).ok();
    // The disk has space for one tree, but not for the old and the new one. The old one stays.
    fs::write(project.join("one/large"), noise(2, 12 << 20)).unwrap();
    let old = Tree::read(&project.join("one"));
    sandbox.run(["pull", "one", "--force"]).fails(1, &["space"]);
    Tree::read(&project.join("one")).assert_same(&old);
    sandbox.assert_clean();
}

pub(crate) fn full_stdout() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("file"), "contents").unwrap();
    let to_full = ["sh", "-c", "exec \"$0\" \"$@\" > /dev/full"];
    sandbox.larder(["hash", "content", "file"]).through(to_full).run().fails(1, &[]);
    sandbox.larder(["hash", "content", "file", "--json"]).through(to_full).run().exits(1);
}
