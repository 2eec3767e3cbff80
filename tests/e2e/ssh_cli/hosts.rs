//! The check of the host key.

use std::process::Command;

use larder_tests::Run;

use crate::errors::{COMMANDS, assert_all_fail, assert_fails_fast, furnished};
use crate::store::{Store, host_key};

/// A valid key that belongs to no host.
fn another_key() -> String {
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}", "A".repeat(43))
}

/// Returns the command that the error suggests.
#[track_caller]
fn advised(run: &Run) -> String {
    let line = run.stderr.lines().find_map(|line| line.split_once("accept it with: "));
    line.unwrap_or_else(|| panic!("no command: {run}")).1.trim_end_matches(')').to_owned()
}

/// Runs the command that the error suggests, and asserts that the push then succeeds.
#[track_caller]
fn assert_helps(store: &Store, run: &Run) {
    let command = advised(run);
    let done = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    store.run(["push", "model"]).ok();
}

pub(crate) fn an_unknown_host() {
    let store = furnished();
    for known in ["", "# nobody\n"] {
        store.write_ssh("known_hosts", known);
        let parts = [&*store.remote_url(), &store.host_name(), "not trusted", "not known", "SHA256:"];
        assert_all_fail(&store, &store.remote_url(), 5, &parts);
        assert_eq!(store.read_ssh("known_hosts"), known, "the key was accepted");
    }
    let run = assert_fails_fast(&store.larder(["push", "model"]), 5, &[]);
    assert_helps(&store, &run);
}

pub(crate) fn a_host_with_another_key() {
    let store = furnished();
    let known = format!("# first\n{} {}\n", store.host_name(), another_key());
    // No setting accepts a changed key.
    for word in ["yes", "accept-new", "no"] {
        store.write_ssh("known_hosts", &known);
        store.write_ssh("config", &format!("StrictHostKeyChecking {word}\n"));
        let parts = [&*store.remote_url(), &store.host_name(), "known_hosts:2", "SHA256:"];
        assert_all_fail(&store, &store.remote_url(), 5, &parts);
        assert_eq!(store.read_ssh("known_hosts"), known);
    }
    let run = assert_fails_fast(&store.larder(["push", "model"]), 5, &[]);
    assert_helps(&store, &run);
}

pub(crate) fn a_host_with_a_revoked_key() {
    let store = furnished();
    let known = store.read_ssh("known_hosts");
    let revoked: String = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]
        .map(|kind| format!("@revoked * {}\n", host_key(kind)))
        .concat();
    store.write_ssh("known_hosts", &format!("{known}{revoked}"));
    assert_all_fail(&store, &store.remote_url(), 5, &[&store.remote_url(), &store.host_name(), "revoked"]);
}

pub(crate) fn a_new_host_that_the_user_accepts() {
    let store = furnished();
    store.write_ssh("known_hosts", "# no end of line");
    store.write_ssh("config", "Host *\n  StrictHostKeyChecking accept-new\n");
    store.run(["push", "model"]).ok();
    let known = store.read_ssh("known_hosts");
    assert!(known.lines().count() == 2 && known.contains(&store.host_name()), "{known}");
    // The host is known from now on.
    store.write_ssh("config", "");
    store.run(["ls"]).ok();
}

pub(crate) fn a_host_that_is_known_by_another_type_of_key() {
    let store = furnished();
    for kind in ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"] {
        store.write_ssh("known_hosts", &format!("{} {}\n", store.host_name(), host_key(kind)));
        store.run(["push", "model"]).ok();
    }
    let file = store.ssh().join("known_hosts");
    let hashed = Command::new("ssh-keygen").args(["-H", "-f"]).arg(&file).output().unwrap();
    assert!(hashed.status.success());
    assert!(store.read_ssh("known_hosts").starts_with("|1|"));
    for command in &COMMANDS[4..] {
        store.larder([]).args(*command).run().ok();
    }
}
