//! Missing or insufficient keys: the command says so in time, without the secrets.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use larder_tests::{Larder, Run};

use crate::errors::{COMMANDS, assert_all_fail, assert_fails_fast, furnished};
use crate::store::{Account, Store};

const PASSPHRASE: &str = "open sesame";

fn encrypt(identity: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-p", "-q", "-P", "", "-N", PASSPHRASE, "-f"]).arg(identity);
    let done = keygen.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Creates a store whose only key has a passphrase.
fn encrypted() -> Store {
    let store = furnished();
    encrypt(&store.ssh().join("id_ed25519"));
    store
}

/// Runs the call without the terminal from which the tests may have been started.
fn without_terminal(larder: Larder) -> Larder {
    larder.through(["setsid", "--wait"])
}

#[track_caller]
fn assert_no_secret(run: &Run, secret: &str) {
    assert!(!run.said().contains(secret), "the output has a secret: {run}");
}

pub(crate) fn that_are_missing() {
    let store = furnished();
    for name in ["id_ed25519", "id_ed25519.pub"] {
        fs::remove_file(store.ssh().join(name)).unwrap();
    }
    let who = format!("{} as {}", store.account.host, store.account.user);
    assert_all_fail(&store, &store.remote_url(), 5, &[&store.remote_url(), &who, "id_ed25519", "agent"]);
    // The server does not know this key.
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(store.ssh().join("id_ed25519"));
    assert!(keygen.status().unwrap().success());
    assert_all_fail(&store, &store.remote_url(), 5, &[&store.remote_url(), &who, "id_ed25519"]);
}

pub(crate) fn of_another_user() {
    let store = furnished();
    let remote = store.for_user("larder-no-such-user");
    let who = format!("{} as larder-no-such-user", store.account.host);
    let command = format!("ssh -p {} larder-no-such-user@{}", store.account.port, store.account.host);
    assert_all_fail(&store, &remote, 5, &[&remote, &who, &command]);
}

/// Returns the URL of a remote without a user.
fn without_user(store: &Store) -> String {
    let Account { host, port, .. } = &store.account;
    format!("ssh://{host}:{port}{}", store.directory.display())
}

/// A container may have neither USER nor LOGNAME. The tests run the binary without them.
pub(crate) fn of_the_user_of_the_process() {
    let store = furnished();
    let remote = without_user(&store);
    store.run(["push", "model", "-r", &remote]).ok();
    assert_eq!(store.keys().len(), 1);
    // A variable names another user.
    let larder = store.larder(["ls", "-r", &remote]).env("USER", "larder-no-such-user");
    assert_fails_fast(&larder, 5, &[&remote, "as larder-no-such-user"]);
}

pub(crate) fn of_a_user_without_a_name() {
    let store = furnished();
    let remote = without_user(&store);
    let larder = store.larder(["ls", "-r", &remote]).with_binary(store.public_binary());
    let larder = larder.as_user(61001, &[61001]);
    assert_fails_fast(&larder, 2, &[&remote, "no name for the user 61001", "ssh://user@host/path"]);
}

pub(crate) fn with_a_passphrase_and_nobody_to_ask() {
    let store = encrypted();
    for command in COMMANDS {
        let larder = without_terminal(store.larder([]).args(command));
        assert_fails_fast(&larder, 5, &[&store.remote_url(), "id_ed25519", "passphrase"]);
    }
}

pub(crate) fn with_a_passphrase_in_the_environment() {
    let store = encrypted();
    let with = |passphrase: &str, command: &[&str]| {
        without_terminal(store.larder([]).args(command)).env("LARDER_SSH_PASSPHRASE", passphrase)
    };
    let run = with(PASSPHRASE, &["push", "model", "-v"]).run().ok();
    assert_no_secret(&run, PASSPHRASE);
    let wrong = "hunter2-and-more";
    let run = assert_fails_fast(&with(wrong, &["ls"]), 5, &[&store.remote_url(), "id_ed25519"]);
    assert_no_secret(&run, wrong);
}

/// An agent. Drop stops it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    /// Starts an agent with a key.
    fn with(socket: &Path, identity: &Path) -> Self {
        let mut command = Command::new("ssh-agent");
        let agent = Self(command.arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(30);
        // The agent is ready as soon as a key can be added.
        loop {
            let added = Command::new("ssh-add")
                .arg("-q")
                .arg(identity)
                .env("SSH_AUTH_SOCK", socket)
                .output()
                .unwrap();
            if added.status.success() {
                return agent;
            }
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&added.stderr));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) fn of_an_agent() {
    let store = furnished();
    let (socket, identity) = (store.root().join("agent"), store.ssh().join("id_ed25519"));
    let agent = Agent::with(&socket, &identity);
    // The agent has the key, so that larder does not ask for the passphrase of its file.
    encrypt(&identity);
    let larder =
        |command: &[&str]| without_terminal(store.larder([]).args(command)).env("SSH_AUTH_SOCK", &socket);
    larder(&["push", "model"]).run().ok();
    for name in ["id_ed25519", "id_ed25519.pub"] {
        fs::remove_file(store.ssh().join(name)).unwrap();
    }
    larder(&["ls"]).run().ok();
    // A missing agent causes no delay.
    drop(agent);
    assert_fails_fast(&larder(&["ls"]), 5, &[&store.remote_url(), "agent"]);
}
