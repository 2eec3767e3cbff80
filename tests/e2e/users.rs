//! A shared directory: two users of one group, and one outside of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, ExitCode};

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
            Case::new("a_dry_run_fails_where_the_push_would", dry_run).needs(&[Need::Users, Need::Tmpfs]),
            Case::new("force_replaces_a_write_protected_tree", protected).needs(&[Need::Users]),
            Case::new("a_write_protected_tree_is_put_back_as_it_was", protected_and_put_back)
                .needs(&[Need::Users, Need::Strace]),
            Case::new("what_a_killed_pull_leaves_of_a_protected_tree_is_swept", protected_and_killed)
                .needs(&[Need::Users, Need::Strace]),
            Case::new("a_write_protected_tree_without_an_exchange", protected_without_exchange).needs(&[
                Need::Users,
                Need::Overlay,
                Need::Strace,
            ]),
        ],
    )
}

/// Changes the owner of everything below `path`.
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

/// Creates a team's directory: group-writable, setgid, closed to other users.
fn team_folder(sandbox: &Sandbox, mode: u32) {
    fs::create_dir(sandbox.remote()).unwrap();
    chown(sandbox.remote(), None, Some(TEAM)).unwrap();
    fs::set_permissions(sandbox.remote(), fs::Permissions::from_mode(mode)).unwrap();
}

/// Creates a project of one user with the remote of `shared`.
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
    // Each user pushes into directories that the other created.
    write_as(BEN, &Tree::small(2), &ben.path("model"));
    as_user(&ben, BEN, ["push", "model", "--command-hash", "x"]).run().ok();
    as_user(&anna, ANNA, ["pull", "model", "--force"]).run().ok();
    Tree::read(&anna.path("model")).assert_same(&Tree::small(2));
    // Each user replaces an object that the other pushed.
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
        let said = as_user(&eve, EVE, args).run().fails(5, &[&remote, "denied"]).stderr;
        assert!(!said.contains("warning"), "nothing was interrupted: {said}");
        assert_eq!(said.to_lowercase().matches("permission denied").count(), 1, "{said}");
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
    // The directory belongs to root, and only root may write.
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

fn dry_run() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2775);
    let [anna, eve] = [ANNA, EVE].map(|user| project_of(user, &shared));
    for (user, sandbox) in [(ANNA, &anna), (EVE, &eve)] {
        write_as(user, &Tree::small(1), &sandbox.path("model"));
    }
    let both_fail = |sandbox: &Sandbox, user: u32, remote: &str, code: i32| {
        let push = as_user(sandbox, user, ["push", "model", "-r", remote]);
        let dry_run = push.clone().arg("--dry-run").run().fails(code, &["denied"]);
        assert_eq!(dry_run.stderr, push.run().exits(code).stderr);
    };
    // A remote of other users, and one that the push would create in their directory.
    both_fail(&eve, EVE, "shared", 5);
    both_fail(&eve, EVE, shared.root().join("new").to_str().unwrap(), 5);
    // A directory of an output that another user created with a private umask.
    fs::create_dir(shared.remote().join("model")).unwrap();
    both_fail(&anna, ANNA, "shared", 5);
    fs::remove_dir(shared.remote().join("model")).unwrap();
    as_user(&anna, ANNA, ["push", "model", "--dry-run"]).run().ok();
    assert!(shared.keys().is_empty());
    as_user(&anna, ANNA, ["push", "model"]).run().ok();
    // A push of a present object still writes a record.
    as_user(&eve, EVE, ["push", "model", "--dry-run"]).run().fails(5, &["denied"]);
    as_user(&eve, EVE, ["push", "model"]).run().fails(5, &["run record", "denied"]);

    // The embedded remote of a read-only project.
    anna.configure("");
    fs::set_permissions(anna.project(), fs::Permissions::from_mode(0o555)).unwrap();
    let push = as_user(&anna, ANNA, ["push", "model"]);
    let dry_run = push.clone().arg("--dry-run").run().fails(1, &[".larder", "denied"]);
    assert_eq!(dry_run.stderr, push.run().exits(1).stderr);

    // Not even root can write to a read-only file system.
    let mut sandbox = Sandbox::new();
    let remote = sandbox.mount_tmpfs("remote", 1);
    fs::write(sandbox.path("model"), "model").unwrap();
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&remote).status();
    assert!(remount.unwrap().success());
    let dry_run = sandbox.run(["push", "model", "--dry-run"]).fails(5, &["Read-only"]);
    assert_eq!(dry_run.stderr, sandbox.run(["push", "model"]).exits(5).stderr);
}

