//! Trouble with the remote: it is said and bounded, and never fails the command.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use larder_testkit::proxy::{HttpAction, HttpProxy, HttpRule, Reply};
use larder_tests::{Larder, Run, Sandbox, Signal};

use crate::checkout::{Checkout, MODEL, TRAINED};

/// The maximum time of a run whose remote does not work. Half of it is for a busy machine.
const BOUND: Duration = Duration::from_secs(20);

/// A port without a server.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that treats all requests the same.
fn server(action: impl Into<HttpAction>) -> HttpProxy {
    let proxy = HttpProxy::start(([127, 0, 0, 1], closed_port()).into()).unwrap();
    proxy.add(HttpRule::new(action).times(usize::MAX));
    proxy
}

/// Names an S3 remote at this endpoint, and the time for a look-up in seconds.
fn configure_s3(sandbox: &Sandbox, endpoint: &str, timeout: u32) {
    sandbox.configure(&format!(
        "run_lookup_timeout = {timeout}
[remotes.shared]
url = 's3://bucket/team'
endpoint = '{endpoint}'
region = 'us-east-1'
force_path_style = true
"
    ));
}

fn with_credentials(larder: Larder) -> Larder {
    larder.env("AWS_ACCESS_KEY_ID", "someone").env("AWS_SECRET_ACCESS_KEY", "for-a-test-only")
}

/// Runs the step of this script within the bound, with a warning that has all of `parts`.
#[track_caller]
fn run_in_trouble(checkout: &Checkout<'_>, options: &[&str], code: i32, parts: &[&str]) -> Run {
    let started = Instant::now();
    let run = with_credentials(checkout.train(options)).run();
    assert!(run.after(started) < BOUND, "it took {:?}: {run}", run.after(started));
    let run = run.exits(code);
    for part in parts {
        assert!(run.stderr.contains(part), "expected `{part}`: {run}");
    }
    run
}

/// The rules of a remote that does not work. `reason` is in the warning.
#[track_caller]
fn assert_tolerated(endpoint: &str, timeout: u32, requests: impl Fn() -> usize, reason: &str) {
    let sandbox = Sandbox::new();
    configure_s3(&sandbox, endpoint, timeout);
    let script = "echo x >> ../trained\ncat corpus/a corpus/b > models/en\nexit $(cat ../code)\n";
    let checkout = Checkout::with_step(&sandbox, script);
    fs::write(checkout.beside("code"), "0").unwrap();
    // Nothing runs where the remote is required.
    run_in_trouble(&checkout, &["--require-remote"], 125, &["s3://bucket/team", reason]);
    assert_eq!(checkout.trained(), 0);
    sandbox_forgets(&checkout);
    let run = run_in_trouble(&checkout, &[], 0, &["warning: ", "s3://bucket/team", reason]);
    assert!(!run.stderr.contains("published:"), "{run}");
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)));
    // For a minute the runs of this project leave the remote alone.
    let before = requests();
    run_in_trouble(&checkout, &[], 0, &["up to date"]);
    checkout.write("corpus/b", "b2\n");
    run_in_trouble(&checkout, &[], 0, &[]);
    fs::write(checkout.beside("code"), "3").unwrap();
    checkout.write("corpus/b", "b3\n");
    run_in_trouble(&checkout, &[], 3, &[]);
    assert_eq!(requests(), before, "the remote is left alone");
    assert_eq!(checkout.trained(), 3);
    sandbox.assert_clean();
}

/// Removes the state of the project.
fn sandbox_forgets(checkout: &Checkout<'_>) {
    if checkout.path(".larder").exists() {
        checkout.remove(".larder");
    }
}

pub(crate) fn that_is_down() {
    let port = closed_port();
    // The client repeats a request for some seconds before it says that there is no server.
    assert_tolerated(&format!("http://127.0.0.1:{port}"), 10, || 0, &format!("127.0.0.1:{port}"));
}

pub(crate) fn that_denies_access() {
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let server = server(Reply::new(403).body(body));
    assert_tolerated(&server.url(), 10, || server.count(|_| true), "denied");
}

pub(crate) fn that_never_answers() {
    let server = server(HttpAction::StallAnswer);
    assert_tolerated(&server.url(), 1, || server.count(|_| true), "1 s");
}

