//! Parallel uploads, and interrupted uploads, which leave no object and no parts.

use std::fs;
use std::time::Duration;

use larder_testkit::proxy::{Fired, HttpAction, HttpProxy, HttpRequest, HttpRule};
use larder_tests::{Larder, Run, Running, Signal, Tree, noise};

use crate::store::{Store, proxy_to_server};

const PROMPTLY: Duration = Duration::from_secs(2);

/// An output of several parts.
fn write_large(store: &Store, mib: usize) {
    Tree::new().with("large", noise(1, mib << 20)).write(&store.path("model"));
}

fn push(store: &Store) -> Larder {
    store.larder(["push", "model", "--compression", "none", "--command-hash", "x"])
}

fn through(proxy: &HttpProxy, larder: Larder) -> Larder {
    larder.env("AWS_ENDPOINT_URL_S3", proxy.url())
}

fn part_number(request: &HttpRequest) -> Option<u32> {
    let mut pairs = request.query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok())
}

/// The point at which a push stalls.
#[derive(Clone, Copy, Debug)]
enum Stand {
    /// The push has more to read, and its buffers are full.
    InTheMiddle,
    /// The push has read everything, and waits for one part before it publishes.
    AtTheEnd,
}

/// Gives no answer to the third part, or to all parts from the third on.
fn stall_parts(proxy: &HttpProxy, stand: Stand) -> Fired {
    let such = move |request: &HttpRequest| match stand {
        Stand::InTheMiddle => part_number(request) >= Some(3),
        Stand::AtTheEnd => part_number(request) == Some(3),
    };
    proxy.add(HttpRule::new(HttpAction::StallAnswer).on(such).always())
}

/// Waits until the server has some of the parts, and others are being sent.
fn wait_for_parts(store: &Store, running: &mut Running, stalled: &Fired) {
    running.wait_until(|_| stalled.count() > 0);
    running.wait_until(|_| store.open_uploads().iter().any(|upload| store.parts(upload) > 0));
}

/// The process may exit with the code or die of the signal. A shell shows the same number.
#[track_caller]
fn interrupt(running: Running, signal: Signal, code: i32) -> Run {
    let sent = running.signal(signal);
    let run = running.wait();
    let ended = run.code.or(run.signal.map(|signal| 128 + signal));
    assert_eq!(ended, Some(code), "{run}");
    assert!(run.after(sent) < PROMPTLY, "it ended after {:?}: {run}", run.after(sent));
    run
}

const SIGNALS: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

pub(crate) fn of_eight_pushers_one_uploads_and_all_succeed() {
    for mib in [0, 40] {
        let store = Store::new();
        let tree = Tree::small(1).with("large", noise(1, mib << 20));
        tree.write(&store.path("model"));
        let push = push(&store).arg("--json");
        let running: Vec<_> = (0..8).map(|_| push.spawn()).collect();
        // Wait for all processes before the first assertion, so that a failure leaves none behind.
        let runs: Vec<Run> = running.into_iter().map(Running::wait).collect();
        let outcomes: Vec<_> = runs.into_iter().map(|run| run.ok().outcome()).collect();
        let count = |wanted: &str| outcomes.iter().filter(|outcome| *outcome == wanted).count();
        assert_eq!((count("uploaded"), count("already_present")), (1, 7), "{outcomes:?}");
        store.key();
        store.assert_nothing_open();
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model", "--command-hash", "x"]).ok();
        Tree::read(&store.path("model")).assert_same(&tree);
    }
}

pub(crate) fn an_upload_of_a_killed_process_is_aborted_by_the_next_command() {
    // Any next command with the same project and remote cleans up.
    for next in ["push", "pull"] {
        let store = Store::new();
        Tree::small(1).write(&store.path("other"));
        store.run(["push", "other", "--command-hash", "y"]).ok();
        let other = store.key();
        write_large(&store, 80);
        let proxy = proxy_to_server();
        let stalled = stall_parts(&proxy, Stand::InTheMiddle);
        let mut killed = through(&proxy, push(&store)).spawn();
        wait_for_parts(&store, &mut killed, &stalled);
        killed.signal(Signal::KILL);
        assert_eq!(killed.wait().signal, Some(9));
        assert_eq!(store.keys(), [other], "an incomplete object is visible");
        assert_eq!(store.open_uploads().len(), 1, "a killed process leaves one upload");

        // Another endpoint may be another server. The open upload waits for a command that uses this endpoint.
        let next = store.larder([next, "other", "--command-hash", "y"]);
        let elsewhere = next.run().ok();
        assert!(elsewhere.stderr.contains(&proxy.url()), "{elsewhere}");
        assert_eq!(store.open_uploads().len(), 1);
        proxy.heal();
        through(&proxy, next).run().ok();
        store.assert_nothing_open();
        assert_eq!(push(&store).arg("--json").run().ok().outcome(), "uploaded");
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model"]).ok();
        assert!(fs::read(store.path("model/large")).unwrap() == noise(1, 80 << 20), "the content differs");
    }
}

