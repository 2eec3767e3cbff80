//! Several users of one remote.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use larder_testkit::ignore;
use libtest_mimic::Failed;

use super::child::{TEAM, USER, child, is_root, leftovers, run};
use super::outcome::{DONE, Outcome};

/// Creates a directory that every user can reach, and the team's remote in it.
fn team_remote() -> Result<(tempfile::TempDir, std::path::PathBuf), Failed> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let root = directory.path().join("remote");
    fs::create_dir(&root)?;
    chown(&root, None, Some(TEAM))?;
    fs::set_permissions(&root, Permissions::from_mode(0o2770))?;
    Ok((directory, root))
}

pub(crate) fn two_users_of_a_group_share_a_remote() -> Outcome {
    if !is_root() {
        return ignore("only root can be two users");
    }
    let (_directory, root) = team_remote()?;
    let as_user = |user: u32, task: &str, key: &str| -> Result<String, Failed> {
        let mut command = child(task, &root, key)?;
        command.env(USER, user.to_string());
        run(command)
    };
    assert_eq!(as_user(4001, "create", "a/c/first")?, "created 10");
    assert_eq!(as_user(4002, "read", "a/c/first")?, "read 10");
    // The second user writes into the first user's directories, and replaces its object.
    assert_eq!(as_user(4002, "create", "a/c/second")?, "created 10");
    assert_eq!(as_user(4001, "read", "a/c/second")?, "read 10");
    assert_eq!(as_user(4002, "overwrite", "a/c/first")?, "created 10");
    assert_eq!(as_user(4001, "read", "a/c/first")?, "read 10");
    for (path, mode) in [(".larder/1/tmp", 0o2770), ("a", 0o2770), ("a/c", 0o2770), ("a/c/first", 0o660)] {
        let metadata = fs::metadata(root.join(path))?;
        assert_eq!((metadata.mode() & 0o7777, metadata.gid()), (mode, TEAM), "{path}");
    }
    assert_eq!(as_user(4001, "delete", "a/c/second")?, "deleted");
    assert_eq!(leftovers(&root)?, 0);
    DONE
}

pub(crate) fn users_may_begin_at_the_same_moment() -> Outcome {
    if !is_root() {
        return ignore("only root can be two users");
    }
    // The first upload creates the directories. For a moment they have no permissions for the team.
    for _ in 0..10 {
        let (_directory, root) = team_remote()?;
        let barrier = Arc::new(Barrier::new(4));
        let users: Vec<_> = (0..4_u32)
            .map(|user| {
                let mut command = child("create", &root, &format!("a/c/{user}"))?;
                command.env(USER, (4001 + user).to_string());
                let barrier = Arc::clone(&barrier);
                Ok(thread::spawn(move || {
                    barrier.wait();
                    run(command)
                }))
            })
            .collect::<Result<_, Failed>>()?;
        for user in users {
            assert_eq!(user.join().map_err(|_| "a thread panicked")??, "created 10");
        }
    }
    DONE
}

pub(crate) fn a_denial_is_reported_and_is_not_a_miss() -> Outcome {
    if !is_root() {
        return ignore("only root can be another user");
    }
    let (_directory, root) = team_remote()?;
    assert_eq!(run(child("create", &root, "a/c/h")?)?, "created 10");
    let as_stranger = |task: &str, key: &str| -> Result<String, Failed> {
        let mut command = child(task, &root, key)?;
        command.env(USER, "4001");
        run(command)
    };
    let denied = |said: &str, place: &Path| {
        assert!(said.starts_with("PermissionDenied: failed to "), "{said}");
        assert!(said.contains(place.to_str().unwrap_or_default()), "{said}");
        assert!(said.contains("check who may read and write there"), "{said}");
    };
    fs::set_permissions(&root, Permissions::from_mode(0o700))?;
    for task in ["create", "read", "stat", "delete"] {
        denied(&as_stranger(task, "a/c/h")?, &root);
    }
    fs::set_permissions(&root, Permissions::from_mode(0o755))?;
    fs::set_permissions(root.join(".larder/1/tmp"), Permissions::from_mode(0o755))?;
    denied(&as_stranger("create", "a/c/new")?, &root.join("a/c/new"));
    fs::set_permissions(root.join("a/c/h"), Permissions::from_mode(0o600))?;
    fs::set_permissions(root.join("a"), Permissions::from_mode(0o755))?;
    fs::set_permissions(root.join("a/c"), Permissions::from_mode(0o755))?;
    denied(&as_stranger("read", "a/c/h")?, &root.join("a/c/h"));
    denied(&as_stranger("delete", "a/c/h")?, &root.join("a/c/h"));
    fs::set_permissions(root.join("a/c"), Permissions::from_mode(0o700))?;
    denied(&as_stranger("stat", "a/c/h")?, &root.join("a/c/h"));
    assert!(root.join("a/c/h").exists());
    DONE
}
