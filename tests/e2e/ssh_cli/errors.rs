//! A failure gives one line with the host, the path and the remedy, and the right exit code, in time.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use larder_testkit::proxy::{Direction, LinkFault};
use larder_tests::{Larder, Run, Tree, noise};

use crate::sshd::Sshd;
use crate::store::{Account, Store, temporaries_in};

/// The maximum time until a failure. Half of it is for a busy machine.
const SECONDS: Duration = Duration::from_secs(10);

/// Every command that sends a request to the remote.
pub(crate) const COMMANDS: [&[&str]; 5] = [
    &["push", "model"],
    &["pull", "absent"],
    &["pull", "absent", "--command-hash", "x", "--content-hash", "y"],
    &["find", "absent"],
    &["ls"],
];

/// Runs the call with `-v`, which adds details, and asserts that it fails in time with a message that contains `parts`.
#[track_caller]
pub(crate) fn assert_fails_fast(larder: &Larder, code: i32, parts: &[&str]) -> Run {
    assert_fails_within(larder, SECONDS, code, parts)
}

#[track_caller]
fn assert_fails_within(larder: &Larder, limit: Duration, code: i32, parts: &[&str]) -> Run {
    let started = Instant::now();
    let run = larder.clone().arg("-v").run();
    assert!(run.after(started) < limit, "it ended after {:?}: {run}", run.after(started));
    let run = run.fails(code, parts);
    assert_clean_message(&run);
    run
}

/// Texts of the program's internals, and nested quotes, which messages must not have.
#[track_caller]
fn assert_clean_message(run: &Run) {
    for part in ["\\n", "Session(", "SFTP(", "panicked", "Some(", "Os {", "[Session", "warning: "] {
        // A push may report that it created the directory of the remote.
        let mut lines = run.stderr.lines().filter(|line| !line.contains("created the directory "));
        assert!(lines.all(|line| !line.contains(part)), "`{part}` is not for people: {run}");
    }
}

/// Creates a store with an output to push.
pub(crate) fn furnished() -> Store {
    let store = Store::new();
    Tree::small(1).write(&store.path("model"));
    store
}

/// Asserts that every command fails and leaves nothing.
#[track_caller]
pub(crate) fn assert_all_fail(store: &Store, remote: &str, code: i32, parts: &[&str]) {
    for command in COMMANDS {
        assert_fails_fast(&store.larder([]).args(command).args(["-r", remote]), code, parts);
    }
    store.assert_clean();
}

pub(crate) fn a_port_where_nobody_listens() {
    let store = furnished();
    // A port without a server.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let remote = store.at_port(port);
    for command in COMMANDS {
        let larder = store.larder(["--stall-timeout", "3"]).args(command).args(["-r", &remote]);
        assert_fails_within(
            &larder,
            2 * SECONDS,
            5,
            &[&remote, &format!("port {port} of {}", store.account.host)],
        );
    }
    store.assert_clean();
}

pub(crate) fn a_host_that_says_nothing() {
    let store = furnished();
    // The server accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = store.at_port(silent.local_addr().unwrap().port());
    for command in [&["push", "model"][..], &["ls"]] {
        let larder = store.larder(["--stall-timeout", "3"]).args(command).args(["-r", &remote]);
        assert_fails_within(&larder, 2 * SECONDS, 5, &[&remote, "the server did not answer for"]);
    }
    store.assert_clean();
}

pub(crate) fn a_link_that_dies_in_the_middle() {
    let store = Store::new();
    Tree::new().with("large", noise(1, 24 << 20)).write(&store.path("model"));
    let timeout = ["--stall-timeout", "3", "--compression", "none"];
    let proxy = store.proxy();
    let fired = proxy.inject(LinkFault::stall_after(Direction::Up, 5 << 20).in_total().always());
    let push = store.through(&proxy, ["push", "model"]).args(timeout);
    let remote = store.at_port(proxy.address().port());
    assert_fails_within(&push, 3 * SECONDS, 5, &[&remote]);
    assert!(fired.count() > 0);
    assert_eq!(store.keys(), Vec::<String>::new(), "an incomplete object is visible");

    store.larder(["push", "model"]).run().ok();
    fs::remove_dir_all(store.path("model")).unwrap();
    let proxy = store.proxy();
    proxy.inject(LinkFault::stall_after(Direction::Down, 5 << 20).in_total().always());
    let pull = store.through(&proxy, ["pull", "model", "--stall-timeout", "3"]);
    let remote = store.at_port(proxy.address().port());
    assert_fails_within(&pull, 3 * SECONDS, 5, &[&remote]);
    assert!(!store.path("model").exists());
}

