//! Which sshd is taken.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::servers::Machine;
use crate::{Result, process};

/// Where it is on systems whose users do not have it on `PATH`.
const PLACES: [&str; 5] = [
    "/usr/sbin/sshd",
    "/usr/local/sbin/sshd",
    "/usr/lib/ssh/sshd",
    "/usr/libexec/sshd",
    "/opt/homebrew/sbin/sshd",
];

/// For a program that is asked for its version.
const PATIENCE: Duration = Duration::from_secs(10);

const ADVICE: &str = "install OpenSSH (on Debian: `apt-get install openssh-server openssh-client`), or put the path of sshd \
    into $SSHD, or name another server in LARDER_TEST_SSH_URL and LARDER_TEST_SSH_HOME";

/// What makes a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) sshd: PathBuf,
    /// What sshd says that it is.
    pub(super) version: String,
    pub(super) keygen: PathBuf,
}

/// Takes the first of: `$SSHD`, `sshd` on `PATH`, the one where systems keep it.
pub(super) fn find(machine: &Machine, variable: Option<OsString>) -> Result<Programs> {
    find_in(machine, variable, &PLACES.map(PathBuf::from))
}

fn find_in(machine: &Machine, variable: Option<OsString>, places: &[PathBuf]) -> Result<Programs> {
    let (sshd, version) = match variable.filter(|value| !value.is_empty()) {
        Some(named) => from_variable(machine, &named)?,
        None => machine
            .program("sshd")
            .into_iter()
            .chain(places.iter().cloned())
            .find_map(|path| version(&path).map(|version| (path, version)))
            .ok_or_else(|| format!("there is no sshd: {ADVICE}"))?,
    };
    let keygen = machine.program("ssh-keygen").ok_or_else(|| format!("there is no ssh-keygen: {ADVICE}"))?;
    eprintln!("xtask: sshd: {}, {version}", sshd.display());
    Ok(Programs { sshd, version, keygen })
}

/// What somebody names is taken or refused, never passed over.
fn from_variable(machine: &Machine, named: &OsStr) -> Result<(PathBuf, String)> {
    let has_directory = Path::new(named).components().count() > 1;
    let path = match named.to_str() {
        Some(name) if !has_directory => machine.program(name),
        _ => None,
    };
    // It starts itself again for each connection, and wants to know where it is.
    let path = path.map_or_else(|| std::path::absolute(named), Ok)?;
    match version(&path) {
        Some(version) => Ok((path, version)),
        None => Err(format!("$SSHD is {}, which says no version of OpenSSH", path.display()).into()),
    }
}

/// Its version, if this is OpenSSH's sshd.
fn version(path: &Path) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    // Versions before 9.3 do not know the option, and say their version in the complaint.
    let script = "\"$0\" -V 2>&1 || true";
    let text = process::answer(Command::new("sh").args(["-c", script]).arg(path), PATIENCE)?;
    text.lines().find(|line| line.starts_with("OpenSSH_")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A machine with programs that the test writes.
    struct Fake {
        dir: TempDir,
        machine: Machine,
    }

    impl Fake {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let machine = Machine { path: vec![dir.path().join("bin")], cache: dir.path().join("cache") };
            Self { dir, machine }
        }

        fn program(&self, path: &str, script: &str) -> PathBuf {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Written by another process: while this one holds it open for writing, a test beside may fork, and then it
            // cannot be executed.
            let write = "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod +x \"$0\"";
            assert!(
                Command::new("sh").args(["-c", write]).arg(&path).arg(script).status().unwrap().success()
            );
            path
        }

        fn find(&self, variable: &str) -> Result<PathBuf> {
            let places = [self.dir.path().join("sbin/sshd")];
            find_in(&self.machine, Some(variable.into()), &places).map(|programs| programs.sshd)
        }
    }

    const OLD: &str = "echo 'unknown option -- V' >&2; echo OpenSSH_9.2p1, OpenSSL >&2; exit 1";
    const NEW: &str = "echo OpenSSH_9.9p2, OpenSSL";

    #[test]
    fn the_nearest_is_taken() {
        let fake = Fake::new();
        fake.program("bin/ssh-keygen", "");
        let system = fake.program("sbin/sshd", OLD);
        assert_eq!(fake.find("").unwrap(), system);
        let on_path = fake.program("bin/sshd", NEW);
        assert_eq!(fake.find("").unwrap(), on_path);
        let named = fake.program("elsewhere/my-sshd", NEW);
        assert_eq!(fake.find(named.to_str().unwrap()).unwrap(), named);
        assert_eq!(fake.find("sshd").unwrap(), on_path);
    }

    #[test]
    fn what_is_named_is_never_passed_over() {
        let fake = Fake::new();
        fake.program("bin/ssh-keygen", "");
        fake.program("bin/sshd", NEW);
        let other = fake.program("elsewhere/sshd", "echo dropbear");
        for wrong in [other.to_str().unwrap(), "/no/such/sshd"] {
            let error = fake.find(wrong).unwrap_err().to_string();
            assert!(error.contains("$SSHD is") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn where_there_is_none_one_line_says_how_to_get_it() {
        let fake = Fake::new();
        fake.program("sbin/sshd", "exit 1");
        let error = fake.find("").unwrap_err().to_string();
        assert!(error.contains("no sshd") && error.contains("apt-get install openssh-server"), "{error}");
        assert!(!error.contains('\n'));
        fake.program("sbin/sshd", OLD);
        let error = fake.find("").unwrap_err().to_string();
        assert!(error.contains("no ssh-keygen") && error.contains("openssh-client"), "{error}");
    }
}
