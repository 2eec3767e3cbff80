//! For remotes over SSH: an sshd, a long link to it, a project with one output, and a place to restore to.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LINK_RTT_MS, Stage, remove};
use crate::bench::data;
use crate::bench::link::Link;
use crate::bench::measure::Subject;
use crate::servers::{Backend, Server};
use crate::{Result, process};

/// What is pushed and pulled, in the project.
const MADE: &str = "object.bin";
const OBJECT_MIB: u32 = 512;

/// The link is wide: what is measured is how the programs bear that every answer takes its time.
const LINK_MBIT: u32 = 10_000;

/// The one that all of them, larder's libssh2 too, ask for first.
const CIPHER: &str = "chacha20-poly1305@openssh.com";

/// Where pushes go, and where what is pulled is, below the server's directory.
const PUSHED: &str = "pushed";
const KEPT: &str = "kept";
/// What peers pull to.
const PULLED: &str = "pulled.bin";
/// Whatever pulls leave.
const RESTORED: [&str; 3] = ["restored/object.bin", "restored/pulled.bin", "restored/.larder"];

pub(crate) struct Ssh {
    stage: Stage,
    server: Server,
    link: Link,
    /// Whoever logs in, and where to: `USER@HOST`.
    account: String,
    /// The server's port, and the link's.
    ports: [String; 2],
    /// The server's directory, on this machine.
    data: PathBuf,
    /// The clients' home.
    home: PathBuf,
}

/// Which way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Loopback,
    Link,
}

impl Ssh {
    /// Makes the data and the places, and starts the servers.
    pub(crate) fn set(dir: &Path, larder: PathBuf) -> Result<Self> {
        let stage = Stage::new(dir, larder, &[])?;
        let server = Backend::named("ssh")?.start(dir)?;
        let url = server.variable("LARDER_TEST_SSH_URL")?;
        let home = PathBuf::from(server.variable("LARDER_TEST_SSH_HOME")?);
        let split = url.strip_prefix("ssh://").and_then(|rest| rest.split_once('/'));
        let (authority, data) =
            split.ok_or_else(|| format!("{url} is not ssh://USER@HOST:PORT/DIRECTORY"))?;
        let (account, port) = authority.rsplit_once(':').ok_or_else(|| format!("{url} has no port"))?;
        let host = account.rsplit_once('@').map_or(account, |(_, host)| host);
        let link = Link::start(&format!("{host}:{port}"), LINK_RTT_MS, LINK_MBIT)?;
        let link_port = link.address.rsplit_once(':').map_or("", |(_, port)| port).to_owned();
        know_host_at(&home.join(".ssh/known_hosts"), port, &link_port)?;
        let ports = [port.to_owned(), link_port];
        let (account, data) = (account.to_owned(), Path::new("/").join(data));
        eprintln!("xtask: making the data");
        data::incompressible(&stage.at("project").join(MADE), OBJECT_MIB)?;
        Ok(Self { stage, server, link, account, ports, data, home })
    }

    /// The server and the peers, a line each.
    pub(crate) fn describe(&self) -> Vec<String> {
        vec![
            format!(
                "sshd, scp and sftp: {}, on the same machine and the same file system",
                self.server.program
            ),
            format!("cipher of all: {CIPHER}"),
            format!("link: a proxy with a round trip of {LINK_RTT_MS} ms, at {}", self.link.address),
        ]
    }

    /// Shows the end of the server's log, for when something has failed.
    pub(crate) fn show_log(&self) {
        self.server.show_log(super::LOG_LINES);
    }

    fn port(&self, way: Way) -> &str {
        match way {
            Way::Loopback => &self.ports[0],
            Way::Link => &self.ports[1],
        }
    }

    /// A command that is led to the server.
    fn client(&self, program: impl AsRef<OsStr>, place: &str) -> Command {
        let mut command = self.stage.command(program, place);
        command.env("HOME", &self.home);
        command
    }

