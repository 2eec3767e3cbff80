//! The setup for remotes over SSH: an sshd, a slow link to it, a project with one output, and a directory for pulls.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::served::{KEPT, MADE, PULLED, PUSHED, Served, WHERE};
use super::{LINK_RTT_MS, remove};
use crate::bench::link::ShapedLink;
use crate::bench::measure::MeasuredCommand;
use crate::servers::TestBackend;
use crate::{Result, cargo};

const OBJECT_MIB: u32 = 512;

/// The bandwidth of the link. It is high, because the benchmark measures the effect of latency.
const LINK_MBIT: u32 = 10_000;

/// The first choice of all programs, including larder's libssh2.
const CIPHER: &str = "chacha20-poly1305@openssh.com";

pub(crate) struct Ssh {
    served: Served,
    link: ShapedLink,
    /// The account and the host: `USER@HOST`.
    account: String,
    /// The server's port, and the link's.
    ports: [String; 2],
    /// The server's directory, on this machine.
    data: PathBuf,
    /// The program that uses bare libssh2.
    libssh2: PathBuf,
}

/// The route to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Loopback,
    Link,
}

impl Ssh {
    /// Creates the data and the directories, and starts the server and the link.
    pub(crate) fn prepare(dir: &Path, larder: PathBuf) -> Result<Self> {
        let server = TestBackend::named("ssh")?.start(dir)?;
        let url = server.variable("LARDER_TEST_SSH_URL")?;
        let home = PathBuf::from(server.variable("LARDER_TEST_SSH_HOME")?);
        let split = url.strip_prefix("ssh://").and_then(|rest| rest.split_once('/'));
        let (authority, data) =
            split.ok_or_else(|| format!("{url} is not ssh://USER@HOST:PORT/DIRECTORY"))?;
        let (account, port) = authority.rsplit_once(':').ok_or_else(|| format!("{url} has no port"))?;
        let host = account.rsplit_once('@').map_or(account, |(_, host)| host);
        let link = ShapedLink::start(&format!("{host}:{port}"), LINK_RTT_MS, LINK_MBIT)?;
        let link_port = link.address.rsplit_once(':').map_or("", |(_, port)| port).to_owned();
        know_host_at(&home.join(".ssh/known_hosts"), port, &link_port)?;
        let ports = [port.to_owned(), link_port];
        let (account, data) = (account.to_owned(), Path::new("/").join(data));
        Ok(Self {
            served: Served { home, ..Served::prepare(dir, larder, server, OBJECT_MIB)? },
            link,
            account,
            ports,
            data,
            libssh2: cargo::build_benchmark("larder-backend-ssh", "libssh2")?,
        })
    }

