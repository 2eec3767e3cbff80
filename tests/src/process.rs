//! A process that runs while the test looks at it.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::flagless;
use crate::run::Run;

/// How long something may take that takes a moment: only a failing test ever waits that long.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(1);

/// A started binary; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    call: String,
    // Files, not pipes: a process that writes much never waits for the test.
    stdout: File,
    stderr: File,
}

impl Running {
    pub(crate) fn start(mut command: Command, call: String, is_flagless: bool) -> Self {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let started = if is_flagless { flagless::spawn(&mut command) } else { command.spawn() };
        let child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, call, stdout, stderr }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, and says when.
    pub fn signal(&self, signal: Signal) -> Instant {
        let _ = kill_process(Pid::from_child(&self.child), signal);
        Instant::now()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until `condition` holds, which must happen before the process ends.
    ///
    /// # Panics
    ///
    /// The process ends before, or it takes too long.
    #[track_caller]
    pub fn wait_until(&mut self, condition: impl Fn(&Self) -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "`{}` ended before the awaited point",
                self.call
            );
            assert!(Instant::now() < patience, "`{}` does not come to the awaited point", self.call);
            std::thread::sleep(POLL);
        }
    }

    /// How many bytes it has read so far, of files or otherwise.
    pub fn bytes_read(&self) -> u64 {
        self.io_counter("rchar: ")
    }

    /// How many bytes it has written so far, to files or otherwise.
    pub fn bytes_written(&self) -> u64 {
        self.io_counter("wchar: ")
    }

    fn io_counter(&self, name: &str) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// The most memory that it has had so far, in KiB. A process that has ended has none.
    pub(crate) fn peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Run {
        let patience = Instant::now() + PATIENCE * 5;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < patience, "`{}` does not end", self.call);
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

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