    fn larder(&self, args: &[&str], place: &str, way: Way, remote: &str) -> Command {
        let mut command = self.client(&self.stage.larder, place);
        command.args(args).args(["--command-hash", super::COMMAND_HASH]);
        let (account, port, data) = (&self.account, self.port(way), self.data.display());
        command.args(["--remote", &format!("ssh://{account}:{port}{data}/{remote}")]);
        command
    }

    fn push(&self, way: Way, remote: &str) -> Command {
        self.larder(&["push", MADE, "--compression", "none"], "project", way, remote)
    }

    /// A subject before which nothing is where pushes go to.
    fn pushing<'a>(&'a self, command: impl Fn() -> Command + 'a) -> Subject<'a> {
        let clear = || {
            self.stage.clear(&["project/.larder"])?;
            let pushed = self.data.join(PUSHED);
            remove(&pushed)?;
            Ok(fs::create_dir(pushed)?)
        };
        Subject { clear: Box::new(clear), command: Box::new(command) }
    }

    /// `larder push` to where nothing is.
    pub(crate) fn larder_push(&self, way: Way) -> Subject<'_> {
        self.pushing(move || self.push(way, PUSHED))
    }

    /// `scp` up.
    pub(crate) fn scp_push(&self, way: Way) -> Subject<'_> {
        let to = format!("larder:{}", self.data.join(PUSHED).join(MADE).display());
        self.pushing(move || self.peer("scp", way, &["-q", MADE, &to], "project"))
    }

    /// `sftp` up.
    pub(crate) fn sftp_push(&self, way: Way) -> Result<Subject<'_>> {
        let batch =
            self.batch("put", &format!("put {MADE} {}", self.data.join(PUSHED).join(MADE).display()))?;
        Ok(self.pushing(move || self.peer("sftp", way, &["-q", "-b", &batch, "larder"], "project")))
    }

    /// Pushes once, with larder, what everybody pulls, and returns where it is.
    pub(crate) fn keep_push(&self) -> Result<PathBuf> {
        let way = Way::Loopback;
        process::run(self.push(way, KEPT).arg("--quiet"))?;
        let found = process::stdout_of(&mut self.larder(&["find", MADE], "project", way, KEPT))?;
        let data = self.data.display().to_string();
        let path = found.trim().find(&data).map(|start| &found.trim()[start..]);
        Ok(path.ok_or_else(|| format!("{found} is not below {data}"))?.into())
    }

    /// `larder pull` of it, to where nothing is.
    pub(crate) fn larder_pull(&self, way: Way) -> Subject<'_> {
        self.stage.subject(&RESTORED, move || self.larder(&["pull", MADE], "restored", way, KEPT))
    }

    /// `scp` down.
    pub(crate) fn scp_pull<'a>(&'a self, way: Way, kept: &Path) -> Subject<'a> {
        let from = format!("larder:{}", kept.display());
        self.stage.subject(&RESTORED, move || self.peer("scp", way, &["-q", &from, PULLED], "restored"))
    }

    /// `sftp` down.
    pub(crate) fn sftp_pull<'a>(&'a self, way: Way, kept: &Path) -> Result<Subject<'a>> {
        let batch = self.batch("get", &format!("get {} {PULLED}", kept.display()))?;
        Ok(self
            .stage
            .subject(&RESTORED, move || self.peer("sftp", way, &["-q", "-b", &batch, "larder"], "restored")))
    }

    /// A file with one line for `sftp -b`.
    fn batch(&self, name: &str, line: &str) -> Result<String> {
        let path = self.stage.at(&format!("{name}.sftp"));
        fs::write(&path, format!("{line}\n"))?;
        Ok(path.display().to_string())
    }

    /// One of OpenSSH's programs, with the configuration that comes with the server.
    fn peer(&self, program: &str, way: Way, args: &[&str], place: &str) -> Command {
        let mut command = self.client(program, place);
        command.arg("-F").arg(self.home.join(".ssh/config"));
        command.args(["-o", &format!("Ciphers={CIPHER}"), "-o", &format!("Port={}", self.port(way))]);
        command.args(args);
        command
    }
}

/// The host is known at another port too.
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
