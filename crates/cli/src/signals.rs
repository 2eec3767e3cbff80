//! The signals that say to stop.
//!
//! A signal that was ignored when larder was started stays ignored, in every command: whoever starts a job in the
//! background of a script (where shells ignore SIGINT for it), or with `trap '' TERM`, wants it to survive that signal. The
//! system sees to that where nothing listens, as in `larder hash`; where something listens, this module does. It can know
//! only where the system tells, in `/proc`; elsewhere such a signal is heard by those commands that listen.

use std::fs;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Hears SIGINT and SIGTERM, as far as they are not to be ignored.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let listen = |kind| {
            let listening = (!is_ignored(&status, kind)).then(|| signal(kind));
            listening.transpose().map_err(Failure::Runtime)
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one; for ever, where none is heard.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            () = receive(&mut self.interrupt) => Exit::Interrupted,
            () = receive(&mut self.terminate) => Exit::Terminated,
        }
    }
}

async fn receive(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the process whose `/proc/PID/status` this is ignores a signal: that is a bit of the mask in hexadecimal digits.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = u32::try_from(kind.as_raw_value()).ok().and_then(|number| number.checked_sub(1));
    bit.and_then(|bit| mask.checked_shr(bit)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let (int, term) = (SignalKind::interrupt(), SignalKind::terminate());
        for (mask, ignored) in [
            ("0000000000000000", [false, false]),
            ("0000000000000006", [true, false]),
            ("0000000000004000", [false, true]),
            ("ffffffffffffffff", [true, true]),
            ("nonsense", [false, false]),
        ] {
            let status = format!("SigBlk:\tffffffffffffffff\nSigIgn:\t{mask}\nSigCgt:\tffffffffffffffff\n");
            assert_eq!([int, term].map(|kind| is_ignored(&status, kind)), ignored, "{mask}");
        }
        assert!(!is_ignored("", int), "without /proc nothing is known");
    }
}