pub(crate) fn a_host_without_a_name() {
    let store = furnished();
    let nowhere = Account { host: "no-such-host.invalid".to_owned(), ..store.account.clone() };
    let remote = nowhere.url_of(&store.directory);
    for command in [&["push", "model"][..], &["ls"]] {
        let larder = store.larder(["--stall-timeout", "3"]).args(command).args(["-r", &remote]);
        assert_fails_within(&larder, 2 * SECONDS, 5, &[&remote, "no-such-host.invalid is not found"]);
    }
}

pub(crate) fn a_server_without_sftp() {
    let store = furnished();
    let sshd = Sshd::start(&store, "");
    store.write_ssh("known_hosts", &sshd.known);
    let remote = sshd.account.url_of(&store.directory);
    assert_all_fail(&store, &remote, 5, &[&remote, "SFTP", "Subsystem sftp"]);
}

/// A server that flushes for longer than the stall timeout, but still answers, does not count as stalled.
pub(crate) fn a_disk_that_is_slow_is_waited_for() {
    let store = furnished();
    let sshd = Sshd::with_slow_disk(&store, 15);
    store.write_ssh("known_hosts", &sshd.known);
    let remote = sshd.account.url_of(&store.directory);
    let push = ["push", "model", "--command-hash", "slow", "--json", "-r", &remote];
    let run = store.larder(push).args(["--stall-timeout", "9"]).run();
    assert_eq!(run.ok().outcome(), "uploaded");
}

pub(crate) fn a_disk_that_hangs_is_given_up() {
    let store = furnished();
    let sshd = Sshd::with_slow_disk(&store, 3600);
    store.write_ssh("known_hosts", &sshd.known);
    let remote = sshd.account.url_of(&store.directory);
    let push = store.larder(["push", "model", "--command-hash", "slow", "-r", &remote]);
    let push = push.args(["--stall-timeout", "9"]);
    assert_fails_within(&push, 12 * SECONDS, 5, &[&remote, "its files did not answer for 90 s", "disk"]);
}

pub(crate) fn a_directory_that_is_missing() {
    let store = furnished();
    let remote = store.remote_url();
    // A push would create the remote, so it has no objects.
    for command in &COMMANDS[1..4] {
        assert_fails_fast(&store.larder([]).args(*command), 3, &[&remote]);
    }
    assert_eq!(store.run(["ls"]).ok().text(), "");
    // The push creates only the last component.
    let below = format!("{remote}/below");
    assert_all_fail(&store, &below, 5, &[&below]);
    assert!(!store.directory.exists());
    store.run(["push", "model"]).ok();
    // A file is not a directory.
    let file = store.directory.join("file");
    fs::write(&file, "").unwrap();
    let remote = format!("{remote}/file");
    assert_all_fail(&store, &remote, 5, &[&remote]);
    fs::remove_file(file).unwrap();
}

/// An account without permissions that every system has.
pub(crate) const NOBODY: &str = "nobody";

pub(crate) fn a_directory_that_one_may_not_enter() {
    let store = furnished();
    store.run(["push", "model", "--command-hash", "x"]).ok();
    let key = store.key();
    let remote = store.for_user(NOBODY);
    fs::set_permissions(&store.directory, fs::Permissions::from_mode(0o700)).unwrap();
    assert_all_fail(&store, &remote, 5, &[&remote, "denied"]);
    // The directory is readable, but not writable.
    Tree::small(2).write(&store.path("other"));
    fs::set_permissions(&store.directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert_fails_fast(&store.larder(["push", "other", "-r", &remote]), 5, &[&remote, "denied"]);
    assert_eq!(store.keys(), [key]);
    store.assert_nothing_open();
}

pub(crate) fn a_full_disk() {
    let mut sandbox = larder_tests::Sandbox::new();
    let disk = sandbox.mount_tmpfs("disk", 16);
    let store = Store::new();
    let remote = disk.join("store");
    let url = store.account.url_of(&remote);
    for (name, seed, mib) in [("model", 1, 40), ("other", 2, 24)] {
        Tree::new().with("large", noise(seed, mib << 20)).write(&store.path(name));
        let push = store.larder(["push", name, "-r", &url]);
        assert_fails_within(&push, 6 * SECONDS, 1, &[&url, "space"]);
        assert!(temporaries_in(&remote).is_empty(), "the upload that filled the disk was left there");
        store.assert_clean();
    }
    Tree::small(1).write(&store.path("small"));
    store.run(["push", "small", "-r", &url]).ok();
    assert_eq!(store.run(["ls", "-r", &url]).ok().line(), "small");
}
