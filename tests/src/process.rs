//! A running process that a test observes.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::flagless;
use crate::run::Run;

/// The timeout of events that normally happen at once.
const TIMEOUT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(1);

/// A started binary. Drop kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    call: String,
    // Use files instead of pipes, so that a process with much output never waits for the test.
    stdout: File,
    stderr: File,
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// Panics after a timeout, with what was awaited.
#[track_caller]
pub fn wait_for(awaited: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{awaited} did not happen in time");
        std::thread::sleep(POLL);
    }
}

impl Running {
    pub(crate) fn start(mut command: Command, call: String, is_flagless: bool) -> Self {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let started = if is_flagless { flagless::spawn(&mut command) } else { command.spawn() };
        let child = started.unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"));
        Self { child, call, stdout, stderr }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, and returns the time.
    pub fn signal(&self, signal: Signal) -> Instant {
        let _ = kill_process(Pid::from_child(&self.child), signal);
        Instant::now()
    }

    /// Whether the process is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until `condition` holds. It must hold before the process ends.
    ///
    /// # Panics
    ///
    /// Panics if the process ends first, or after a timeout.
    #[track_caller]
    pub fn wait_until(&mut self, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition(self) {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "`{}` ended before the condition held",
                self.call
            );
            assert!(Instant::now() < deadline, "`{}` did not reach the condition in time", self.call);
            std::thread::sleep(POLL);
        }
    }

    /// Returns the standard error so far.
    pub fn stderr_so_far(&self) -> String {
        contents(&self.stderr)
    }

    /// Returns the standard output so far.
    pub fn stdout_so_far(&self) -> String {
        contents(&self.stdout)
    }

    /// Whether signals were sent to the process that none of its threads has received yet.
    pub fn has_pending_signals(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let masks =
            status.lines().filter_map(|line| line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:")));
        masks.into_iter().any(|mask| mask.trim().chars().any(|digit| digit != '0'))
    }

    /// Takes the standard input, if it is a pipe.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Returns the number of bytes that the process has read so far, from files or otherwise.
    pub fn bytes_read(&self) -> u64 {
        self.io_counter("rchar: ")
    }

    /// Returns the number of bytes that the process has written so far, to files or otherwise.
    pub fn bytes_written(&self) -> u64 {
        self.io_counter("wchar: ")
    }

    fn io_counter(&self, name: &str) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Returns the memory of the process in KiB, or `None` if it has ended.
    ///
    /// Pages of the executable do not count: the kernel maps as many of them as it has cached, and a debug build has more
    /// than 150 MiB.
    pub(crate) fn memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let size = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(size("RssAnon:")? + size("RssShmem:")?)
    }

    /// Waits for the end of the process.
    pub fn wait(mut self) -> Run {
        let deadline = Instant::now() + TIMEOUT * 5;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "`{}` did not end in time", self.call);
            std::thread::sleep(POLL);
        };
        let ended = Instant::now();
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let stdout = read(&mut self.stdout);
        let stderr = String::from_utf8_lossy(&read(&mut self.stderr)).into_owned();
        Run { call: self.call.clone(), code: status.code(), signal: status.signal(), stdout, stderr, ended }
    }
}

/// Reads a file without moving its offset, which the process that writes it shares.
fn contents(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    let read = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
