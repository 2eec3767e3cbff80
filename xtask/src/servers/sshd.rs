//! OpenSSH's sshd, for the backend of SSH: with host keys, a user's key, a configuration and a home of its own. Who runs the
//! tests is the account that logs in, root or not.

mod files;
mod find;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use files::Files;
use find::Programs;

use super::guard::{Guarded, Plan};
use super::{Backend, Machine, Server, Site, Variables};
use crate::Result;

/// The backend whose tests run against it.
pub(super) const SSH: Backend = Backend { name: "ssh", variable: "LARDER_TEST_SSH_URL", start, example };

/// `HOST DIRECTORY PORT USER HOME`.
fn example(variables: &Variables<'_>) -> Option<Vec<String>> {
    let url = variables(SSH.variable)?;
    let (authority, directory) = url.strip_prefix("ssh://")?.split_once('/')?;
    let (user, host) = authority.split_once('@')?;
    let (host, port) = host.rsplit_once(':')?;
    let directory = format!("/{directory}/example");
    let home = variables("LARDER_TEST_SSH_HOME")?;
    Some([host, &directory, port, user, &home].map(str::to_owned).to_vec())
}

/// It is ready in a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Between choosing a port and listening on it, another program may take it: how often others are tried.
const ATTEMPTS: usize = 5;

fn start(site: &Site<'_>) -> Result<Server> {
    let programs = find::find(&Machine::this()?, std::env::var_os("SSHD"))?;
    for _ in 0..ATTEMPTS {
        match attempt(&programs, site.dir, free_port()?)? {
            Started::Ready(server) => return Ok(*server),
            Started::PortTaken => eprintln!("xtask: another program has taken its port: trying another"),
        }
    }
    Err(format!("sshd found its port taken {ATTEMPTS} times").into())
}

enum Started {
    Ready(Box<Server>),
    PortTaken,
}

fn attempt(programs: &Programs, dir: &Path, port: u16) -> Result<Started> {
    let mut builder = tempfile::Builder::new();
    // sshd reads the authorized keys as the account that logs in, which in some tests is another one.
    builder.prefix("larder-sshd-").permissions(fs::Permissions::from_mode(0o755));
    let made = std::path::absolute(dir).and_then(|dir| builder.tempdir_in(dir));
    let dir = made.map_err(|error| format!("failed to make a directory in {}: {error}", dir.display()))?;
    let files = Files::make(programs, dir.path(), port)?;
    let mut guarded = Guarded::start(&plan(&programs.sshd, dir.path(), &files.config), dir)?;
    let deadline = Instant::now() + PATIENCE;
    // The line in the log is its own; what greets at the port might be somebody else.
    while !(guarded.log().contains("Server listening on") && is_ready(port)) {
        let problem = match guarded.ended() {
            Some(_) if is_collision(&guarded.log()) => return Ok(Started::PortTaken),
            Some(how) => format!("ended before it was ready ({how})"),
            None if Instant::now() >= deadline => format!("was not ready after {} s", PATIENCE.as_secs()),
            None => {
                thread::sleep(POLL);
                continue;
            }
        };
        return Err(format!("sshd {problem}; its log:\n{}", guarded.log()).into());
    }
    eprintln!(
        "xtask: sshd listens on 127.0.0.1:{port} for {}; it is in process group {}, in {}",
        files.user,
        guarded.group(),
        files.dir.display()
    );
    Ok(Started::Ready(Box::new(server(programs, guarded, &files, port))))
}

/// What clients need to know.
fn server(programs: &Programs, guarded: Guarded, files: &Files, port: u16) -> Server {
    let url = format!("ssh://{}@127.0.0.1:{port}{}", files.user, files.data.display());
    let home = files.home.display();
    let about = vec![
        format!("sftp -F {home}/.ssh/config larder"),
        format!("HOME={home} larder push OUTPUT --command-hash HASH -r {url}/demo"),
        "tests against it: export the above, then cargo xtask integration --backend ssh".to_owned(),
        "Ctrl-C ends it and removes its data".to_owned(),
    ];
    let env = vec![
        (SSH.variable, url),
        ("LARDER_TEST_SSH_HOME", home.to_string()),
        // Some tests start one of their own, which lacks something or is killed.
        ("LARDER_TEST_SSHD", programs.sshd.display().to_string()),
    ];
    // The caller's agent has other keys.
    let hidden = ["SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_ASKPASS", "LARDER_SSH_PASSPHRASE"];
    Server {
        program: programs.version.clone(),
        env,
        hidden: hidden.map(OsString::from).into(),
        about,
        guarded: Some(guarded),
    }
}

fn plan(sshd: &Path, dir: &Path, config: &Path) -> Plan {
    let mut command = Command::new(sshd);
    command.args(["-D", "-e", "-f"]).arg(config);
    // Nothing else of the caller.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let env = vec![("PATH".into(), path), ("HOME".into(), dir.into()), ("TMPDIR".into(), dir.into())];
    Plan { command, env, finally: Vec::new() }
}

/// A port of the loopback interface on which nobody listens.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether it ended because somebody else listens on its port.
fn is_collision(log: &str) -> bool {
    log.to_lowercase().contains("address already in use")
}

fn is_ready(port: u16) -> bool {
    greeting(port).is_ok_and(|line| line.starts_with(b"SSH-2.0-"))
}

/// The first bytes that the server says.
fn greeting(port: u16) -> io::Result<[u8; 8]> {
    let timeout = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_ssh_is_ready() {
        for (greeting, ready) in
            [("SSH-2.0-OpenSSH_9.2\r\n", true), ("220 mail ready\r\n", false), ("", false)]
        {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || write!(listener.accept().unwrap().0, "{greeting}").unwrap());
            assert_eq!(is_ready(port), ready, "{greeting}");
            server.join().unwrap();
        }
    }

    #[test]
    fn a_taken_port_is_told_from_other_ends() {
        let log = "error: Bind to port 7 on 127.0.0.1 failed: Address already in use.\nfatal: Cannot bind any address.";
        assert!(is_collision(log));
        assert!(!is_collision("fatal: Missing privilege separation directory: /run/sshd"));
    }

    #[test]
    fn it_gets_nothing_of_the_callers_environment() {
        let plan = plan(Path::new("/usr/sbin/sshd"), Path::new("/d"), Path::new("/d/sshd_config"));
        assert_eq!(crate::process::shown(&plan.command), "/usr/sbin/sshd -D -e -f /d/sshd_config");
        let names: Vec<_> = plan.env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "HOME", "TMPDIR"]);
    }
}
