//! Signals that whoever started the tests has told the system to ignore, as shells do for jobs in the background: their
//! children inherit that, and the binary would rightly ignore them too.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;

/// SIGINT and SIGTERM in the mask of ignored signals.
const STOPPING: u64 = 1 << 1 | 1 << 14;

/// The program that has the signals heard again (that of coreutils 8.31 or later), and what it takes.
const RESET: [&str; 2] = ["env", "--default-signal=INT,TERM"];

/// Whether this process hears SIGINT and SIGTERM, and if not, whether its children can.
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

/// What has to stand before a command so that it hears the signals, where that takes anything.
pub(crate) fn reset() -> &'static [&'static str] {
    if *HEARING == Hearing::CanBeReset { &RESET } else { &[] }
}

/// Whether a command that was started now would ignore them.
pub(crate) fn are_ignored() -> bool {
    *HEARING == Hearing::Ignored
}
