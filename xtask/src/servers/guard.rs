//! A server that stops with the task that started it, even if the task is interrupted or killed.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tempfile::TempDir;

use crate::{Result, process};

/// A shell script that is the server's parent.
const GUARD: &str = include_str!("guard.sh");

const POLL: Duration = Duration::from_millis(20);
/// The time for a server to become ready. It takes less than 3 s on an idle machine.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// A server with its guard.
pub(super) struct GuardedServer {
    name: &'static str,
    guard: Child,
    dir: PathBuf,
}

impl GuardedServer {
    /// Starts the server in `dir`, which is removed when the server has stopped. Of the caller's variables it gets only
    /// `PATH`.
    pub(super) fn start(name: &'static str, server: &Command, dir: TempDir) -> Result<Self> {
        eprintln!("+ {}", process::shown(server));
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(dir.path()).arg(server.get_program()).args(server.get_args());
        guard.env_clear().env("HOME", dir.path()).env("TMPDIR", dir.path());
        guard.envs(env::var_os("PATH").map(|path| ("PATH", path)));
        guard.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // Use a new process group, so that Ctrl-C reaches only the task.
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let guard = guard.spawn().map_err(|error| format!("failed to start the guard of {name}: {error}"))?;
        Ok(Self { name, guard, dir: dir.keep() })
    }

    /// Waits until `ready` finds in the log that the server is ready. Returns `None` if another program took its port.
    pub(super) fn wait_until_ready<T>(&mut self, ready: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let (ended, log) = (self.ended(), self.log());
            if let Some(ready) = ready(&log) {
                let dir = self.dir.display();
                eprintln!("xtask: {} is ready, in process group {}, in {dir}", self.name, self.guard.id());
                return Ok(Some(ready));
            }
            let problem = match ended {
                Some(_) if is_port_taken(&log) => return Ok(None),
                Some(how) => format!("ended before it was ready ({how})"),
                None if Instant::now() >= deadline => {
                    format!("was not ready after {} s", READY_TIMEOUT.as_secs())
                }
                None => {
                    thread::sleep(POLL);
                    continue;
                }
            };
            return Err(format!("{} {problem}; its log:\n{log}", self.name).into());
        }
    }

    /// Returns how the server stopped, if it did.
    fn ended(&mut self) -> Option<String> {
        let is_gone = matches!(self.guard.try_wait(), Ok(Some(_)) | Err(_));
        let how = fs::read_to_string(self.dir.join("ended")).ok().map(|how| how.trim().to_owned());
        how.or_else(|| is_gone.then(|| "its guard was killed".to_owned()))
    }

    /// Waits until the server stops by itself, and returns how.
    pub(super) fn wait(&mut self) -> String {
        loop {
            if let Some(how) = self.ended() {
                return how;
            }
            thread::sleep(POLL);
        }
    }

    /// Returns the server's log.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for GuardedServer {
    fn drop(&mut self) {
        // Close the pipe, and wait for the guard.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        // A guard that was killed leaves the directory.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn is_port_taken(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("port is already in use")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn start(script: &str) -> GuardedServer {
        let mut server = Command::new("sh");
        server.args(["-c", script]);
        GuardedServer::start("a server", &server, tempfile::tempdir().unwrap()).unwrap()
    }

    fn id(server: &mut GuardedServer) -> String {
        let line = |log: &str| log.split_once('\n').map(|(line, _)| line.to_owned());
        server.wait_until_ready(line).unwrap().unwrap()
    }

    fn lives(id: &str) -> bool {
        Path::new("/proc").join(id).exists()
    }

    #[test]
    fn a_server_ends_with_its_task_even_if_it_ignores_sigterm() {
        for script in ["echo $$; exec sleep 600", "trap '' TERM; echo $$; while :; do sleep 0.01; done"] {
            let mut server = start(script);
            let (id, dir) = (id(&mut server), server.dir.clone());
            assert!(lives(&id) && dir.exists());
            drop(server);
            assert!(!lives(&id) && !dir.exists(), "{script}");
        }
    }

    #[test]
    fn a_server_that_fails_leaves_its_log() {
        let mut server = start("echo no luck >&2; exit 3");
        assert_eq!((server.wait(), server.log()), ("exit status 3".to_owned(), "no luck\n".to_owned()));
        let error = start("exit 3").wait_until_ready(|_| None::<()>).unwrap_err().to_string();
        assert!(error.contains("ended before it was ready (exit status 3)"), "{error}");
        let mut collided = start("echo bind: Address already in use >&2; exit 1");
        assert!(collided.wait_until_ready(|_| None::<()>).unwrap().is_none());
    }
}
