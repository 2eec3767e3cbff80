//! A command of the user that larder runs in the foreground: it shares larder's terminal and process group.
//!
//! A terminal sends SIGINT and SIGQUIT to the whole process group, so the command gets them without larder. Many programs
//! take a second SIGINT as a request to die at once, so larder does not forward the first. SIGTERM and SIGHUP are sent to one
//! process, so larder forwards them.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::exit::Exit;

/// The command, as the task that receives signals sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForegroundCommand(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    phase: Phase,
    /// The first signal that came while the command ran.
    received: Option<Exit>,
    /// A signal that the command gets once it has started.
    pending: Option<Signal>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Absent,
    Starting,
    Running(Pid),
}

/// The end of a command.
#[derive(Debug)]
pub(crate) struct EndedCommand {
    pub(crate) status: ExitStatus,
    pub(crate) started: SystemTime,
    pub(crate) finished: SystemTime,
    /// Whether a signal to stop came meanwhile.
    pub(crate) was_signaled: bool,
}

impl EndedCommand {
    /// Returns the exit code, as shells count: 128 plus the number of a signal that ended the command.
    pub(crate) fn code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }

    /// Returns whether the command has done its work.
    pub(crate) fn is_success(&self) -> bool {
        // Programs that stop gracefully after a signal exit with 0, but their outputs are not complete.
        self.status.success() && !self.was_signaled
    }
}

impl ForegroundCommand {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a signal to larder if the command runs. Returns whether it does.
    pub(crate) fn takes(&self, exit: Exit) -> bool {
        let mut slot = self.slot();
        if slot.phase == Phase::Absent {
            return false;
        }
        slot.received.get_or_insert(exit);
        let signal = match exit {
            Exit::Terminated => Signal::TERM,
            Exit::HungUp => Signal::HUP,
            _ => return true,
        };
        match slot.phase {
            // The command is not yet reaped, so the number is its own.
            Phase::Running(pid) => drop(kill_process(pid, signal)),
            Phase::Starting | Phase::Absent => slot.pending = Some(signal),
        }
        true
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    ///
    /// The command cannot be started.
    pub(crate) async fn run(&self, mut command: Command) -> io::Result<EndedCommand> {
        *self.slot() = Slot { phase: Phase::Starting, received: None, pending: None };
        let started = SystemTime::now();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                self.slot().phase = Phase::Absent;
                return Err(error);
            }
        };
        let pid = Pid::from_child(&child);
        {
            let mut slot = self.slot();
            slot.phase = Phase::Running(pid);
            if let Some(signal) = slot.pending.take() {
                // It may have ended already.
                kill_process(pid, signal).ok();
            }
        }
        let slot = self.clone();
        let wait = move || {
            // After the command has ended and before its number is free, larder stops sending signals to it.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            let finished = SystemTime::now();
            let received = {
                let mut slot = slot.slot();
                slot.phase = Phase::Absent;
                slot.received
            };
            let was_signaled = received.is_some();
            Ok(EndedCommand { status: child.wait()?, started, finished, was_signaled })
        };
        match tokio::task::spawn_blocking(wait).await {
            Ok(ended) => ended,
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn codes_are_those_of_a_shell() {
        let foreground = ForegroundCommand::default();
        for (script, code) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
            let ended = block_on(foreground.run(shell(script))).unwrap();
            assert_eq!((ended.code(), ended.is_success()), (code, code == 0), "{script}");
        }
        let error = block_on(foreground.run(Command::new("/nonexistent"))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn signals_are_taken_only_while_a_command_runs() {
        let foreground = ForegroundCommand::default();
        assert!(!foreground.takes(Exit::Terminated));
        foreground.slot().phase = Phase::Starting;
        assert!(foreground.takes(Exit::Terminated));
        assert_eq!(foreground.slot().pending, Some(Signal::TERM));
        assert!(foreground.takes(Exit::Interrupted));
        assert_eq!(foreground.slot().received, Some(Exit::Terminated), "the first one counts");
    }
}
