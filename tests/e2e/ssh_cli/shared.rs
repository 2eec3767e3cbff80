//! A team's directory on the server.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use larder_tests::Tree;

use crate::errors::{NOBODY, assert_fails_fast, furnished};
use crate::store::Store;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Creates the directory of the remote.
fn team_directory(store: &Store, group: Option<u32>, mode: u32) {
    fs::create_dir(&store.directory).unwrap();
    chown(&store.directory, None, group).unwrap();
    fs::set_permissions(&store.directory, fs::Permissions::from_mode(mode)).unwrap();
}

/// Asserts the mode of all directories, the mode of all objects, and the group of both.
#[track_caller]
fn assert_shared(store: &Store, of_directories: u32, of_objects: u32) {
    let group = fs::metadata(&store.directory).unwrap().gid();
    assert!(!store.keys().is_empty());
    for key in store.keys() {
        let object = store.object(&key);
        assert_eq!(mode(&object), of_objects, "{key}");
        let above = object.ancestors().skip(1).take_while(|dir| *dir != store.directory);
        let own = [".larder", ".larder/1", ".larder/1/tmp"].map(|dir| store.directory.join(dir));
        for dir in above.map(Path::to_owned).chain(own) {
            assert_eq!(mode(&dir), of_directories, "{}", dir.display());
            assert_eq!(fs::metadata(&dir).unwrap().gid(), group, "{}", dir.display());
        }
        assert_eq!(fs::metadata(&object).unwrap().gid(), group, "{key}");
    }
}

pub(crate) fn what_is_made_has_the_bits_of_the_remote() {
    for (of_directories, of_objects) in [(0o2770, 0o660), (0o2775, 0o664), (0o700, 0o600), (0o1777, 0o666)] {
        let store = furnished();
        team_directory(&store, None, of_directories);
        store.run(["push", "model", "--command-hash", "x"]).ok();
        assert_shared(&store, of_directories, of_objects);
        // A replaced object keeps its permissions.
        store.run(["push", "model", "--command-hash", "x", "--force"]).ok();
        assert_shared(&store, of_directories, of_objects);
        store.assert_nothing_open();
    }
}

/// The group of the other account.
fn group_of(user: &str) -> u32 {
    let id = Command::new("id").args(["-g", user]).output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().parse().unwrap()
}

pub(crate) fn two_accounts_of_a_group_share_a_remote() {
    let store = furnished();
    team_directory(&store, Some(group_of(NOBODY)), 0o2770);
    let remotes = [store.remote_url(), store.for_user(NOBODY)];
    // Each user pushes into directories that the other created.
    for (seed, pusher, puller) in [(1, 0, 1), (2, 1, 0), (3, 0, 1)] {
        let _ = fs::remove_dir_all(store.path("model"));
        Tree::small(seed).write(&store.path("model"));
        let push = ["push", "model", "--command-hash", "x", "-r", &remotes[pusher], "--json"];
        assert_eq!(store.run(push).ok().outcome(), "uploaded");
        let content = store.run(push).ok().field("content_hash");
        fs::remove_dir_all(store.path("model")).unwrap();
        let pull =
            ["pull", "model", "--command-hash", "x", "--content-hash", &content, "-r", &remotes[puller]];
        store.run(pull).ok();
        Tree::read(&store.path("model")).assert_same(&Tree::small(seed));
        assert_shared(&store, 0o2770, 0o660);
        // Each user replaces an object that the other pushed.
        let replace = ["push", "model", "--command-hash", "x", "--force", "-r", &remotes[puller]];
        store.run(replace).ok();
        assert_shared(&store, 0o2770, 0o660);
    }
    assert_eq!(store.keys().len(), 3);
    store.assert_nothing_open();
}

pub(crate) fn who_may_only_read_pulls() {
    let store = furnished();
    team_directory(&store, None, 0o2775);
    store.run(["push", "model"]).ok();
    let remote = store.for_user(NOBODY);
    fs::remove_dir_all(store.path("model")).unwrap();
    store.run(["pull", "model", "-r", &remote]).ok();
    Tree::read(&store.path("model")).assert_same(&Tree::small(1));
    Tree::small(2).write(&store.path("other"));
    assert_fails_fast(&store.larder(["push", "other", "-r", &remote]), 5, &[&remote, "denied"]);
    assert_eq!(store.keys().len(), 1);
    store.assert_nothing_open();
}