    /// Describes the server and the peers, one line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        vec![
            format!("sshd, scp and sftp: {}, {WHERE}", self.served.server.program),
            format!("cipher: {CIPHER}"),
            format!("link: a proxy with a round trip of {LINK_RTT_MS} ms, at {}", self.link.address),
        ]
    }

    /// Prints the end of the server's log, after a failure.
    pub(crate) fn show_log(&self) {
        self.served.show_log();
    }

    fn port(&self, way: Way) -> &str {
        match way {
            Way::Loopback => &self.ports[0],
            Way::Link => &self.ports[1],
        }
    }

    /// Returns the URL of a remote.
    fn remote(&self, way: Way, name: &str) -> String {
        format!("ssh://{}:{}{}/{name}", self.account, self.port(way), self.data.display())
    }

    /// Creates a subject that removes pushed files first.
    fn pushing<'a>(&'a self, command: impl Fn() -> Command + 'a) -> MeasuredCommand<'a> {
        let remove_pushed = || {
            let pushed = self.data.join(PUSHED);
            remove(&pushed)?;
            Ok(fs::create_dir(pushed)?)
        };
        self.served.pushing(remove_pushed, command)
    }

    /// Returns `larder push` to an empty remote.
    pub(crate) fn larder_push(&self, way: Way) -> MeasuredCommand<'_> {
        self.pushing(move || self.served.push(&self.remote(way, PUSHED)))
    }

    /// Returns an upload with `scp`.
    pub(crate) fn scp_push(&self, way: Way) -> MeasuredCommand<'_> {
        let to = format!("larder:{}", self.data.join(PUSHED).join(MADE).display());
        self.pushing(move || self.peer("scp", way, &["-q", MADE, &to], "project"))
    }

    /// Returns an upload with `sftp`.
    pub(crate) fn sftp_push(&self, way: Way) -> Result<MeasuredCommand<'_>> {
        let batch =
            self.batch("put", &format!("put {MADE} {}", self.data.join(PUSHED).join(MADE).display()))?;
        Ok(self.pushing(move || self.peer("sftp", way, &["-q", "-b", &batch, "larder"], "project")))
    }

    /// Pushes the object for all pulls, once, and returns its path.
    pub(crate) fn prepare_pulls(&self) -> Result<PathBuf> {
        let found = self.served.prepare_pulls(&self.remote(Way::Loopback, KEPT))?;
        let data = self.data.display().to_string();
        let path = found.find(&data).map(|start| &found[start..]);
        Ok(path.ok_or_else(|| format!("{found} is not below {data}"))?.into())
    }

    /// Returns `larder pull` of that object into an empty directory.
    pub(crate) fn larder_pull(&self, way: Way) -> MeasuredCommand<'_> {
        self.served.pulling(move || self.served.pull(&self.remote(way, KEPT)))
    }

    /// Returns a download with `scp`.
    pub(crate) fn scp_pull<'a>(&'a self, way: Way, kept: &Path) -> MeasuredCommand<'a> {
        let from = format!("larder:{}", kept.display());
        self.served.pulling(move || self.peer("scp", way, &["-q", &from, PULLED], "restored"))
    }

    /// Returns a download with `sftp`.
    pub(crate) fn sftp_pull<'a>(&'a self, way: Way, kept: &Path) -> Result<MeasuredCommand<'a>> {
        let batch = self.batch("get", &format!("get {} {PULLED}", kept.display()))?;
        Ok(self.served.pulling(move || self.peer("sftp", way, &["-q", "-b", &batch, "larder"], "restored")))
    }

    /// Returns an upload with bare libssh2.
    pub(crate) fn libssh2_push(&self, way: Way) -> MeasuredCommand<'_> {
        let to = self.data.join(PUSHED).join(MADE);
        self.pushing(move || self.libssh2("put", way, &to, "project"))
    }

    /// Returns a download with bare libssh2.
    pub(crate) fn libssh2_pull<'a>(&'a self, way: Way, kept: &'a Path) -> MeasuredCommand<'a> {
        self.served.pulling(move || self.libssh2("get", way, kept, "restored"))
    }

    fn libssh2(&self, verb: &str, way: Way, remote: &Path, place: &str) -> Command {
        let mut command = self.served.client(&self.libssh2, place);
        let (user, host) = self.account.split_once('@').unwrap_or(("", &self.account));
        command.args([verb, user, &format!("{host}:{}", self.port(way))]);
        command.arg(self.served.home.join(".ssh/id_ed25519")).arg(remote).arg(MADE);
        command
    }

    /// Writes a file with one line for `sftp -b`, and returns its path.
    fn batch(&self, name: &str, line: &str) -> Result<String> {
        let path = self.served.stage.at(&format!("{name}.sftp"));
        fs::write(&path, format!("{line}\n"))?;
        Ok(path.display().to_string())
    }

    /// Creates a command for one of OpenSSH's programs, with the server's client configuration.
    fn peer(&self, program: &str, way: Way, args: &[&str], place: &str) -> Command {
        let mut command = self.served.client(program, place);
        command.arg("-F").arg(self.served.home.join(".ssh/config"));
        command.args(["-o", &format!("Ciphers={CIPHER}"), "-o", &format!("Port={}", self.port(way))]);
        command.args(args);
        command
    }
}

/// Adds the host at another port to `known_hosts`.
fn know_host_at(known_hosts: &Path, port: &str, other: &str) -> Result<()> {
    let known = fs::read_to_string(known_hosts)?;
    let at = |port: &str| format!("]:{port} ");
    let lines: Vec<String> = known.lines().map(|line| line.replacen(&at(port), &at(other), 1)).collect();
    let mut file = OpenOptions::new().append(true).open(known_hosts)?;
    Ok(writeln!(file, "{}", lines.join("\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_at_both_ports() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, "[127.0.0.1]:22 ssh-ed25519 A\n").unwrap();
        know_host_at(&path, "22", "2222").unwrap();
        let known = fs::read_to_string(&path).unwrap();
        assert_eq!(known, "[127.0.0.1]:22 ssh-ed25519 A\n[127.0.0.1]:2222 ssh-ed25519 A\n");
    }
}
