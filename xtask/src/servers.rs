//! Real servers that tests run against: one file a server. They listen on random loopback ports, keep their data in a
//! temporary directory, take fresh credentials, and end with this process.

mod gcs;
pub(crate) mod go;
mod guard;
mod minio;
mod sshd;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

pub(crate) use guard::{GUARD, guard_child};
pub(crate) use minio::fetch as fetch_minio;

use crate::Result;
use guard::Guarded;

/// A backend whose tests need a server.
pub(crate) struct Backend {
    /// What it is called on the command line; its test targets are called `<name>_…`.
    pub(crate) name: &'static str,
    /// The variable with the URL under which tests may write: where the caller has set it, that server is taken as it is.
    pub(crate) variable: &'static str,
    /// Starts a server.
    start: fn(&Site<'_>) -> Result<Server>,
    /// What the crate's example takes behind its file, from the variables that lead clients to the server.
    example: fn(&Variables<'_>) -> Option<Vec<String>>,
}

/// Where a server is started.
pub(crate) struct Site<'a> {
    /// Its data are in a directory below this one.
    pub(crate) dir: &'a Path,
    /// The server for Google Cloud Storage, if it was built already.
    pub(crate) gcs_server: Option<&'a Path>,
}

/// Gives the value of a variable.
type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Every backend with a server.
pub(crate) const BACKENDS: &[Backend] = &[minio::S3, gcs::GCS, sshd::SSH];

impl Backend {
    /// The backend of this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        BACKENDS.iter().find(|backend| backend.name == name).ok_or_else(|| {
            let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
            format!("no tests of the backend `{name}` need a server: it is one of {}", names.join(", "))
                .into()
        })
    }

    /// The server that the environment names, else a new one.
    pub(crate) fn server(&self, site: &Site<'_>) -> Result<Server> {
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
        (self.start)(&Site { dir, gcs_server: None })
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
    guarded: Option<Guarded>,
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
        self.guarded.as_mut().map(Guarded::wait)
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// What of the machine decides which server is taken.
pub(crate) struct Machine {
    /// The directories of `PATH`.
    path: Vec<PathBuf>,
    /// Where programs are kept that were made here.
    cache: PathBuf,
}

impl Machine {
    pub(crate) fn this() -> Result<Self> {
        let path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        Ok(Self { path, cache: cache(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))? })
    }

    /// The program of this name.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let runs = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        self.path.iter().map(|dir| dir.join(name)).find(runs)
    }
}

fn cache(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf> {
    let absolute = |dir: Option<OsString>| dir.map(PathBuf::from).filter(|dir: &PathBuf| dir.is_absolute());
    let base = absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".cache")));
    let base = base.ok_or("neither XDG_CACHE_HOME nor HOME names a directory: servers are kept there")?;
    Ok(base.join("larder/xtask"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_caches_are() {
        let cache = |xdg: &str, home: &str| cache(Some(xdg.into()), Some(home.into()));
        assert_eq!(cache("/c", "/h").unwrap(), Path::new("/c/larder/xtask"));
        // A relative one is to be ignored, says the specification of these variables.
        assert_eq!(cache("c", "/h").unwrap(), Path::new("/h/.cache/larder/xtask"));
        assert!(cache("", "").is_err());
    }

    #[test]
    fn backends_are_known_by_name() {
        assert_eq!(Backend::named("s3").unwrap().variable, "LARDER_TEST_S3_URL");
        assert_eq!(Backend::named("gcs").unwrap().variable, "LARDER_TEST_GCS_URL");
        assert_eq!(Backend::named("ssh").unwrap().variable, "LARDER_TEST_SSH_URL");
        assert!(Backend::named("s4").err().unwrap().to_string().ends_with("it is one of s3, gcs, ssh"));
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a\n", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
