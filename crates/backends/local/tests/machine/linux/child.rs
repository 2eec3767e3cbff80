//! The child processes of these tests.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use larder_backend::{Backend, BackendExt, DeleteOptions, Error, GetOptions, Key, PutMode, PutOptions};
use larder_backend_local::{LocalBackend, LocalConfig};
use larder_testkit::{Required, payload};
use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// The variables that describe the task of a child.
pub(crate) const TASK: &str = "LARDER_LOCAL_TASK";
const ROOT: &str = "LARDER_LOCAL_ROOT";
const KEY: &str = "LARDER_LOCAL_KEY";
pub(crate) const SIZE: &str = "LARDER_LOCAL_SIZE";
pub(crate) const USER: &str = "LARDER_LOCAL_USER";
pub(crate) const TMPFS: &str = "LARDER_LOCAL_TMPFS";

/// The group of the team. It is no user's primary group.
pub(crate) const TEAM: u32 = 4242;

/// Performs the task of a child, and describes the outcome.
pub(crate) fn perform(task: &str) -> Result<String, Failed> {
    let root = env::var(ROOT)?;
    if let Ok(size) = env::var(TMPFS) {
        // No other process sees this mount, and it ends with this process.
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
    // The strictest umask that users have. A shared remote must not depend on it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let key = Key::parse(env::var(KEY)?)?;
    let size = env::var(SIZE).map_or(Ok(10), |size| size.parse())?;
    // Use one blocking thread, because strace counts the calls of each thread separately.
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

/// Returns the command of a child.
pub(crate) fn child(task: &str, root: &Path, key: &str) -> Result<Command, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.env(TASK, task).env(ROOT, root).env(KEY, key);
    Ok(command)
}

/// Runs a command with system calls that fail or kill.
pub(crate) fn under_strace(injections: &[&str], mut command: Command) -> Command {
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

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(crate) fn run(mut command: Command) -> Result<String, Failed> {
    let output = command.output()?;
    let said = said(&output);
    if said.is_empty() || said.starts_with("broken") {
        let trouble = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the child ended with {}: {said} {trouble}", output.status).into());
    }
    Ok(said)
}

pub(crate) fn leftovers(root: &Path) -> Result<usize, Failed> {
    match fs::read_dir(root.join(".larder/1/tmp")) {
        Ok(entries) => Ok(entries.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn strace_works() -> Result<bool, Failed> {
    if Required::program("strace") == Required::Missing {
        return Ok(false);
    }
    // Containers often forbid tracing.
    Ok(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output()?.status.success())
}

pub(crate) const NO_STRACE: &str = "strace is not installed, or may not be used";