pub(crate) fn the_upload_of_a_live_process_is_spared() {
    let store = Store::new();
    Tree::small(1).write(&store.path("quick"));
    write_large(&store, 40);
    let proxy = proxy_to_server();
    let stall = HttpRule::new(HttpAction::StallAnswer).on(|request| part_number(request) == Some(3));
    let stalled = proxy.add(stall);
    // The part is sent again after a third of that.
    let slow = push(&store).args(["--json", "--stall-timeout", "9"]);
    let mut slow = through(&proxy, slow).spawn();
    wait_for_parts(&store, &mut slow, &stalled);
    slow.signal(Signal::STOP);
    store.run(["push", "quick"]).ok();
    store.run(["pull", "quick"]).ok();
    assert_eq!(store.open_uploads().len(), 1, "the upload of a live process was aborted");
    slow.signal(Signal::CONT);
    assert_eq!(slow.wait().ok().outcome(), "uploaded");
    store.assert_nothing_open();
}

/// Waits until the server has all bytes that pass the proxy.
fn wait_for_standstill(store: &Store, running: &mut Running, stand: Stand, stalled: &Fired) {
    running.wait_until(|_| stalled.count() > 0);
    let parts = match stand {
        Stand::InTheMiddle => 2,
        // The last part has the bytes that the archive adds to the file.
        Stand::AtTheEnd => STAND_MIB / PART_MIB,
    };
    running.wait_until(|_| store.open_uploads().iter().any(|upload| store.parts(upload) == parts));
}

/// An output that exceeds the parts in memory and in flight.
const STAND_MIB: usize = 9 * PART_MIB;
const PART_MIB: usize = 8;

fn interrupt_push(stand: Stand) {
    for (signal, code) in SIGNALS {
        let store = Store::new();
        write_large(&store, STAND_MIB);
        let proxy = proxy_to_server();
        let stalled = stall_parts(&proxy, stand);
        let mut running = through(&proxy, push(&store)).spawn();
        wait_for_standstill(&store, &mut running, stand, &stalled);
        interrupt(running, signal, code);
        store.assert_no_trace();
    }
}

pub(crate) fn a_push_interrupted_in_the_middle_leaves_nothing() {
    interrupt_push(Stand::InTheMiddle);
}

pub(crate) fn a_push_interrupted_at_its_end_leaves_nothing() {
    interrupt_push(Stand::AtTheEnd);
}

pub(crate) fn an_interrupted_push_of_one_request_leaves_nothing() {
    let store = Store::new();
    Tree::small(1).write(&store.path("small"));
    let proxy = proxy_to_server();
    let is_put = |request: &HttpRequest| request.method() == "PUT" && request.path().contains("/small/");
    let stalled = proxy.add(HttpRule::new(HttpAction::StallAnswer).on(is_put).always());
    for (signal, code) in SIGNALS {
        let before = stalled.count();
        let mut running = through(&proxy, store.larder(["push", "small"])).spawn();
        running.wait_until(|_| stalled.count() > before);
        interrupt(running, signal, code);
        store.assert_no_trace();
    }
}

pub(crate) fn an_interrupted_push_at_full_speed_leaves_nothing() {
    for (signal, code) in SIGNALS {
        let store = Store::new();
        write_large(&store, 320);
        let mut running = push(&store).spawn();
        running.wait_until(|_| !store.open_uploads().is_empty());
        interrupt(running, signal, code);
        store.assert_no_trace();
    }
}

pub(crate) fn an_interrupt_does_not_wait_for_a_silent_server() {
    let store = Store::new();
    write_large(&store, STAND_MIB);
    let proxy = proxy_to_server();
    let stand = Stand::InTheMiddle;
    let is_abort = |request: &HttpRequest| request.method() == "DELETE";
    for (signal, code) in SIGNALS {
        let stalled = stall_parts(&proxy, stand);
        let unanswered = proxy.add(HttpRule::new(HttpAction::StallAnswer).on(is_abort).always());
        let mut running = through(&proxy, push(&store)).spawn();
        wait_for_standstill(&store, &mut running, stand, &stalled);
        interrupt(running, signal, code);
        assert!(unanswered.count() > 0, "the abort was not tried");
        assert_eq!(store.open_uploads().len(), 1);
        // The journal still has the upload.
        Tree::small(1).write(&store.path("small"));
        proxy.heal();
        through(&proxy, store.larder(["push", "small"])).run().ok();
        store.assert_nothing_open();
        store.empty_remote();
        fs::remove_dir_all(store.path("small")).unwrap();
    }
}

pub(crate) fn an_interrupted_pull_leaves_the_destination() {
    let store = Store::new();
    let mine = Tree::small(7);
    // Read with several parallel requests, and with one.
    for (mib, after) in [(40, 3 << 20), (1, 1_000)] {
        write_large(&store, mib);
        push(&store).run().ok();
        fs::remove_dir_all(store.path("model")).unwrap();
        mine.write(&store.path("model"));
        let proxy = proxy_to_server();
        let is_get = |request: &HttpRequest| request.method() == "GET" && !request.has_query("list-type");
        let stalled = proxy.add(HttpRule::new(HttpAction::StallBody { after }).on(is_get).always());
        for (signal, code) in SIGNALS {
            let before = stalled.count();
            let pull = store.larder(["pull", "model", "--force", "--command-hash", "x"]);
            let mut running = through(&proxy, pull).spawn();
            running.wait_until(|_| stalled.count() > before);
            interrupt(running, signal, code);
            Tree::read(&store.path("model")).assert_same(&mine);
            store.assert_clean();
        }
        store.empty_remote();
        fs::remove_dir_all(store.path("model")).unwrap();
    }
}
