//! A separate server for one test, with missing features or killed sessions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::store::{Account, Store, server_home};

/// The number of ports to try, because another program may take a port between the choice and the start.
const ATTEMPTS: usize = 5;
/// The line that enables SFTP.
const SFTP: &str = "Subsystem sftp internal-sftp\n";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Sshd {
    process: Child,
    pub(crate) account: Account,
    /// The `known_hosts` line of its host key, for its port.
    pub(crate) known: String,
    dir: TempDir,
}

impl Sshd {
    /// Starts a server with these lines in its configuration, for the user of the store.
    pub(crate) fn start(store: &Store, lines: &str) -> Self {
        Self::start_through(&[], store, lines)
    }

    /// Starts a server whose disk needs this many seconds to flush a file. Requires `Need::Strace`.
    pub(crate) fn with_slow_disk(store: &Store, seconds: u32) -> Self {
        let inject = format!("inject=fsync:delay_enter={}", u64::from(seconds) * 1_000_000);
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", &inject];
        Self::start_through(&strace, store, SFTP)
    }

    /// Starts a server through another program.
    fn start_through(program: &[&str], store: &Store, lines: &str) -> Self {
        (0..ATTEMPTS).find_map(|_| Self::attempt(program, store, lines)).expect("sshd finds a free port")
    }

    /// Starts a server with SFTP.
    pub(crate) fn usual(store: &Store) -> Self {
        Self::start(store, SFTP)
    }

    fn attempt(program: &[&str], store: &Store, lines: &str) -> Option<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("larder-test-").permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        let dir = builder.tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| dir.path().join(name);
        let key = at("host");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).output();
        assert!(made.unwrap().status.success());
        fs::copy(server_home().join(".ssh/id_ed25519.pub"), at("authorized_keys")).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             UseDNS no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nMaxStartups 500\n{lines}",
            key.display(),
            at("authorized_keys").display(),
        );
        fs::write(at("config"), config).unwrap();
        let log = File::create(at("log")).unwrap();
        let sshd = std::env::var_os("LARDER_TEST_SSHD").expect("the case needs `Need::Sshd`");
        let mut words = program.iter().map(OsStr::new).chain([sshd.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(&sshd));
        command
            .args(words)
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = command.spawn().unwrap();
        let public = fs::read_to_string(at("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{port} {public}");
        let account = Account { user: store.account.user.clone(), host: "127.0.0.1".to_owned(), port };
        let mut sshd = Self { process, account, known, dir };
        let deadline = Instant::now() + PATIENCE;
        while !(sshd.log().contains("Server listening on") && sshd.greets()) {
            if sshd.process.try_wait().unwrap().is_some() {
                assert!(sshd.log().to_lowercase().contains("address already in use"), "{}", sshd.log());
                return None;
            }
            assert!(Instant::now() < deadline, "sshd did not start in time: {}", sshd.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(sshd)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn greets(&self) -> bool {
        let mut bytes = [0; 8];
        let stream = TcpStream::connect(self.address());
        stream.and_then(|mut stream| stream.read_exact(&mut bytes)).is_ok() && bytes == *b"SSH-2.0-"
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.account.port))
    }

    /// Kills the processes of all sessions, and returns how many there were.
    pub(crate) fn kill_sessions(&self) -> usize {
        let mut killed = 0;
        for id in descendants(self.process.id()) {
            if kill_process(id, Signal::KILL).is_ok() {
                killed += 1;
            }
        }
        killed
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let tracer = tracer(self.process.id());
        // Sessions outlive the listener.
        self.kill_sessions();
        let _ = self.process.kill();
        if let Some(tracer) = tracer {
            // Kill the tracer, which would otherwise sleep until the end of its delay.
            let _ = kill_process(tracer, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

/// Returns the process that traces another one.
fn tracer(id: u32) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let id = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    Pid::from_raw(id.trim().parse().ok()?)
}

/// Returns the descendants of a process.
fn descendants(id: u32) -> Vec<Pid> {
    let processes: Vec<(u32, u32)> =
        fs::read_dir("/proc").unwrap().filter_map(|entry| parent(&entry.ok()?.path())).collect();
    let mut found = vec![id];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    found[1..].iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?)).collect()
}

/// Returns the ids of a process and of its parent.
fn parent(process: &Path) -> Option<(u32, u32)> {
    let id = process.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before these fields may contain any character.
    let fields = stat.rsplit_once(')')?.1;
    Some((id, fields.split_whitespace().nth(1)?.parse().ok()?))
}
