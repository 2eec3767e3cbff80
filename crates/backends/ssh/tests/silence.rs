//! Every wait has an end, and the error states the time that passed. These tests need no sshd.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use larder_backend::{Backend as _, Error, ErrorKind, Key, error_chain};
use larder_backend_ssh::{RemotePath, SshBackend, SshConfig};
use tempfile::TempDir;

const STALL_TIMEOUT: Duration = Duration::from_secs(3);
/// An upper bound that only a very busy machine exceeds.
const SLACK: Duration = Duration::from_secs(20);

/// A home directory, and a server that accepts connections and says nothing.
struct Silence {
    home: TempDir,
    server: TcpListener,
}

impl Silence {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        Self { home, server: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn ssh(&self, name: &str) -> PathBuf {
        self.home.path().join(".ssh").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.ssh(name), text).unwrap();
    }

    fn config(&self) -> SshConfig {
        let port = self.server.local_addr().unwrap().port();
        let mut config = SshConfig::new("127.0.0.1", RemotePath::Absolute("/x".to_owned()))
            .with_openssh_defaults(self.home.path())
            .with_user(Some("user".to_owned()))
            .with_port(Some(port))
            .with_stall_timeout(Some(STALL_TIMEOUT));
        // The test does not use this machine's files.
        config.config_files.truncate(1);
        config.global_known_hosts.clear();
        config
    }
}

/// The error of an operation, which ends in time.
async fn failure(config: SshConfig) -> Error {
    let backend = SshBackend::new(config);
    let begun = Instant::now();
    let error = backend.stat(&Key::parse("a").unwrap()).await.unwrap_err();
    assert!(begun.elapsed() < STALL_TIMEOUT + SLACK, "{:?}", begun.elapsed());
    backend.close().await.unwrap();
    error
}

/// The time that an error states, in seconds.
fn stated(error: &Error) -> f64 {
    let text = error_chain(error);
    let rest = text.split_once("did not answer for ").unwrap_or_else(|| panic!("no time: {text}")).1;
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn a_silent_server_times_out_after_the_stated_time() {
    let silence = Silence::new();
    let begun = Instant::now();
    let error = failure(silence.config()).await;
    let passed = begun.elapsed().as_secs_f64();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    // The time of all attempts together, not of one.
    assert!(stated(&error) >= 2.0 && stated(&error) <= passed + 0.1, "{passed}: {}", error_chain(&error));
    assert!(error_chain(&error).contains("attempts"), "{}", error_chain(&error));
}

#[tokio::test]
async fn a_silent_proxy_program_times_out() {
    let silence = Silence::new();
    silence.write("config", "ProxyCommand sleep 600\n");
    let error = failure(silence.config()).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("ProxyCommand passes nothing on"), "{error}");
    assert!(stated(&error) >= 2.0, "{}", error_chain(&error));
}

#[tokio::test]
async fn known_hosts_that_are_not_a_file_are_refused() {
    let silence = Silence::new();
    make_fifo(&silence.ssh("fifo"));
    for path in [silence.ssh("fifo"), "/dev/zero".into()] {
        let mut config = silence.config();
        config.known_hosts = vec![path.clone()];
        let error = failure(config).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error_chain(&error).contains("not a regular file"), "{}", error_chain(&error));
    }
    // Users name `/dev/null` so that nothing is remembered.
    let mut config = silence.config();
    config.known_hosts = vec!["/dev/null".into()];
    assert_eq!(failure(config).await.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn configuration_that_is_not_a_file_is_refused() {
    let silence = Silence::new();
    make_fifo(&silence.ssh("fifo"));
    for path in [silence.ssh("fifo"), "/dev/zero".into()] {
        let mut config = silence.config();
        config.config_files = vec![path.clone()];
        let error = failure(config).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn included_configuration_that_is_not_a_file_is_refused() {
    let silence = Silence::new();
    make_fifo(&silence.ssh("a fifo"));
    silence.write("indirect", "Host *\n  Include a*fifo\n");
    for (include, path) in [
        ("Include a*fifo", silence.ssh("a fifo")),
        ("include=~/.ssh/indirect", silence.ssh("a fifo")),
        ("Host *\n\tInclude /dev/zero", "/dev/zero".into()),
    ] {
        silence.write("config", include);
        let error = failure(silence.config()).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{include}: {error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{include}: {error}");
    }
    // A file that includes itself ends too.
    silence.write("config", "Include config\n");
    assert_eq!(failure(silence.config()).await.kind(), ErrorKind::InvalidInput);
}