pub(crate) fn that_never_answers_by_a_share() {
    let sandbox = Sandbox::new();
    sandbox.configure(&format!(
        "run_lookup_timeout = 0.5\n[remotes]\nshared = '{}'\n",
        sandbox.remote().display()
    ));
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    checkout.remove("models");
    checkout.remove(".larder");
    // Imitate a share whose server is gone: a call returns only after every timeout.
    let run = checkout.train(&[]).inject("getdents64:delay_enter=3000000:when=1").run().ok();
    run.says(&["warning: ", "0.5 s", sandbox.remote().to_str().unwrap()]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (2, Some(TRAINED)));
}

pub(crate) fn whose_directory_is_missing_for_more_than_a_minute() {
    let sandbox = Sandbox::new();
    let remote = sandbox.root().join("mnt/remote");
    sandbox.configure(&format!("[remotes]\nshared = '{}'\n", remote.display()));
    let checkout = Checkout::new(&sandbox);
    checkout.train(&["--require-remote"]).run().exits(125).says(&["mnt"]);
    assert_eq!(checkout.trained(), 0);
    let run = checkout.train(&[]).run().ok().says(&["warning: ", "mnt"]);
    assert!(!checkout.beside("mnt").exists(), "{run}");
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)));
    // The remote comes back, and is left alone until the minute is over.
    fs::create_dir(checkout.beside("mnt")).unwrap();
    checkout.train(&[]).run().ok().says(&["up to date"]);
    assert!(!remote.exists());
    fs::remove_file(checkout.path(".larder/remote-pause")).unwrap();
    checkout.train(&[]).run().ok().says(&["up to date", "published"]);
    assert!(remote.join("models%2Fen").is_dir());
    let clone = checkout.clone_to("second");
    clone.train(&[]).run().ok().says(&["restored"]);
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn that_is_required_is_asked_again_within_the_minute() {
    let sandbox = Sandbox::new();
    let remote = sandbox.root().join("mnt/remote");
    sandbox.configure(&format!("[remotes]\nshared = '{}'\n", remote.display()));
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok().says(&["warning: "]);
    checkout.train(&["--require-remote"]).run().exits(125);
    fs::create_dir(checkout.beside("mnt")).unwrap();
    checkout.train(&["--require-remote"]).run().ok().says(&["published"]);
    assert!(remote.join("models%2Fen").is_dir());
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn that_cannot_be_opened() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    fs::write(sandbox.remote(), "a file where a directory should be").unwrap();
    let remote = sandbox.remote();
    let remote = remote.to_str().unwrap();
    checkout.train(&["--require-remote"]).run().exits(125).says(&[remote]);
    assert_eq!(checkout.trained(), 0);
    fs::create_dir(checkout.path("models")).unwrap();
    checkout.train(&["--mode", "off"]).run().ok();
    checkout.train(&[]).run().ok().says(&["warning: ", remote]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (2, Some(TRAINED)));
    checkout.train(&[]).run().ok().says(&["up to date"]);
    checkout.write("step.sh", "exit 7\n");
    checkout.train(&[]).run().exits(7);
}

pub(crate) fn whose_look_up_is_interrupted() {
    let server = server(HttpAction::StallAnswer);
    let sandbox = Sandbox::new();
    configure_s3(&sandbox, &server.url(), 60);
    let checkout = Checkout::new(&sandbox);
    checkout.write(MODEL, "old\n");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let before = server.count(|_| true);
        let mut running = with_credentials(checkout.train(&[])).spawn();
        running.wait_until(|_| server.count(|_| true) > before);
        let sent = running.signal(signal);
        let run = running.wait();
        assert_eq!(run.code.or(run.signal.map(|signal| 128 + signal)), Some(code), "{run}");
        assert!(run.after(sent).as_secs() < 2, "it ended after {:?}: {run}", run.after(sent));
        assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (0, Some("old\n")), "{run}");
        sandbox.assert_clean();
    }
}

