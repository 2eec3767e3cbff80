//! A project in which tests run the binary.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use insta::{Settings, assert_snapshot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

/// The time that a command at a terminal has. It is for a busy machine.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A project in its own directory, and a home without configuration.
pub(crate) struct Project(pub(crate) TempDir);

impl Project {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project/models/en")).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let project = Self(dir);
        project.write("larder.toml", "[remotes]\nteam = '../team'\n");
        project.write("models/en/weights", "1234");
        project.write("metrics.json", "{}");
        project
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("project")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.env_clear().env("HOME", self.0.path().join("home")).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// Returns the output on each stream, and the exit code.
    pub(crate) fn transcript(&self, arguments: &str) -> String {
        Self::show(arguments, &self.command(arguments).output().unwrap())
    }

    /// Starts a command at a terminal of `columns`.
    pub(crate) fn start_at_a_terminal(&self, arguments: &str, term: &str, columns: u16) -> CommandAtTerminal {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let end = || File::options().read(true).write(true).open(&name).unwrap();
        let mut command = self.command(arguments);
        command.env("TERM", term).stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        // The command holds the other end. Reading ends when every copy is closed.
        drop(command);
        CommandAtTerminal { child, terminal: File::from(terminal), deadline: Instant::now() + TIMEOUT }
    }

    /// Returns the output at a terminal where the user gives this answer.
    pub(crate) fn at_a_terminal(&self, arguments: &str, answer: &str) -> String {
        let mut command = self.start_at_a_terminal(arguments, "dumb", 80);
        command.terminal.write_all(answer.as_bytes()).unwrap();
        let mut said = Vec::new();
        while let Some(bytes) = command.read() {
            said.extend_from_slice(&bytes);
        }
        command.child.wait().unwrap();
        String::from_utf8(said).unwrap()
    }

    pub(crate) fn show(arguments: &str, output: &Output) -> String {
        let mut transcript = format!("$ larder {arguments}\n{}", String::from_utf8_lossy(&output.stdout));
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            transcript.push_str(format!("2> {line}").trim_end());
            transcript.push('\n');
        }
        transcript + &format!("[{}]\n", output.status.code().unwrap())
    }

    /// Compares with the snapshot `name`. Replaces the parts that differ from run to run.
    pub(crate) fn check(&self, name: &str, commands: &[&str]) {
        let transcript: String = commands.iter().map(|command| self.transcript(command)).collect();
        self.settings().bind(|| assert_snapshot!(name, transcript));
    }

    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let real = self.0.path().canonicalize().unwrap();
        for dir in [real.as_path(), self.0.path()] {
            settings.add_filter(dir.to_str().unwrap(), "SANDBOX");
        }
        settings.add_filter("[0-9a-f]{64}", "HEX");
        settings.add_filter(r"\b[0-9a-f]{32}\b", "MD5");
        settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME");
        settings.add_filter(r#"(bytes":)\d+"#, "${1}N");
        settings.add_filter(r"[\d.]+ (B|KiB|MiB)/s", "SPEED");
        settings.add_filter(r"[\d.]+ (B|KiB)\b", "N B");
        settings.add_filter(r"\b[\d.]+ m?s\b", "SECONDS");
        // The width of a column depends on its contents.
        settings.add_filter(r"(OBJECTS|CONTENT HASH|HEX|…|\d) +(STORED|N B)", "$1  $2");
        settings
    }
}

/// A command that runs at a terminal of its own. Drop kills it.
pub(crate) struct CommandAtTerminal {
    pub(crate) child: Child,
    terminal: File,
    deadline: Instant,
}

impl CommandAtTerminal {
    /// Waits for output of the command. Returns `None` after its end.
    ///
    /// # Panics
    ///
    /// Panics if the command runs for too long.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap();
        let is_ready = poll(&mut [PollFd::new(&self.terminal, PollFlags::IN)], Some(&left)).unwrap() > 0;
        assert!(is_ready, "the command at the terminal did not end in time");
        let mut buffer = vec![0; 4096];
        // Linux reports the end as an error.
        let len = self.terminal.read(&mut buffer).unwrap_or(0);
        buffer.truncate(len);
        (len > 0).then_some(buffer)
    }
}

impl Drop for CommandAtTerminal {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
