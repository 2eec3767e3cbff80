//! OpenSSH's sshd, for the SSH backend, with its own host keys, user key, configuration and home. The tests log in as the
//! account that runs them.

mod files;

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use files::SshdFiles;

use super::guard::GuardedServer;
use super::{Server, ServerSite, TestBackend, VariableLookup, free_ports, retry_ports, temporary_dir};
use crate::{Result, process};

/// The backend for SSH.
pub(super) const SSH: TestBackend =
    TestBackend { name: "ssh", variable: "LARDER_TEST_SSH_URL", start, example };

/// The paths of sshd on systems where `PATH` does not have it.
const SYSTEM_PATHS: [&str; 5] = [
    "/usr/sbin/sshd",
    "/usr/local/sbin/sshd",
    "/usr/lib/ssh/sshd",
    "/usr/libexec/sshd",
    "/opt/homebrew/sbin/sshd",
];

/// Returns `HOST DIRECTORY PORT USER HOME`.
fn example(variables: &VariableLookup<'_>) -> Option<Vec<String>> {
    let url = variables(SSH.variable)?;
    let (authority, directory) = url.strip_prefix("ssh://")?.split_once('/')?;
    let (user, host) = authority.split_once('@')?;
    let (host, port) = host.rsplit_once(':')?;
    let directory = format!("/{directory}/example");
    let home = variables("LARDER_TEST_SSH_HOME")?;
    Some([host, &directory, port, user, &home].map(str::to_owned).to_vec())
}

/// The program and its version line.
struct Sshd {
    program: PathBuf,
    version: String,
}

/// Finds `$SSHD`, or `sshd` on `PATH`, or the system's. The path must be absolute for sshd to start.
fn find() -> Result<Sshd> {
    let named = env::var_os("SSHD").filter(|named| !named.is_empty()).map(PathBuf::from);
    let on_path = |name: &Path| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
    };
    let candidates: Vec<PathBuf> = match &named {
        Some(named) if named.components().count() == 1 => on_path(named).into_iter().collect(),
        Some(named) => vec![std::path::absolute(named)?],
        None => on_path(Path::new("sshd")).into_iter().chain(SYSTEM_PATHS.map(PathBuf::from)).collect(),
    };
    let is_sshd = |program: PathBuf| version(&program).map(|version| Sshd { program, version });
    let sshd = candidates.into_iter().find_map(is_sshd).ok_or_else(|| {
        let what = named.map_or("there is no sshd".to_owned(), |named| {
            format!("$SSHD is {}, which prints no version of OpenSSH", named.display())
        });
        format!(
            "{what}: install OpenSSH (on Debian: `apt-get install openssh-server openssh-client`), or put the path of sshd \
             into $SSHD, or name another server in LARDER_TEST_SSH_URL and LARDER_TEST_SSH_HOME"
        )
    })?;
    eprintln!("xtask: sshd: {}, {}", sshd.program.display(), sshd.version);
    Ok(sshd)
}

fn version(program: &Path) -> Option<String> {
    // Versions before 9.3 do not have the option, and print their version in the error message.
    let script = "[ -x \"$0\" ] && \"$0\" -V 2>&1 || true";
    let text =
        process::answer(Command::new("sh").args(["-c", script]).arg(program), Duration::from_secs(10))?;
    text.lines().find(|line| line.starts_with("OpenSSH_")).map(str::to_owned)
}

fn start(site: &ServerSite<'_>) -> Result<Server> {
    let sshd = find()?;
    retry_ports("sshd", || attempt(&sshd, site.dir))
}

fn attempt(sshd: &Sshd, dir: &Path) -> Result<Option<Server>> {
    let dir = temporary_dir("larder-sshd-", dir)?;
    // sshd reads the authorized keys as the account that logs in. In some tests this is another account.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    let [port, _] = free_ports()?;
    let files = SshdFiles::create(&sshd.program, dir.path(), port)?;
    let mut command = Command::new(&sshd.program);
    command.args(["-D", "-e", "-f"]).arg(&files.config);
    let mut guarded = GuardedServer::start("sshd", &command, dir)?;
    // Check the log too, because another program may answer at the port.
    let is_ready = |log: &str| {
        (log.contains("Server listening on") && greeting(port).is_ok_and(|text| &text == b"SSH-2.0-"))
            .then_some(())
    };
    if guarded.wait_until_ready(is_ready)?.is_none() {
        return Ok(None);
    }
    let url = format!("ssh://{}@127.0.0.1:{port}{}", files.user, files.data.display());
    let home = files.home.display();
    let about = vec![
        format!("sftp -F {home}/.ssh/config larder"),
        format!("HOME={home} larder push OUTPUT --command-hash HASH -r {url}/demo"),
        "to run the tests: export the variables, then cargo xtask integration --backend ssh".to_owned(),
    ];
    let env = vec![
        (SSH.variable, url),
        ("LARDER_TEST_SSH_HOME", home.to_string()),
        // Some tests start their own sshd, with another configuration or to kill it.
        ("LARDER_TEST_SSHD", sshd.program.display().to_string()),
    ];
    // Hide the caller's agent, which has other keys.
    let hidden = ["SSH_AUTH_SOCK", "SSH_AGENT_PID", "SSH_ASKPASS", "LARDER_SSH_PASSPHRASE"];
    Ok(Some(Server {
        program: sshd.version.clone(),
        env,
        hidden: hidden.map(OsString::from).into(),
        about,
        guarded: Some(guarded),
    }))
}

/// Returns the first bytes that a server sends.
fn greeting(port: u16) -> io::Result<[u8; 8]> {
    let timeout = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
