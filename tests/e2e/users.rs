//! A shared folder: two users of one group, and one who is not in it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::ExitCode;

use larder_tests::{Case, Larder, Need, Sandbox, Tree, run};

const TEAM: u32 = 61_000;
const ANNA: u32 = 61_001;
const BEN: u32 = 61_002;
const EVE: u32 = 61_003;

fn main() -> ExitCode {
    run(
        "users",
        &[
            Case::new("two_users_of_a_group_share_a_remote", team).needs(&[Need::Users]),
            Case::new("who_may_not_is_told_so", denied).needs(&[Need::Users]),
            Case::new("a_read_only_project_is_told_so", read_only_project).needs(&[Need::Users]),
            Case::new("who_may_only_read_pulls", reader).needs(&[Need::Users]),
        ],
    )
}

/// Gives everything below `path` to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap().path();
            if !entry.is_symlink() {
                give(&entry, user);
            }
        }
    }
}

/// A folder that belongs to the team: group-writable, setgid, closed to all others.
fn team_folder(sandbox: &Sandbox, mode: u32) {
    fs::create_dir(sandbox.remote()).unwrap();
    chown(sandbox.remote(), None, Some(TEAM)).unwrap();
    fs::set_permissions(sandbox.remote(), fs::Permissions::from_mode(mode)).unwrap();
}

/// A project of one user that uses the remote of `shared`.
fn project_of(user: u32, shared: &Sandbox) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!("[remotes]\nshared = '{}'\n", shared.remote().display()));
    for dir in [sandbox.project(), sandbox.home()] {
        give(&dir, user);
    }
    sandbox
}

fn as_user<const N: usize>(sandbox: &Sandbox, user: u32, args: [&str; N]) -> Larder {
    let groups: &[u32] = if user == EVE { &[EVE] } else { &[TEAM] };
    sandbox.larder(args).with_binary(sandbox.public_binary()).as_user(user, groups)
}

fn write_as(user: u32, tree: &Tree, at: &Path) {
    let _ = fs::remove_dir_all(at);
    tree.write(at);
    give(at, user);
}

fn team() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    let [anna, ben] = [ANNA, BEN].map(|user| project_of(user, &shared));
    write_as(ANNA, &Tree::small(1), &anna.path("model"));
    as_user(&anna, ANNA, ["push", "model", "--command-hash", "x"]).run().ok();
    as_user(&ben, BEN, ["pull", "model"]).run().ok();
    Tree::read(&ben.path("model")).assert_same(&Tree::small(1));
    // Into directories that the other made, in both directions.
    write_as(BEN, &Tree::small(2), &ben.path("model"));
    as_user(&ben, BEN, ["push", "model", "--command-hash", "x"]).run().ok();
    as_user(&anna, ANNA, ["pull", "model", "--force"]).run().ok();
    Tree::read(&anna.path("model")).assert_same(&Tree::small(2));
    // Replacing what the other pushed.
    as_user(&anna, ANNA, ["push", "model", "--command-hash", "x", "--force"]).run().ok();
    as_user(&ben, BEN, ["pull", "model", "--to", "again"]).run().ok();
    Tree::read(&ben.path("again/model")).assert_same(&Tree::small(2));
    assert_eq!(shared.keys().len(), 2);
    for key in shared.keys() {
        let object = shared.remote().join(&key);
        let meta = fs::metadata(&object).unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o777), (TEAM, 0o660), "{key}");
        for dir in object.ancestors().skip(1).take(2) {
            let meta = fs::metadata(dir).unwrap();
            assert_eq!((meta.gid(), meta.mode() & 0o7777), (TEAM, 0o2770), "{}", dir.display());
        }
    }
    anna.assert_clean();
    ben.assert_clean();
    shared.assert_clean();
}

fn denied() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    let eve = project_of(EVE, &shared);
    write_as(EVE, &Tree::small(1), &eve.path("model"));
    let remote = shared.remote().display().to_string();
    for args in [["push", "model"], ["pull", "other"], ["find", "model"]] {
        as_user(&eve, EVE, args).run().fails(5, &[&remote, "denied"]);
    }
    as_user(&eve, EVE, ["ls"]).run().fails(5, &[&remote, "denied"]);
    shared.assert_clean();
    eve.assert_clean();
}

fn read_only_project() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    let anna = project_of(ANNA, &shared);
    write_as(ANNA, &Tree::small(1), &anna.path("models/en"));
    as_user(&anna, ANNA, ["push", "models/en"]).run().ok();
    fs::remove_dir_all(anna.path("models")).unwrap();
    fs::create_dir(anna.path("models")).unwrap();
    // It belongs to root, and only root may write.
    fs::set_permissions(anna.path("models"), fs::Permissions::from_mode(0o755)).unwrap();
    as_user(&anna, ANNA, ["pull", "models/en"]).run().fails(1, &["models"]);
    assert_eq!(fs::read_dir(anna.path("models")).unwrap().count(), 0);
    anna.assert_clean();
}

fn reader() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2775);
    let [anna, eve] = [ANNA, EVE].map(|user| project_of(user, &shared));
    write_as(ANNA, &Tree::small(1), &anna.path("model"));
    as_user(&anna, ANNA, ["push", "model"]).run().ok();
    as_user(&eve, EVE, ["pull", "model"]).run().ok();
    Tree::read(&eve.path("model")).assert_same(&Tree::small(1));
    write_as(EVE, &Tree::small(2), &eve.path("model"));
    as_user(&eve, EVE, ["push", "model"]).run().fails(5, &["denied"]);
    assert_eq!(shared.keys().len(), 1);
}