pub(crate) fn that_is_another_one_gets_the_outputs_too() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let other = checkout.beside("other");
    checkout.train(&[]).run().ok();
    let to_other = || checkout.train(&["-r", other.to_str().unwrap()]).run().ok();
    to_other().says(&["up to date", "published"]);
    assert!(other.join("models%2Fen").is_dir() && other.join(".larder/1/runs/models%2Fen").is_dir());
    let run = to_other().says(&["up to date"]);
    assert!(!run.stderr.contains("published"), "{run}");
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn that_is_in_the_project_is_on_this_machine_only() {
    let sandbox = Sandbox::new();
    sandbox.configure("");
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok().says(&["kept on this machine only"]);
    checkout.remove("models");
    checkout.train(&[]).run().ok().says(&["restored"]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)));
}

/// A step during which the remote goes away.
const REMOTE_GOES: &str = "echo x >> ../trained\nmkdir ../remote 2>/dev/null\nmv ../remote ../away\ntouch ../remote\ncat corpus/a corpus/b > models/en\n";

pub(crate) fn that_goes_away_and_comes_back() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, REMOTE_GOES);
    let run = checkout.train(&[]).run().ok().says(&["warning: ", sandbox.remote().to_str().unwrap()]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)), "{run}");
    // Still away: the output is up to date, and the exit code stays.
    checkout.train(&[]).run().ok().says(&["up to date", "warning: "]);
    fs::remove_file(sandbox.remote()).unwrap();
    fs::rename(checkout.beside("away"), sandbox.remote()).unwrap();
    let run = checkout.train(&[]).run().ok().says(&["up to date", "published"]);
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (1, 1), "{run}");
    // The record has the command, as if it had been published at once.
    let record = fs::read_to_string(sandbox.remote().join(&checkout.records()[0])).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let external = &record["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!(external["command"], serde_json::json!(["sh", "step.sh"]));
    let run = checkout.train(&[]).run().ok().says(&["up to date"]);
    assert!(!run.stderr.contains("published"), "{run}");
    assert_eq!((checkout.trained(), checkout.records().len()), (1, 1));
    let clone = checkout.clone_to("second");
    clone.train(&[]).run().ok().says(&["restored"]);
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn that_goes_away_although_it_is_required() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, REMOTE_GOES);
    checkout.train(&["--require-remote"]).run().fails(125, &[sandbox.remote().to_str().unwrap()]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)), "the work is kept");
    // What is not published is trouble on the next run too.
    checkout.train(&["--require-remote"]).run().exits(125);
    assert_eq!(checkout.trained(), 1);
    fs::remove_file(sandbox.remote()).unwrap();
    fs::rename(checkout.beside("away"), sandbox.remote()).unwrap();
    checkout.train(&["--require-remote"]).run().ok();
    assert_eq!((checkout.trained(), sandbox.keys().len(), checkout.records().len()), (1, 1, 1));
}

pub(crate) fn that_can_only_be_read() {
    use std::os::unix::fs::PermissionsExt as _;

    const USER: u32 = 61_007;
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let everyone =
        |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    checkout.remove(".larder");
    checkout.remove("models");
    [sandbox.root(), &sandbox.project()].into_iter().for_each(everyone);
    let run = |options: &[&str]| {
        checkout.train(options).with_binary(sandbox.public_binary()).as_user(USER, &[USER]).run()
    };
    // A hit needs no right to write.
    let hit = run(&[]).ok().says(&["restored"]);
    assert!(!hit.stderr.contains("warning: "), "{hit}");
    checkout.write("corpus/b", "b2\n");
    let before = checkout.remote();
    let miss = run(&[]).ok().says(&["corpus/b", "warning: ", "denied"]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("a1\nb2\n"), "{miss}");
    assert!(checkout.remote() == before, "{miss}");
    run(&["--require-remote"]).exits(125);
    run(&["--mode", "read-only"]).ok().says(&["up to date"]);
    // Nor may this user read it now.
    fs::set_permissions(sandbox.remote(), fs::Permissions::from_mode(0o700)).unwrap();
    checkout.write("corpus/b", "b3\n");
    run(&["--require-remote"]).exits(125).says(&["denied"]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("a1\nb2\n"), "the command did not run");
    run(&[]).ok().says(&["warning: ", "denied"]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("a1\nb3\n"));
}
