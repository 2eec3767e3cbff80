//! Reaching the host through another program: `ProxyJump` and `ProxyCommand`.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use larder_backend::ErrorKind;

use crate::config::{SshConfig, is_safe_host};
use crate::error::Trouble;

/// The number of bytes of the program's messages that are kept for an error.
const KEPT: usize = 4096;

/// A program whose standard input and output are the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    /// A command for the shell.
    Command(String),
    /// The arguments of `ssh`.
    Jump(Vec<OsString>),
}

impl Proxy {
    /// Jumps over hosts, which `ssh` logs in to in this order.
    pub(crate) fn jump(jumps: &[String], host: &str, port: u16, config: &SshConfig) -> Result<Self, Trouble> {
        let jumps: Vec<&str> = jumps.iter().flat_map(|jumps| jumps.split(',')).map(str::trim).collect();
        let is_safe = |jump: &&str| {
            let jump = jump.strip_prefix("ssh://").unwrap_or(jump);
            let host = jump.rsplit_once('@').map_or(jump, |(_, host)| host);
            !jump.starts_with('-') && is_safe_host(host.trim_start_matches('[').replace(']', "").as_str())
        };
        let Some((last, before)) = jumps.split_last().filter(|_| jumps.iter().all(is_safe)) else {
            return Err(Trouble::new(ErrorKind::InvalidInput)
                .with_hint("ProxyJump in the configuration of SSH names no usual host"));
        };
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(file) = config.config_files.first().filter(|file| file.is_file()) {
            arguments.extend(["-F".into(), file.into()]);
        }
        if !before.is_empty() {
            arguments.extend(["-J".into(), before.join(",").into()]);
        }
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        arguments.extend(["-W".into(), format!("{bracketed}:{port}").into()]);
        // Only a URL can have a port.
        let last = if last.starts_with("ssh://") { (*last).to_owned() } else { format!("ssh://{last}") };
        arguments.extend(["--".into(), last.into()]);
        Ok(Self::Jump(arguments))
    }

    /// Starts the program.
    pub(crate) fn start(&self) -> io::Result<(UnixStream, Running)> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = match self {
            Self::Command(line) => {
                let mut command = Command::new("/bin/sh");
                command.arg("-c").arg(format!("exec {line}"));
                command
            }
            Self::Jump(arguments) => {
                let mut command = Command::new("ssh");
                command.args(arguments);
                command
            }
        };
        command
            .stdin(OwnedFd::from(theirs.try_clone()?))
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut listener = None;
        if let Some(mut stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            // Ends with the program.
            let listens = thread::Builder::new().name("larder-ssh-proxy".to_owned()).spawn(move || {
                let mut buffer = [0; 512];
                while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    said.extend_from_slice(&buffer[..count]);
                    let excess = said.len().saturating_sub(KEPT);
                    said.drain(..excess);
                }
            })?;
            listener = Some(listens);
        }
        Ok((ours, Running { child, listener, said }))
    }
}

/// The time in which a program may write why it failed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running program. Dropping it ends the program.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Reads the messages of the program.
    listener: Option<thread::JoinHandle<()>>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    /// Returns what the program wrote to its standard error. Its connection is closed, so it ends soon.
    pub(crate) fn said(self) -> String {
        let begun = Instant::now();
        while self.listener.as_ref().is_some_and(|listener| !listener.is_finished())
            && begun.elapsed() < LAST_WORDS
        {
            thread::sleep(LAST_WORDS / 50);
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RemotePath;

    #[test]
    fn a_jump_is_a_call_of_ssh_without_a_shell() {
        let config = SshConfig::new("h", RemotePath::Home(String::new()));
        let jumps = ["one".to_owned(), "me@two:2200".to_owned()];
        let Ok(Proxy::Jump(arguments)) = Proxy::jump(&jumps, "h", 22, &config) else { panic!("a jump") };
        assert_eq!(arguments, ["-J", "one", "-W", "h:22", "--", "ssh://me@two:2200"]);
        for bad in ["-oProxyCommand=x", "a b", "x;y", ""] {
            assert!(Proxy::jump(&[bad.to_owned()], "h", 22, &config).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_program_is_the_connection() {
        use std::io::Write as _;
        let (mut stream, _running) = Proxy::Command("cat".to_owned()).start().unwrap();
        stream.write_all(b"there and back").unwrap();
        let mut back = [0; 14];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"there and back");
    }
}
