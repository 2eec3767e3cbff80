//! Real servers for tests, one file each. They listen on random loopback ports, keep their data in a temporary directory,
//! take fresh credentials, and end with this process.

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
    /// What it is called on the command line; its test targets are called `<name>_…`.
    pub(crate) name: &'static str,
    /// The variable with the URL under which tests may write: where the caller has set it, that server is taken as it is.
    pub(crate) variable: &'static str,
    /// Starts a server.
    start: fn(&ServerSite<'_>) -> Result<Server>,
    /// What the crate's example takes behind its file, from the variables that lead clients to the server.
    example: fn(&Variables<'_>) -> Option<Vec<String>>,
}

/// Where a server is started.
pub(crate) struct ServerSite<'a> {
    /// Its data are in a directory below this one.
    pub(crate) dir: &'a Path,
    /// The server for Google Cloud Storage, if it was built already.
    pub(crate) gcs_server: Option<&'a Path>,
}

/// Gives the value of a variable.
type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Every backend with a server.
pub(crate) const BACKENDS: &[&TestBackend] = &[&minio::S3, &gcs::GCS, &sshd::SSH];

impl TestBackend {
    /// The backend of this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        let found = BACKENDS.iter().find(|backend| backend.name == name).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
            format!("no tests of this backend need a server: it is one of {}", names.join(", "))
        })
    }

    /// The server that the environment names, else a new one.
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

    /// The arguments that lead the crate's example to the server, behind its file.
    pub(crate) fn example_arguments(&self, server: &Server) -> Result<Vec<String>> {
        let variables = |wanted: &str| {
            let given = server.env.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
            given.or_else(|| env::var(wanted).ok())
        };
        let arguments = (self.example)(&variables);
        arguments.ok_or_else(|| format!("{} is not what CONTRIBUTING.md says", self.variable).into())
    }

    /// A new server, whatever the environment names.
    pub(crate) fn start(&self, dir: &Path) -> Result<Server> {
        (self.start)(&ServerSite { dir, gcs_server: None })
    }
}

/// A server that answers; one that was started here ends when this is dropped.
pub(crate) struct Server {
    /// The variables that lead clients to it.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Variables of the caller that would lead them elsewhere.
    hidden: Vec<OsString>,
    /// What it is, with its version.
    pub(crate) program: String,
    /// What a person may want to know, a line each.
    pub(crate) about: Vec<String>,
    guarded: Option<GuardedServer>,
}

impl Server {
    /// Leads a command to it.
    pub(crate) fn lead(&self, command: &mut Command) {
        for name in &self.hidden {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    /// The value of a variable that leads clients to it.
    pub(crate) fn variable(&self, name: &str) -> Result<&str> {
        let found = self.env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        Ok(found.ok_or_else(|| format!("the server has no {name}"))?)
    }

    /// Shows the last lines of its log, for when something has failed.
    pub(crate) fn show_log(&self, lines: usize) {
        if let Some(log) = self.log_tail(lines) {
            eprintln!("\n--- the last {lines} lines of the server's log\n{log}\n---");
        }
    }

    /// The last lines of its log, where it was started here.
    pub(crate) fn log_tail(&self, lines: usize) -> Option<String> {
        self.guarded.as_ref().map(|guarded| tail(&guarded.log(), lines))
    }

    /// Waits until it ends by itself, and says how; for one that was not started here there is nothing to wait for.
    pub(crate) fn wait(&mut self) -> Option<String> {
        self.guarded.as_mut().map(GuardedServer::wait)
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Makes a directory for a server below `dir`.
fn temporary_dir(prefix: &str, dir: &Path) -> Result<TempDir> {
    let made =
        std::path::absolute(dir).and_then(|dir| tempfile::Builder::new().prefix(prefix).tempdir_in(dir));
    made.map_err(|error| format!("failed to make a directory in {}: {error}", dir.display()).into())
}

/// Two ports of the loopback interface on which nobody listens.
fn free_ports() -> io::Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Both at once, or they may be the same.
    let (one, other) = (listen()?, listen()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// Starts a server, again while another program takes its port between the choice and the start.
fn retry_ports(name: &str, attempt: impl Fn() -> Result<Option<Server>>) -> Result<Server> {
    for _ in 0..5 {
        if let Some(server) = attempt()? {
            return Ok(server);
        }
        eprintln!("xtask: another program has taken the port of {name}: trying another");
    }
    Err(format!("{name} found its port taken five times").into())
}

/// Whether a variable names a proxy.
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
        assert!(TestBackend::named("s4").err().unwrap().ends_with("it is one of s3, gcs, ssh"));
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\n", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
