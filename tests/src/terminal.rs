//! The binary in a pseudo-terminal.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};

use crate::process::Running;
use crate::run::{Larder, Run};

/// A key of the keyboard for which a terminal sends a signal to the processes in its foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Ctrl-C, for SIGINT.
    CtrlC,
    /// Ctrl-\, for SIGQUIT.
    CtrlBackslash,
}

/// A binary that runs in the foreground of its own pseudo-terminal. Its output and that of its children is the standard
/// output of the run.
#[derive(Debug)]
pub struct Terminal {
    // `script`, which has the other side of the terminal.
    running: Running,
    keyboard: ChildStdin,
}

impl Terminal {
    pub(crate) fn is_supported() -> bool {
        let mut probe = Command::new("script");
        probe.args(["--quiet", "--return", "--command", "exit 7", "/dev/null"]);
        let quiet = || Stdio::null();
        let status = probe.stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
        status.is_ok_and(|status| status.code() == Some(7))
    }

    pub(crate) fn start(larder: &Larder) -> Self {
        let inside = larder.command();
        let words = [inside.get_program()].into_iter().chain(inside.get_args());
        let line: Vec<String> = words.map(quoted).collect();
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", &format!("exec {}", line.join(" ")), "/dev/null"])
            .current_dir(larder.dir())
            .stdin(Stdio::piped())
            .env_clear()
            .envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut running = Running::start(script, larder.describe(), false);
        let keyboard = running.take_stdin().unwrap();
        Self { running, keyboard }
    }

    /// Presses a key.
    pub fn press(&mut self, key: Key) {
        let byte = match key {
            Key::CtrlC => 0x03,
            Key::CtrlBackslash => 0x1c,
        };
        self.keyboard.write_all(&[byte]).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until `condition` holds. It must hold before the binary ends.
    ///
    /// # Panics
    ///
    /// Panics if the binary ends first, or after a timeout.
    #[track_caller]
    pub fn wait_until(&mut self, condition: impl Fn() -> bool) {
        self.running.wait_until(|_| condition());
    }

    /// Waits for the end of the binary. A signal that ended it becomes the exit code 128 + n, as in a shell.
    pub fn wait(self) -> Run {
        let run = self.running.wait();
        drop(self.keyboard);
        run
    }
}

/// Quotes a word for a shell.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"))
}
