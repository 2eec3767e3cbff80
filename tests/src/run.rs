//! Calls of the binary and their results.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Running;
use crate::server::Server;
use crate::terminal::Terminal;

/// One call of the binary, without the caller's environment.
#[derive(Clone, Debug)]
pub struct Larder {
    wrapper: Vec<OsString>,
    binary: PathBuf,
    args: Vec<OsString>,
    dir: PathBuf,
    env: Vec<(OsString, OsString)>,
    is_flagless: bool,
}

impl Larder {
    pub(crate) fn new(binary: PathBuf, dir: &Path, home: &Path) -> Self {
        let env = vec![
            ("HOME".into(), home.into()),
            ("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())),
        ];
        Self { wrapper: Vec::new(), binary, args: Vec::new(), dir: dir.to_owned(), env, is_flagless: false }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Sets the variables of a server, including credentials.
    #[must_use]
    pub fn reaching(mut self, server: &Server) -> Self {
        self.env.extend(server.env());
        self
    }

    /// Runs in another directory instead of the project.
    #[must_use]
    pub fn in_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// Runs another copy of the binary, to which another user has access.
    #[must_use]
    pub fn with_binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// Runs through another program, whose last arguments are the binary and its arguments.
    #[must_use]
    pub fn through<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, wrapper: I) -> Self {
        self.wrapper.extend(wrapper.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Injects into system calls with strace. `spec` is the value of its `-e inject=`. The process keeps its id, because the
    /// tracer is its grandchild.
    #[must_use]
    pub fn inject(self, spec: &str) -> Self {
        self.inject_all(&[spec])
    }

    /// Injects into several kinds of system calls.
    #[must_use]
    pub fn inject_all(self, specs: &[&str]) -> Self {
        let calls: Vec<&str> = specs.iter().map(|spec| spec.split(':').next().unwrap()).collect();
        let injections = specs.iter().flat_map(|spec| ["-e".to_owned(), format!("inject={spec}")]);
        self.through([
            "strace",
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={}", calls.join(",")),
        ])
        .through(injections)
    }

    /// Runs on a kernel that refuses renames with flags: see [`Sandbox::without_exchange`](crate::Sandbox::without_exchange).
    #[must_use]
    pub(crate) fn flagless(self) -> Self {
        Self { is_flagless: true, ..self }
    }

    /// Runs as another user with a private umask, so that files are shared only on purpose.
    #[must_use]
    pub fn as_user(self, user: u32, groups: &[u32]) -> Self {
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        let ids =
            [format!("--reuid={user}"), format!("--regid={user}"), format!("--groups={}", groups.join(","))];
        self.through(["setpriv"]).through(ids).through(["sh", "-c", "umask 077; exec \"$0\" \"$@\""])
    }

    /// Returns the command, for uses that this type does not cover.
    pub fn command(&self) -> Command {
        // Outermost, so that the test's own wrapper can change the signals again.
        let reset = crate::signals::reset().iter().map(OsString::from);
        let wrapped = self.wrapper.iter().cloned().chain([self.binary.clone().into()]);
        let mut line = reset.chain(wrapped).chain(self.args.iter().cloned());
        let mut command = Command::new(line.next().unwrap());
        command
            .args(line)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env_clear()
            .envs(self.env.iter().cloned());
        command
    }

    /// Starts the binary.
    pub fn spawn(&self) -> Running {
        Running::start(self.command(), self.describe(), self.is_flagless)
    }

    /// Starts the binary in a pseudo-terminal. The case needs [`Need::Terminal`](crate::Need::Terminal).
    pub fn spawn_in_terminal(&self) -> Terminal {
        Terminal::start(self)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs the binary to its end.
    pub fn run(&self) -> Run {
        self.spawn().wait()
    }

    /// Runs the binary to its end, and returns its peak memory in MiB, without the pages of the executable. It looks every
    /// 2 ms, so it misses a shorter peak.
    ///
    /// # Panics
    ///
    /// Panics if the process ended before the first measurement.
    pub fn run_and_measure(&self) -> (Run, u64) {
        let running = self.spawn();
        let mut peak = 0;
        while let Some(kib) = running.memory_kib() {
            peak = peak.max(kib);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(peak > 0, "the process ended before the first measurement");
        (running.wait(), peak.div_ceil(1024))
    }

    pub(crate) fn describe(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let program = self.binary.file_name().unwrap_or_default().to_string_lossy();
        format!("{program} {}", args.join(" "))
    }
}

/// The result of a run of the binary.
#[derive(Clone, Debug)]
pub struct Run {
    /// The arguments, for messages.
    pub call: String,
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The standard output.
    pub stdout: Vec<u8>,
    /// The standard error, as text.
    pub stderr: String,
    /// The time of its end.
    pub ended: Instant,
}

#[expect(clippy::return_self_not_must_use, reason = "an assertion may be the last use of the result")]
impl Run {
    /// Asserts an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts a failure with exactly one error message, which contains all of `parts`.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) -> Self {
        let run = self.exits(code);
        let errors = run.stderr.lines().filter(|line| line.starts_with("error")).count();
        // A miss is not an error, but a plain line.
        let misses = run.stderr.lines().filter(|line| line.starts_with("nothing in ")).count();
        assert_eq!(errors + misses, 1, "expected one error line: {run}");
        for part in parts {
            assert!(run.stderr.contains(part), "expected `{part}` in the error: {run}");
        }
        run
    }

    /// Returns the standard output as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is text")
    }

    /// Returns the only line of the standard output.
    #[track_caller]
    pub fn line(&self) -> &str {
        let text = self.text().trim_end_matches('\n');
        assert!(!text.is_empty() && !text.contains('\n'), "expected one line: {self}");
        text
    }

    /// Returns the `--json` document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON document: {error}: {self}"))
    }

    /// Returns the results in the `--json` document.
    #[track_caller]
    pub fn results(&self) -> Vec<Value> {
        let document = self.json();
        let Some(results) = document["results"].as_array() else { panic!("no results: {self}") };
        results.clone()
    }

    /// Returns the outcome of the only result.
    #[track_caller]
    pub fn outcome(&self) -> String {
        self.field("outcome")
    }

    /// Returns a text field of the only result.
    #[track_caller]
    pub fn field(&self, name: &str) -> String {
        let results = self.results();
        assert_eq!(results.len(), 1, "{self}");
        let Some(text) = results[0][name].as_str() else { panic!("no text `{name}`: {self}") };
        text.to_owned()
    }

    /// Asserts that the standard output or the standard error has all of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        let said = self.said();
        for part in parts {
            assert!(said.contains(part), "expected `{part}`: {self}");
        }
        self
    }

    /// Returns the standard output and the standard error as text.
    pub fn said(&self) -> String {
        format!("{}\n{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }

    /// Returns how long the process ran after `moment`.
    pub fn after(&self, moment: Instant) -> Duration {
        self.ended.saturating_duration_since(moment)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        writeln!(f, "`{}` ended with code {:?}, signal {:?}", self.call, self.code, self.signal)?;
        write!(f, "--- stdout\n{stdout}\n--- stderr\n{}", self.stderr)
    }
}
