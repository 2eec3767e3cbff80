//! The requirements of tests on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::mount::{CaseFoldingDisk, Mount, Overlay};
use crate::server::Server;
use crate::terminal::Terminal;

/// A requirement that not every machine meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `strace`, and the right to trace, to inject failures and delays.
    Strace,
    /// The right to mount a tmpfs, for full disks.
    Tmpfs,
    /// The right to mount an overlay, which cannot rename directories of its lower layer.
    Overlay,
    /// exFAT with FUSE, a loop device, and the right to mount it, for a file system that folds case.
    CaseFolding,
    /// The right to run as other users, with `setpriv`.
    Users,
    /// SIGINT and SIGTERM that are not ignored. Shells let background jobs ignore them.
    Signals,
    /// The program `script`, which runs a command in a pseudo-terminal.
    Terminal,
    /// A Python with the real weasel in `LARDER_WEASEL_PYTHON`.
    Weasel,
    /// A program of the recipes, on `PATH` or in a directory of `LARDER_RECIPES_BIN`.
    Program(&'static str),
    /// The program `git`.
    Git,
    /// `/dev/full`.
    DevFull,
    /// This number of free GiB in the directory for temporary files.
    Disk(u64),
    /// An sshd that tests can start, in `LARDER_TEST_SSHD`.
    Sshd,
    /// The server of this backend, which `cargo xtask integration` starts: see [`Server`].
    Server(&'static str),
}

/// The reason why a requirement is missing.
pub(crate) enum Missing {
    /// The machine does not have it.
    Here(String),
    /// The server of this backend is not running.
    Server(&'static str),
}

impl Need {
    pub(crate) fn check(self) -> Result<(), Missing> {
        static STRACE: OnceLock<Option<String>> = OnceLock::new();
        static TMPFS: OnceLock<Option<String>> = OnceLock::new();
        static OVERLAY: OnceLock<Option<String>> = OnceLock::new();
        static CASE_FOLDING: OnceLock<Option<String>> = OnceLock::new();
        static USERS: OnceLock<Option<String>> = OnceLock::new();
        let cached = |cell: &OnceLock<Option<String>>, probe: fn() -> Option<String>| {
            cell.get_or_init(probe).clone().map_or(Ok(()), |reason| Err(Missing::Here(reason)))
        };
        match self {
            Self::Strace => cached(&STRACE, || {
                let traces =
                    succeeds("strace", &["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=openat", "true"]);
                (!traces).then(|| "strace is missing or not allowed to trace".to_owned())
            }),
            Self::Tmpfs => cached(&TMPFS, || {
                let dir = tempfile::tempdir().unwrap();
                Mount::tmpfs(dir.path(), 1).err().map(|error| format!("failed to mount a tmpfs: {error}"))
            }),
            Self::Overlay => cached(&OVERLAY, || {
                let dir = tempfile::tempdir().unwrap();
                Overlay::new(dir.path()).err().map(|error| format!("failed to mount an overlay: {error}"))
            }),
            Self::CaseFolding => {
                cached(&CASE_FOLDING, || {
                    let dir = tempfile::tempdir().unwrap();
                    let at = dir.path().join("at");
                    fs::create_dir(&at).unwrap();
                    let disk = CaseFoldingDisk::new(&dir.path().join("image"), &at);
                    disk.err().map(|error| {
                    format!("a disk that folds case cannot be mounted (Debian: exfatprogs, exfat-fuse): {error}")
                })
                })
            }
            Self::Users => {
                cached(&USERS, || {
                    let becomes =
                        succeeds("setpriv", &["--reuid=61001", "--regid=61001", "--groups=61000", "true"]);
                    (!becomes).then(|| "tests cannot run as other users: setpriv is missing, or the current user is not root".to_owned())
                })
            }
            Self::Signals if crate::signals::are_ignored() => Err(Missing::Here(
                "the parent process made SIGINT or SIGTERM ignored, and `env` cannot reset it".to_owned(),
            )),
            Self::Terminal if !Terminal::is_supported() => {
                Err(Missing::Here("`script` is missing (Debian: bsdutils)".to_owned()))
            }
            Self::Weasel if std::env::var_os("LARDER_WEASEL_PYTHON").is_none() => Err(Missing::Here(
                "weasel is missing: `cargo xtask test` installs it if python3 and venv are available"
                    .to_owned(),
            )),
            Self::Program(name) if !program_dirs().any(|dir| dir.join(name).is_file()) => {
                Err(Missing::Here(missing_program(name)))
            }
            Self::Git if !succeeds("git", &["--version"]) => Err(Missing::Here("git is missing".to_owned())),
            Self::DevFull if !Path::new("/dev/full").exists() => {
                Err(Missing::Here("/dev/full is missing".to_owned()))
            }
            Self::Disk(gib) if free_gib() < gib => Err(Missing::Here(format!(
                "{} has less than {gib} GiB of free space",
                std::env::temp_dir().display()
            ))),
            Self::Sshd if std::env::var_os("LARDER_TEST_SSHD").is_none() => {
                Err(Missing::Here("LARDER_TEST_SSHD does not name an sshd".to_owned()))
            }
            Self::Server(backend) if !Server::is_there(backend) => Err(Missing::Server(backend)),
            Self::Signals
            | Self::Terminal
            | Self::Weasel
            | Self::Program(_)
            | Self::Git
            | Self::DevFull
            | Self::Disk(_)
            | Self::Sshd
            | Self::Server(_) => Ok(()),
        }
    }
}

/// Says that a program of the recipes is missing, and how to get it.
fn missing_program(name: &str) -> String {
    match name {
        "dvc" | "just" | "snakemake" | "jupyter-execute" => {
            format!("{name} is missing: `cargo xtask test` installs it if python3 and venv are available")
        }
        _ => format!("{name} is missing (Debian: {name})"),
    }
}

/// Returns the directories that have the programs of the recipes, in the order of the search.
pub(crate) fn program_dirs() -> impl Iterator<Item = PathBuf> {
    let recipes = std::env::var_os("LARDER_RECIPES_BIN").unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let dirs: Vec<PathBuf> = [recipes, path].iter().flat_map(std::env::split_paths).collect();
    dirs.into_iter().filter(|dir| !dir.as_os_str().is_empty())
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let quiet = || Stdio::null();
    let status = Command::new(program).args(args).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    status.is_ok_and(|status| status.success())
}

fn free_gib() -> u64 {
    rustix::fs::statvfs(std::env::temp_dir()).map_or(0, |stat| (stat.f_bavail * stat.f_frsize) >> 30)
}
