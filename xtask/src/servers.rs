//! Real servers for tests, one file each. They listen on random loopback ports, keep their data in a temporary directory,
//! use fresh credentials, and stop with this process.

mod gcs;
mod guard;
mod minio;
mod sshd;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

pub(crate) use minio::fetch as fetch_minio;

use crate::Result;
use guard::GuardedServer;

/// A backend whose tests need a server.
pub(crate) struct TestBackend {
    /// Its name on the command line. Its test targets are called `<name>_…`.
    pub(crate) name: &'static str,
    /// The variable with the URL below which tests may write. If the caller has set it, no server is started.
    pub(crate) variable: &'static str,
    /// Starts a server.
    start: fn(&ServerSite<'_>) -> Result<Server>,
    /// Returns the arguments of the crate's example after the file, computed from the server's variables.
    example: fn(&VariableLookup<'_>) -> Option<Vec<String>>,
}

/// The environment in which a server starts.
pub(crate) struct ServerSite<'a> {
    /// The parent of the server's data directory.
    pub(crate) dir: &'a Path,
    /// The server for Google Cloud Storage, if it is already built.
    pub(crate) gcs_server: Option<&'a Path>,
}

/// Returns the value of a variable.
type VariableLookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Every backend with a server.
pub(crate) const BACKENDS: &[&TestBackend] = &[&minio::S3, &gcs::GCS, &sshd::SSH];

impl TestBackend {
    /// Finds the backend of this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        let found = BACKENDS.iter().find(|backend| backend.name == name).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
            format!("unknown backend; the backends with a server are {}", names.join(", "))
        })
    }

    /// Returns the server that the environment names, or starts a new one.
    pub(crate) fn server(&self, site: &ServerSite<'_>) -> Result<Server> {
        let given = env::var_os(self.variable).filter(|url| !url.is_empty());
        match given {
            Some(url) => {
                let url = url.to_string_lossy();
                eprintln!("xtask: {}: the server of {}={url}", self.name, self.variable);
                let program = url.into_owned();
                Ok(Server { program, env: Vec::new(), hidden: Vec::new(), about: Vec::new(), guarded: None })
            }
            None => (self.start)(site),
        }
    }

    /// Returns the arguments of the crate's example after the file.
    pub(crate) fn example_arguments(&self, server: &Server) -> Result<Vec<String>> {
        let variables = |wanted: &str| {
            let given = server.env.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
            given.or_else(|| env::var(wanted).ok())
        };
        let arguments = (self.example)(&variables);
        arguments.ok_or_else(|| {
            format!("{} has the wrong format; CONTRIBUTING.md describes it", self.variable).into()
        })
    }

    /// Starts a new server, even if the environment names one.
    pub(crate) fn start(&self, dir: &Path) -> Result<Server> {
        (self.start)(&ServerSite { dir, gcs_server: None })
    }
}

/// A ready server. If this process started it, drop stops it.
pub(crate) struct Server {
    /// The variables with which clients find it.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Variables of the caller that conflict with them.
    hidden: Vec<OsString>,
    /// The program and its version.
    pub(crate) program: String,
    /// Hints for manual use, one per line.
    pub(crate) about: Vec<String>,
    guarded: Option<GuardedServer>,
}

impl Server {
    /// Sets the variables for a command.
    pub(crate) fn set_env(&self, command: &mut Command) {
        for name in &self.hidden {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    /// Returns the value of one of its variables.
    pub(crate) fn variable(&self, name: &str) -> Result<&str> {
        let found = self.env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        Ok(found.ok_or_else(|| format!("the server has no {name}"))?)
    }

    /// Prints the last lines of its log, after a failure.
    pub(crate) fn show_log(&self, lines: usize) {
        if let Some(log) = self.log_tail(lines) {
            eprintln!("\n--- the last {lines} lines of the server's log\n{log}\n---");
        }
    }

    /// Returns the last lines of its log, if this process started it.
    pub(crate) fn log_tail(&self, lines: usize) -> Option<String> {
        self.guarded.as_ref().map(|guarded| tail(&guarded.log(), lines))
    }

    /// Waits until the server stops by itself, and returns how. Returns `None` if this process did not start it.
    pub(crate) fn wait(&mut self) -> Option<String> {
        self.guarded.as_mut().map(GuardedServer::wait)
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Creates a directory for a server below `dir`.
fn temporary_dir(prefix: &str, dir: &Path) -> Result<TempDir> {
    let made =
        std::path::absolute(dir).and_then(|dir| tempfile::Builder::new().prefix(prefix).tempdir_in(dir));
    made.map_err(|error| format!("failed to create a directory in {}: {error}", dir.display()).into())
}

/// Returns two free ports of the loopback interface.
fn free_ports() -> io::Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Hold both at once, so that they differ.
    let (one, other) = (listen()?, listen()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// Starts a server. Retries if another program takes its port between the choice and the start.
fn retry_ports(name: &str, attempt: impl Fn() -> Result<Option<Server>>) -> Result<Server> {
    for _ in 0..5 {
        if let Some(server) = attempt()? {
            return Ok(server);
        }
        eprintln!("xtask: another program has taken the port of {name}; trying another port");
    }
    Err(format!("{name} failed to start: other programs took its port five times").into())
}

/// Whether a variable sets a proxy.
fn is_proxy(name: &OsStr) -> bool {
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY"];
    proxies.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_known_by_name() {
        assert_eq!(TestBackend::named("s3").unwrap().variable, "LARDER_TEST_S3_URL");
        assert_eq!(TestBackend::named("gcs").unwrap().variable, "LARDER_TEST_GCS_URL");
        assert_eq!(TestBackend::named("ssh").unwrap().variable, "LARDER_TEST_SSH_URL");
        assert!(
            TestBackend::named("s4").err().unwrap().ends_with("the backends with a server are s3, gcs, ssh")
        );
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\n", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
