//! Handles signals that stop a command, and two signals that must not end the process directly.
//!
//! A signal that was ignored when larder started stays ignored. Shells ignore SIGINT for background jobs of a
//! script, and users protect a job with `trap '' TERM`. A process can detect that only in `/proc`. Without
//! `/proc`, such a signal stops the commands that handle it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use rustix::process::Signal as SystemSignal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::ProgressDisplay;

/// Turns a write beyond the limit on file sizes into an error. By default, SIGXFSZ ends the process.
pub(crate) fn survive_file_size_limit() {
    let unread = Arc::new(AtomicBool::new(false));
    // This fails only for signals that cannot be handled.
    signal_hook::flag::register(SystemSignal::XFSZ.as_raw(), unread).ok();
}

/// Lets an abort end the process with the exit code of a failure. If Rust cannot allocate a few bytes, it
/// prints "memory allocation of 48 bytes failed" and aborts. For large buffers, missing memory is an ordinary
/// error instead.
pub(crate) fn turn_aborts_into_failures() {
    let always = Arc::new(AtomicBool::new(true));
    let code = i32::from(Exit::Failed.code());
    // This fails only for signals that cannot be handled.
    signal_hook::flag::register_conditional_shutdown(SystemSignal::ABORT.as_raw(), code, always).ok();
}

/// Clears the bars before SIGINT or SIGTERM ends a command that does not handle signals itself.
pub(crate) fn clear_bars_at_the_end(progress: &Arc<ProgressDisplay>) {
    if !progress.has_bars() {
        return;
    }
    let status = process_status();
    let handled: Vec<i32> = [SignalKind::interrupt(), SignalKind::terminate()]
        .into_iter()
        .filter(|kind| !is_ignored(&status, *kind))
        .map(|kind| kind.as_raw_value())
        .collect();
    let progress = Arc::clone(progress);
    let wait = move || {
        // Registering on this thread has a reason: if the thread cannot start, the signals still end the
        // process.
        let Ok(mut signals) = signal_hook::iterator::Signals::new(handled) else { return };
        if let Some(signal) = signals.forever().next() {
            progress.clear();
            signal_hook::low_level::emulate_default_handler(signal).ok();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).ok();
}

fn process_status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Receives the signals that stop a command, unless they were ignored when larder started.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
    quit: Option<Signal>,
}

impl Signals {
    /// Listens for SIGINT and SIGTERM. The other signals end the process directly.
    pub(crate) fn listen() -> Result<Self> {
        let listen = Listener::new();
        let interrupt = listen.to(SignalKind::interrupt())?;
        let terminate = listen.to(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate, hangup: None, quit: None })
    }

    /// Listens for SIGHUP and SIGQUIT as well. A command that larder runs decides what they mean.
    pub(crate) fn listen_with_command() -> Result<Self> {
        let listen = Listener::new();
        let (hangup, quit) = (listen.to(SignalKind::hangup())?, listen.to(SignalKind::quit())?);
        Ok(Self { hangup, quit, ..Self::listen()? })
    }

    /// Waits for the next signal. Returns the exit code that it stands for.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            () = receive(&mut self.interrupt) => Exit::Interrupted,
            () = receive(&mut self.terminate) => Exit::Terminated,
            () = receive(&mut self.hangup) => Exit::HungUp,
            () = receive(&mut self.quit) => Exit::Quit,
        }
    }
}

struct Listener {
    status: String,
}

impl Listener {
    fn new() -> Self {
        Self { status: process_status() }
    }

    fn to(&self, kind: SignalKind) -> Result<Option<Signal>> {
        let listening = (!is_ignored(&self.status, kind)).then(|| signal(kind));
        listening.transpose().map_err(Failure::Runtime)
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

/// Returns whether the mask of ignored signals in a `/proc/PID/status` contains a signal.
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
