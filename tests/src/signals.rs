//! Ignored signals. Shells let background jobs ignore SIGINT and SIGTERM, and children inherit that. So the binary would
//! rightly ignore them too.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;

/// SIGINT and SIGTERM in the mask of ignored signals.
const STOPPING: u64 = 1 << 1 | 1 << 14;

/// The command that restores the default handling of the signals. It needs coreutils 8.31 or later.
const RESET: [&str; 2] = ["env", "--default-signal=INT,TERM"];

/// Whether this process receives SIGINT and SIGTERM, and if not, whether its children can.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Heard,
    CanBeReset,
    Ignored,
}

static HEARING: LazyLock<Hearing> = LazyLock::new(|| {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    if mask & STOPPING == 0 {
        return Hearing::Heard;
    }
    let reset = Command::new(RESET[0]).args([RESET[1], "true"]).output();
    if reset.is_ok_and(|reset| reset.status.success()) { Hearing::CanBeReset } else { Hearing::Ignored }
});

/// Returns the prefix for a command so that it receives the signals. The prefix is empty if none is needed.
pub(crate) fn reset() -> &'static [&'static str] {
    if *HEARING == Hearing::CanBeReset { &RESET } else { &[] }
}

/// Whether a command would ignore the signals even with the prefix.
pub(crate) fn are_ignored() -> bool {
    *HEARING == Hearing::Ignored
}
