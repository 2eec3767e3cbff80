//! What a test needs of the machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::mount::{Mount, Overlay};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `strace`, and the right to trace: failures and delays are injected with it.
    Strace,
    /// The right to mount a tmpfs: disks that are full.
    Tmpfs,
    /// The right to mount an overlay: a file system without `RENAME_EXCHANGE`.
    Overlay,
    /// The right to become other users, with `setpriv`.
    Users,
    /// A Python with the real weasel in `LARDER_WEASEL_PYTHON`.
    Weasel,
    /// `/dev/full`.
    DevFull,
    /// So many GiB free where temporary files are.
    Disk(u64),
}

/// Why it is not there.
pub(crate) struct Missing(pub(crate) String);

impl Need {
    pub(crate) fn check(self) -> Result<(), Missing> {
        static STRACE: OnceLock<Option<String>> = OnceLock::new();
        static TMPFS: OnceLock<Option<String>> = OnceLock::new();
        static OVERLAY: OnceLock<Option<String>> = OnceLock::new();
        static USERS: OnceLock<Option<String>> = OnceLock::new();
        let cached = |cell: &OnceLock<Option<String>>, probe: fn() -> Option<String>| {
            cell.get_or_init(probe).clone().map_or(Ok(()), |reason| Err(Missing(reason)))
        };
        match self {
            Self::Strace => cached(&STRACE, || {
                let traces = succeeds("strace", &["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=openat", "true"]);
                (!traces).then(|| "strace is missing or may not trace".to_owned())
            }),
            Self::Tmpfs => cached(&TMPFS, || {
                let dir = tempfile::tempdir().unwrap();
                Mount::tmpfs(dir.path(), 1).err().map(|error| format!("a tmpfs cannot be mounted: {error}"))
            }),
            Self::Overlay => cached(&OVERLAY, || {
                let dir = tempfile::tempdir().unwrap();
                Overlay::new(dir.path()).err().map(|error| format!("an overlay cannot be mounted: {error}"))
            }),
            Self::Users => cached(&USERS, || {
                let becomes = succeeds("setpriv", &["--reuid=61001", "--regid=61001", "--groups=61000", "true"]);
                (!becomes).then(|| "other users cannot be impersonated: setpriv is missing, or this is not root".to_owned())
            }),
            Self::Weasel if std::env::var_os("LARDER_WEASEL_PYTHON").is_none() => {
                Err(Missing("weasel is missing: `cargo xtask test` makes its environment where python3 and venv are there".to_owned()))
            }
            Self::DevFull if !Path::new("/dev/full").exists() => Err(Missing("/dev/full is missing".to_owned())),
            Self::Disk(gib) if free_gib() < gib => {
                Err(Missing(format!("{gib} GiB of disk are not free in {}", std::env::temp_dir().display())))
            }
            Self::Weasel | Self::DevFull | Self::Disk(_) => Ok(()),
        }
    }
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let quiet = || Stdio::null();
    let status = Command::new(program).args(args).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    status.is_ok_and(|status| status.success())
}

fn free_gib() -> u64 {
    rustix::fs::statvfs(std::env::temp_dir()).map_or(0, |stat| (stat.f_bavail * stat.f_frsize) >> 30)
}
