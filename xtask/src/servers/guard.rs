//! A server must not survive the task that started it, also where that is interrupted or killed and no destructor runs.
//! So this program starts itself a second time, as the server's parent in a process group of its own, with a pipe from
//! the task: when that pipe closes, whatever closed it, the guard ends the server by its id and removes its directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Result, process};

/// The task under which this program guards one server: see [`guard_child`].
pub(crate) const GUARD: &str = "guard-one-server";

const POLL: Duration = Duration::from_millis(20);
/// How long a server may take to end in order before it is killed: its data are thrown away anyway.
const PATIENCE: Duration = Duration::from_secs(3);

const LOG: &str = "log";
const ENDED: &str = "ended";

/// What to start.
pub(super) struct Plan {
    /// The server, with the variables that are worth showing.
    pub(super) command: Command,
    /// All its other variables.
    pub(super) env: Vec<(OsString, OsString)>,
    /// What else ends it.
    pub(super) finally: Vec<OsString>,
}

/// A server with its guard.
pub(super) struct Guarded {
    guard: Child,
    dir: PathBuf,
}

impl Guarded {
    /// Starts the server in `dir`, which is removed when it has ended.
    pub(super) fn start(plan: &Plan, dir: TempDir) -> Result<Self> {
        eprintln!("+ {}", process::shown(&plan.command));
        // Not `current_exe`: a build may have replaced this program meanwhile.
        let this = Path::new("/proc/self/exe");
        let this = if this.exists() { this.to_owned() } else { env::current_exe()? };
        let mut guard = Command::new(this);
        guard.arg0("xtask").arg(GUARD).arg(dir.path()).args(&plan.finally).arg("--");
        guard.arg(plan.command.get_program()).args(plan.command.get_args());
        guard.env_clear().envs(plan.env.iter().map(|(name, value)| (name, value)));
        guard.envs(plan.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guard = guard.spawn().map_err(|error| format!("failed to start the server's guard: {error}"))?;
        Ok(Self { guard, dir: dir.keep() })
    }

    /// How the server ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        let gone = matches!(self.guard.try_wait(), Ok(Some(_)) | Err(_));
        fs::read_to_string(self.dir.join(ENDED))
            .ok()
            .or_else(|| gone.then(|| "its guard was ended".to_owned()))
    }

    /// Waits until the server ends by itself, and says how.
    pub(super) fn wait(&mut self) -> String {
        loop {
            if let Some(how) = self.ended() {
                return how;
            }
            thread::sleep(POLL);
        }
    }

    /// What the server wrote.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(LOG)).unwrap_or_default()).into_owned()
    }

    /// The process group of the guard and the server.
    pub(super) fn group(&self) -> u32 {
        self.guard.id()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Closes the pipe, and waits.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        // For a guard that was killed.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Guards one server: the arguments are its directory, what ends it besides a signal, `--`, and its command.
pub(crate) fn guard_child(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let split = args.iter().position(|arg| arg == "--");
    let parts = split.map(|at| (&args[..at], &args[at + 1..]));
    let Some(([dir, finally @ ..], [program, words @ ..])) = parts else {
        eprintln!("xtask: {GUARD} is not for you to call");
        return ExitCode::FAILURE;
    };
    let mut server = Command::new(program);
    mind(server.args(words), finally, Path::new(dir), io::stdin());
    ExitCode::SUCCESS
}

/// Runs the server until `lifeline` ends. What goes wrong is told in the directory.
fn mind(server: &mut Command, finally: &[OsString], dir: &Path, lifeline: impl Read + Send + 'static) {
    let (holder, cut) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut lifeline = lifeline;
        let _ = io::copy(&mut lifeline, &mut io::sink());
        drop(holder);
    });
    match start(server, dir) {
        Ok(mut child) => {
            while cut.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if let Ok(Some(status)) = child.try_wait() {
                    tell(dir, &status.to_string());
                    break;
                }
            }
            end(&mut child);
        }
        Err(error) => tell(dir, &format!("it could not be started: {error}")),
    }
    if let [program, words @ ..] = finally {
        let quiet = || Stdio::null();
        let _ = Command::new(program).args(words).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    }
    // Until then somebody may still read the log.
    let _ = cut.recv();
    let _ = fs::remove_dir_all(dir);
}

fn start(server: &mut Command, dir: &Path) -> io::Result<Child> {
    let log = File::create(dir.join(LOG))?;
    // A server that minds its standard input ends with it: also where this guard is killed.
    server.current_dir(dir).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()
}

/// Written beside and renamed: it is never seen half.
fn tell(dir: &Path, how: &str) {
    let beside = dir.join("ended.new");
    let _ = fs::write(&beside, how).and_then(|()| fs::rename(&beside, dir.join(ENDED)));
}

/// Ends the child by its id, which stays its own until it has been waited for.
fn end(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id())
        && matches!(child.try_wait(), Ok(None))
    {
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
            thread::sleep(POLL);
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Guards `script` until `look` returns, and returns what is left of its directory.
    fn guarded(script: &str, finally: &[&str], look: impl FnOnce(&Path)) -> TempDir {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("server");
        fs::create_dir(&dir).unwrap();
        let (lifeline, task) = io::pipe().unwrap();
        let minded = dir.clone();
        let (script, finally) = (script.to_owned(), finally.iter().map(OsString::from).collect::<Vec<_>>());
        let guard = thread::spawn(move || {
            mind(Command::new("sh").args(["-c", &script]), &finally, &minded, lifeline);
        });
        look(&dir);
        drop(task);
        guard.join().unwrap();
        assert!(!dir.exists(), "the directory is still there");
        parent
    }

    fn wait_for(path: &Path) -> String {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match fs::read_to_string(path) {
                Ok(text) if !text.is_empty() => return text,
                _ => assert!(Instant::now() < deadline, "{} does not come", path.display()),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn lives(id: &str) -> bool {
        kill(Pid::from_raw(id.trim().parse().unwrap()), None).is_ok()
    }

    #[test]
    fn a_server_ends_with_its_task() {
        let mut id = String::new();
        guarded("echo $$; exec sleep 600", &[], |dir| {
            id = wait_for(&dir.join(LOG));
            assert!(lives(&id));
        });
        assert!(!lives(&id));
    }

    #[test]
    fn a_server_that_does_not_want_to_end_is_killed() {
        let mut id = String::new();
        guarded("trap '' TERM; echo $$; while :; do sleep 0.01; done", &[], |dir| {
            id = wait_for(&dir.join(LOG));
        });
        assert!(!lives(&id));
    }

    #[test]
    fn a_server_that_dies_leaves_its_log_until_the_task_has_ended() {
        guarded("echo no luck >&2; exit 3", &[], |dir| {
            assert_eq!(wait_for(&dir.join(ENDED)), "exit status: 3");
            assert_eq!(wait_for(&dir.join(LOG)), "no luck\n");
        });
    }

    #[test]
    fn what_ends_a_server_besides_a_signal_is_done() {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let script = "echo done >\"$0\"";
        guarded("exec sleep 600", &["sh", "-c", script, mark.path().to_str().unwrap()], |_| {});
        assert_eq!(fs::read_to_string(mark.path()).unwrap(), "done\n");
        mark.as_file().flush().unwrap();
    }

    #[test]
    fn a_server_that_cannot_start_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (lifeline, task) = io::pipe().unwrap();
        let at = dir.path().to_owned();
        let guard = thread::spawn(move || mind(&mut Command::new("/no/such/server"), &[], &at, lifeline));
        assert!(wait_for(&dir.path().join(ENDED)).starts_with("it could not be started: "));
        drop(task);
        guard.join().unwrap();
    }
}
