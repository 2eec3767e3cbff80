//! Starts git.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The variables that name a repository, or change the meaning of paths. Git sets some for its hooks, relative to a directory
/// that may not be the project.
const REMOVED: [&str; 12] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// The time limit for most answers. Git reads its index, which takes a second for a million files.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of most answers, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// The pause between two looks at a process that has closed its output.
const PAUSE: Duration = Duration::from_millis(1);

/// The answer of git.
pub(super) struct Answer {
    /// The beginning of its standard output.
    pub(super) stdout: Vec<u8>,
    /// Whether it had more to say, and was ended.
    pub(super) is_cut: bool,
    /// Its exit code. `None` if it was ended.
    pub(super) code: Option<i32>,
}

impl Answer {
    /// Returns whether there was any output, unless git failed.
    pub(super) fn has_output(&self) -> Option<bool> {
        (self.is_cut || self.code == Some(0)).then_some(!self.stdout.is_empty())
    }

    /// Returns the whole output, if git succeeded.
    pub(super) fn success(self) -> Option<Vec<u8>> {
        (self.code == Some(0) && !self.is_cut).then_some(self.stdout)
    }
}

/// A question for git.
pub(super) struct Question<'a> {
    pub(super) directory: &'a Path,
    pub(super) args: &'a [&'a str],
    /// The text for its standard input.
    pub(super) input: Vec<u8>,
    pub(super) timeout: Duration,
    /// The maximum size of the answer. Git is ended when it says more.
    pub(super) max_bytes: u64,
}

impl<'a> Question<'a> {
    /// Creates one without input, with the usual limits.
    pub(super) fn new(directory: &'a Path, args: &'a [&'a str]) -> Self {
        Self { directory, args, input: Vec::new(), timeout: TIMEOUT, max_bytes: MAX_ANSWER }
    }

    /// Runs git, and returns its answer. Returns `None` if it cannot be started or takes too long.
    pub(super) fn ask(self) -> Option<Answer> {
        let deadline = Instant::now() + self.timeout;
        let mut git = self.command().spawn().ok()?;
        let read = self.exchange(&mut git);
        let is_cut = read.as_ref().is_some_and(|bytes| bytes.len() as u64 > self.max_bytes);
        let status = if read.is_none() || is_cut { None } else { wait_until(&mut git, deadline) };
        if status.is_none() {
            git.kill().ok();
            git.wait().ok();
        }
        let mut stdout = read.filter(|_| is_cut || status.is_some())?;
        stdout.truncate(usize::try_from(self.max_bytes).unwrap_or(usize::MAX));
        Some(Answer { stdout, is_cut, code: status.and_then(|status| status.code()) })
    }

    fn command(&self) -> Command {
        let mut git = Command::new("git");
        for name in REMOVED {
            git.env_remove(name);
        }
        // Otherwise the configuration of a repository could start a program here.
        git.args(["-c", "core.fsmonitor=false"])
            .args(self.args)
            .current_dir(self.directory)
            // Git takes no lock, so that it does not disturb other git processes.
            .env("GIT_OPTIONAL_LOCKS", "0")
            // In a partial clone, git does not download what it lacks.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        git
    }

    /// Passes the input on, and returns the output. Both have a thread, so that neither can block beyond the time limit.
    fn exchange(&self, git: &mut Child) -> Option<Vec<u8>> {
        let start =
            |work: Box<dyn FnOnce() + Send>| thread::Builder::new().name("git".to_owned()).spawn(work);
        if let Some(mut stdin) = git.stdin.take() {
            let input = self.input.clone();
            // Git may end before it has read everything.
            start(Box::new(move || drop(stdin.write_all(&input)))).ok()?;
        }
        let stdout = git.stdout.take()?.take(self.max_bytes.saturating_add(1));
        let (sender, receiver) = mpsc::channel();
        let read = move || {
            let (mut stdout, mut bytes) = (stdout, Vec::new());
            let read = stdout.read_to_end(&mut bytes);
            sender.send(read.ok().map(|_| bytes)).ok();
        };
        start(Box::new(read)).ok()?;
        receiver.recv_timeout(self.timeout).ok().flatten()
    }
}

/// Waits for the end of a process that has closed its output.
fn wait_until(process: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match process.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(PAUSE),
            _ => return None,
        }
    }
}
