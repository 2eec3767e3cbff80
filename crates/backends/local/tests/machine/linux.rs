//! Each test runs in a child, which is this binary with a task in its environment.

use std::env;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::{Arc, Barrier};
use std::thread;

use larder_backend::{Backend, BackendExt, DeleteOptions, Error, GetOptions, Key, PutMode, PutOptions};
use larder_backend_local::{LocalBackend, LocalConfig};
use larder_testkit::{Required, ignore, payload};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

const TASK: &str = "LARDER_LOCAL_TASK";
const ROOT: &str = "LARDER_LOCAL_ROOT";
const KEY: &str = "LARDER_LOCAL_KEY";
const SIZE: &str = "LARDER_LOCAL_SIZE";
const USER: &str = "LARDER_LOCAL_USER";
const TMPFS: &str = "LARDER_LOCAL_TMPFS";

/// The group of the team, which is neither user's first.
const TEAM: u32 = 4242;

type Outcome = Result<Completion, Failed>;

const DONE: Outcome = Ok(Completion::Completed);

pub(super) fn main() -> ExitCode {
    if let Ok(task) = env::var(TASK) {
        let result = perform(&task);
        let line = result.unwrap_or_else(|error| format!("broken: {}", error.message().unwrap_or_default()));
        return if writeln!(io::stdout(), "{line}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let trials = vec![
        Trial::ignorable_test("two_users_of_a_group_share_a_remote", two_users_of_a_group_share_a_remote),
        Trial::ignorable_test("users_may_begin_at_the_same_moment", users_may_begin_at_the_same_moment),
        Trial::ignorable_test("a_denial_is_said_and_is_no_miss", a_denial_is_said_and_is_no_miss),
        Trial::ignorable_test(
            "a_full_disk_is_said_and_leaves_nothing",
            a_full_disk_is_said_and_leaves_nothing,
        ),
        Trial::ignorable_test(
            "without_the_exclusive_rename_links_do_it",
            without_the_exclusive_rename_links_do_it,
        ),
        Trial::ignorable_test("without_links_too_it_is_said", without_links_too_it_is_said),
        Trial::ignorable_test("a_failing_disk_publishes_nothing", a_failing_disk_publishes_nothing),
        Trial::ignorable_test(
            "a_kill_at_any_step_leaves_all_or_nothing",
            a_kill_at_any_step_leaves_all_or_nothing,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a child does, and says.
fn perform(task: &str) -> Result<String, Failed> {
    let root = env::var(ROOT)?;
    if let Ok(size) = env::var(TMPFS) {
        // A mount that nobody else sees, and that ends with this process.
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some("none"), root.as_str(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
    }
    if let Ok(user) = env::var(USER) {
        let user = user.parse()?;
        setgroups(&[Gid::from_raw(TEAM)])?;
        setgid(Gid::from_raw(user))?;
        setuid(Uid::from_raw(user))?;
    }
    // The strictest that users have: nothing of what is shared may depend on it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let key = Key::parse(env::var(KEY)?)?;
    let size = env::var(SIZE).map_or(Ok(10), |size| size.parse())?;
    // One blocking thread: strace counts the calls of each thread by itself.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).build()?;
    runtime.block_on(async {
        let backend = LocalBackend::open(LocalConfig::new(&root))?;
        let mut said = match task {
            "create" => put(&backend, PutMode::CreateOnly, &key, size).await,
            "overwrite" => put(&backend, PutMode::Overwrite, &key, size).await,
            "read" => {
                let read = backend.get_bytes(&key, GetOptions::default(), usize::MAX).await;
                read.map(|bytes| format!("read {}", bytes.len()))
            }
            "stat" => backend.stat(&key).await.map(|meta| format!("seen {}", meta.size)),
            "delete" => backend.delete(&key, DeleteOptions::default()).await.map(|()| "deleted".to_owned()),
            other => return Err(format!("there is no task {other}").into()),
        }
        .unwrap_or_else(|error| format!("{:?}: {error}", error.kind()));
        if !backend.capabilities().atomic_create {
            said.push_str(", not atomic");
        }
        if env::var_os(TMPFS).is_some() {
            said.push_str(if leftovers(Path::new(&root))? == 0 {
                ", nothing left"
            } else {
                ", something left"
            });
            said.push_str(if fs::exists(format!("{root}/{key}"))? { ", visible" } else { ", invisible" });
        }
        Ok(said)
    })
}

async fn put(backend: &LocalBackend, mode: PutMode, key: &Key, size: usize) -> Result<String, Error> {
    let mut upload = backend.begin_put(key, PutOptions::new(mode)).await?;
    if let Err(error) = upload.write(payload(1, size)).await {
        upload.abort().await?;
        return Err(error);
    }
    upload.commit().await.map(|meta| format!("created {}", meta.size))
}

/// The command of a child.
fn child(task: &str, root: &Path, key: &str) -> Result<Command, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.env(TASK, task).env(ROOT, root).env(KEY, key);
    Ok(command)
}

/// The same, with calls of the kernel that fail or kill.
fn under_strace(injections: &[&str], mut command: Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    strace.args(injections.iter().flat_map(|injection| ["-e", injection]));
    strace.arg(command.get_program());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    command = strace;
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn run(mut command: Command) -> Result<String, Failed> {
    let output = command.output()?;
    let said = said(&output);
    if said.is_empty() || said.starts_with("broken") {
        let trouble = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the child ended with {}: {said} {trouble}", output.status).into());
    }
    Ok(said)
}

fn leftovers(root: &Path) -> Result<usize, Failed> {
    match fs::read_dir(root.join(".larder/1/tmp")) {
        Ok(entries) => Ok(entries.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory that everybody can reach, and the remote in it, which is the team's.
fn team_remote() -> Result<(tempfile::TempDir, std::path::PathBuf), Failed> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let root = directory.path().join("remote");
    fs::create_dir(&root)?;
    chown(&root, None, Some(TEAM))?;
    fs::set_permissions(&root, Permissions::from_mode(0o2770))?;
    Ok((directory, root))
}

fn two_users_of_a_group_share_a_remote() -> Outcome {
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
    // Into the directories that the other made, and onto the other's object.
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

fn users_may_begin_at_the_same_moment() -> Outcome {
    if !is_root() {
        return ignore("only root can be two users");
    }
    // The first upload of all makes the directories, which for a moment have no bits for the team.
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

fn a_denial_is_said_and_is_no_miss() -> Outcome {
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

fn a_full_disk_is_said_and_leaves_nothing() -> Outcome {
    if !is_root() {
        return ignore("only root can mount a small disk");
    }
    let directory = tempfile::tempdir()?;
    // What the buffers hold comes to the disk with the commit, what is more does before.
    for size in [900_000, 10_000_000] {
        let mut command = child("create", directory.path(), "a/c/h")?;
        command.env(TMPFS, "size=512k").env(SIZE, size.to_string());
        let output = command.output()?;
        let said = said(&output);
        if said.starts_with("broken: EPERM") {
            return ignore("this root may not mount anything");
        }
        assert!(said.starts_with("NoSpace: failed to "), "{said}");
        assert!(said.contains("/a/c/h: no space left (free some space"), "{said}");
        assert!(said.ends_with(", nothing left, invisible"), "{said}");
    }
    DONE
}

fn strace_works() -> Result<bool, Failed> {
    if Required::program("strace") == Required::Missing {
        return Ok(false);
    }
    // Containers often forbid it.
    Ok(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output()?.status.success())
}

const NO_STRACE: &str = "strace is not installed, or may not be used";

const NO_EXCLUSIVE_RENAME: &str = "inject=renameat2:error=EINVAL";
const NO_LINKS: &str = "inject=link,linkat:error=EPERM";

fn without_the_exclusive_rename_links_do_it() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let creators: Vec<_> = (0..4)
        .map(|creator| {
            let mut command = child("create", root, "a/c/h")?;
            command.env(SIZE, (creator * 1000).to_string());
            let command = under_strace(&[NO_EXCLUSIVE_RENAME], command);
            Ok(thread::spawn(move || run(command)))
        })
        .collect::<Result<_, Failed>>()?;
    let mut created = Vec::new();
    for creator in creators {
        let said = creator.join().map_err(|_| "a thread panicked")??;
        match said.strip_prefix("created ") {
            Some(size) => created.push(size.to_owned()),
            None => assert!(said.starts_with("AlreadyExists: "), "{said}"),
        }
    }
    let [size] = &created[..] else {
        return Err(format!("{} created the object", created.len()).into());
    };
    assert_eq!(run(child("stat", root, "a/c/h")?)?, format!("seen {size}"));
    assert_eq!(fs::metadata(root.join("a/c/h"))?.nlink(), 1);
    assert_eq!(leftovers(root)?, 0);
    let command = under_strace(&[NO_EXCLUSIVE_RENAME], child("overwrite", root, "a/c/h")?);
    assert_eq!(run(command)?, "created 10");
    DONE
}

fn without_links_too_it_is_said() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let create = || run(under_strace(&[NO_EXCLUSIVE_RENAME, NO_LINKS], child("create", root, "a/c/h")?));
    assert_eq!(create()?, "created 10, not atomic");
    let again = create()?;
    assert!(again.starts_with("AlreadyExists: ") && again.ends_with(", not atomic"), "{again}");
    assert_eq!(run(child("read", root, "a/c/h")?)?, "read 10");
    assert_eq!(leftovers(root)?, 0);
    DONE
}

fn a_failing_disk_publishes_nothing() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    for (injection, kind) in [
        // The first is that of the new directories; the file's comes later.
        ("inject=fsync:error=EDQUOT:when=1", "NoSpace"),
        ("inject=fsync:error=EDQUOT:when=4", "NoSpace"),
        ("inject=fsync:error=EIO:when=4", "Other"),
        ("inject=write,writev:error=ENOSPC:when=1", "NoSpace"),
        ("inject=renameat2:error=EROFS", "PermissionDenied"),
        ("inject=utimensat:error=EPERM", "PermissionDenied"),
    ] {
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        let said = run(under_strace(&[injection], child("create", root, "a/c/h")?))?;
        assert!(said.starts_with(&format!("{kind}: failed to ")), "{injection}: {said}");
        assert!(said.contains("/a/c/h"), "{injection}: {said}");
        assert!(!root.join("a").exists(), "{injection} left a name");
        assert_eq!(leftovers(root)?, 0, "{injection}");
    }
    DONE
}

fn a_kill_at_any_step_leaves_all_or_nothing() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    for call in ["mkdirat", "flock", "writev", "fsync", "utimensat", "renameat2", "linkat", "unlinkat"] {
        for when in 1..=8 {
            let directory = tempfile::tempdir()?;
            let root = directory.path();
            let kill = format!("inject={call}:signal=KILL:when={when}");
            let with_links = [NO_EXCLUSIVE_RENAME, kill.as_str()];
            let injections = if call.contains("link") { &with_links[..] } else { &with_links[1..] };
            let killed = under_strace(injections, child("create", root, "a/c/h")?).output()?;
            let ended = !said(&killed).is_empty();
            match run(child("stat", root, "a/c/h")?)? {
                said if said == "seen 10" => {}
                said => {
                    assert!(!ended && said.starts_with("NotFound: "), "{kill}: {said}");
                    assert_eq!(run(child("create", root, "a/c/h")?)?, "created 10", "{kill}");
                }
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            let backend = LocalBackend::open(LocalConfig::new(root))?;
            runtime.block_on(backend.sweep(&[]))?;
            assert_eq!(leftovers(root)?, 0, "{kill}");
            assert_eq!(run(child("read", root, "a/c/h")?)?, "read 10", "{kill}");
            // Later calls of this sort do not come.
            if ended {
                break;
            }
        }
    }
    DONE
}