/// Removes the owner's write permission from everything in a tree, and every permission from one directory.
fn protect(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() && !entry.is_symlink() {
            protect(&entry);
        }
    }
    let mode = if path.ends_with("vocab/empty") { 0 } else { 0o555 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

/// Creates Anna's project. Its outputs are protected, and a newer version of each was pushed.
fn protected_outputs(anna: &Sandbox, outputs: &[&str]) {
    for output in outputs {
        write_as(ANNA, &Tree::small(2), &anna.path(output));
    }
    let push = as_user(anna, ANNA, ["push", "--command-hash", "x"]).args(outputs);
    push.run().ok();
    for output in outputs {
        write_as(ANNA, &Tree::small(1), &anna.path(output));
        protect(&anna.path(output));
    }
}

fn protected() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    let anna = project_of(ANNA, &shared);
    protected_outputs(&anna, &["model"]);
    let pull = as_user(&anna, ANNA, ["pull", "model", "--force", "--json"]).run().ok();
    assert_eq!(pull.outcome(), "restored");
    assert_eq!(pull.stderr, "");
    Tree::read(&anna.path("model")).assert_same(&Tree::small(2));
    assert_eq!(mode(&anna.path("model")), 0o700, "the new tree is not protected");
    anna.assert_clean();
    // Another user's output stays, and nothing is lost.
    let theirs = anna.path("model");
    fs::remove_dir_all(&theirs).unwrap();
    Tree::small(3).write(&theirs);
    as_user(&anna, ANNA, ["pull", "model", "--force"])
        .run()
        .fails(1, &["model: permission denied", "check the permissions"]);
    Tree::read(&theirs).assert_same(&Tree::small(3));
    anna.assert_clean();
}

fn protected_and_put_back() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    let anna = project_of(ANNA, &shared);
    protected_outputs(&anna, &["a", "b"]);
    // The first rename of each output fails. The third rename is the first one of `b`.
    as_user(&anna, ANNA, ["pull", "a", "b", "--force"])
        .inject("renameat2:error=EIO:when=3")
        .run()
        .fails(1, &["failed to put into place"]);
    for output in ["a", "b"] {
        Tree::read(&anna.path(output)).assert_same(&Tree::small(1));
        assert_eq!(mode(&anna.path(output)), 0o555, "{output}");
    }
    anna.assert_clean();
}

fn protected_and_killed() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    let anna = project_of(ANNA, &shared);
    protected_outputs(&anna, &["model"]);
    // The first removal of a pull is that of the old tree.
    let killed =
        as_user(&anna, ANNA, ["pull", "model", "--force"]).inject("unlinkat:signal=SIGKILL:when=1").run();
    assert_eq!(killed.signal, Some(9), "{killed}");
    assert!(!anna.leftovers().is_empty(), "the kill was too early or too late");
    let next = as_user(&anna, ANNA, ["ls"]).run().ok();
    assert_eq!(next.stderr, "");
    Tree::read(&anna.path("model")).assert_same(&Tree::small(2));
    anna.assert_clean();
}

fn protected_without_exchange() {
    let shared = Sandbox::new();
    team_folder(&shared, 0o2770);
    // The old trees are in the lower layer, so they are moved entry by entry.
    let anna = Sandbox::on_overlay(|project| {
        for output in ["a", "b"] {
            Tree::small(1).write(&project.join(output));
            protect(&project.join(output));
        }
    });
    anna.configure(&format!("[remotes]\nshared = '{}'\n", shared.remote().display()));
    for dir in [anna.project(), anna.home()] {
        give(&dir, ANNA);
    }
    let ben = project_of(BEN, &shared);
    for output in ["a", "b"] {
        write_as(BEN, &Tree::small(2), &ben.path(output));
    }
    as_user(&ben, BEN, ["push", "a", "b", "--command-hash", "x"]).run().ok();
    let pull = as_user(&anna, ANNA, ["pull", "a", "b", "--force"]);
    let mut failures = 0;
    // The run gets this far only if the tree can be moved.
    for nth in 1..200 {
        let run = pull.clone().inject(&format!("renameat2:error=EIO:when={nth}")).run();
        if run.code == Some(0) {
            break;
        }
        let _ = run.fails(1, &["failed to put into place"]);
        for output in ["a", "b"] {
            Tree::read(&anna.path(output)).assert_same(&Tree::small(1));
            let modes = [output.to_owned(), format!("{output}/vocab"), format!("{output}/vocab/empty")];
            assert_eq!(modes.map(|path| mode(&anna.path(path))), [0o555, 0o555, 0], "{output} after {nth}");
        }
        anna.assert_clean();
        failures += 1;
    }
    assert!(failures > 10, "only {failures} renames failed");
    for output in ["a", "b"] {
        Tree::read(&anna.path(output)).assert_same(&Tree::small(2));
    }
    anna.assert_clean();
}
