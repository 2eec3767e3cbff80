//! Parallel uploads, and interrupted uploads, which leave no object and no temporary file.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use larder_testkit::proxy::{Direction, LinkFault, LinkShape, TcpProxy};
use larder_tests::{Larder, Run, Running, Signal, Tree, noise};

use crate::sshd::Sshd;
use crate::store::Store;

const PROMPTLY: Duration = Duration::from_secs(2);

/// The bandwidth of a link that is slow enough to observe an upload, in bytes per second.
const SLOWLY: u64 = 16 << 20;
const MIB: u64 = 1 << 20;

/// An output of several parts.
fn write_large(store: &Store, mib: usize) -> Tree {
    let tree = Tree::new().with("large", noise(1, mib << 20));
    tree.write(&store.path("model"));
    tree
}

fn push(larder: &Larder) -> Larder {
    larder.clone().args(["push", "model", "--compression", "none", "--command-hash", "x"])
}

/// Waits until the server has this many bytes of an upload.
fn wait_for_upload(store: &Store, running: &mut Running, bytes: u64) {
    running.wait_until(|_| store.temporaries().iter().any(|(_, length)| *length >= bytes));
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
        let push = push(&store.larder([])).arg("--json");
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

pub(crate) fn what_a_killed_push_leaves_is_swept_by_the_next_command() {
    // Any next command with the same project and remote cleans up.
    for next in ["push", "pull"] {
        let store = Store::new();
        Tree::small(1).write(&store.path("other"));
        store.run(["push", "other", "--command-hash", "y"]).ok();
        let other = store.key();
        let tree = write_large(&store, 64);
        let proxy = store.proxy();
        proxy.shape(LinkShape::default().bandwidth(SLOWLY));
        // The next command uses the same port, so that the test does not depend on whether the port identifies a remote.
        let mut killed = push(&store.through(&proxy, [])).spawn();
        wait_for_upload(&store, &mut killed, 4 * MIB);
        killed.signal(Signal::KILL);
        assert_eq!(killed.wait().signal, Some(9));
        assert_eq!(store.keys(), [other], "an incomplete object is visible");
        assert_eq!(store.temporaries().len(), 1, "a killed process leaves one temporary file");

        proxy.shape(LinkShape::default());
        store.through(&proxy, [next, "other", "--command-hash", "y"]).run().ok();
        store.assert_nothing_open();
        assert_eq!(push(&store.through(&proxy, [])).arg("--json").run().ok().outcome(), "uploaded");
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model"]).ok();
        Tree::read(&store.path("model")).assert_same(&tree);
    }
}

pub(crate) fn the_upload_of_a_live_process_is_spared() {
    let store = Store::new();
    Tree::small(1).write(&store.path("quick"));
    write_large(&store, 64);
    let proxy = store.proxy();
    proxy.shape(LinkShape::default().bandwidth(SLOWLY));
    let mut slow = push(&store.through(&proxy, ["--json"])).spawn();
    wait_for_upload(&store, &mut slow, 4 * MIB);
    slow.signal(Signal::STOP);
    for command in ["push", "pull"] {
        store.through(&proxy, [command, "quick"]).run().ok();
    }
    assert_eq!(store.temporaries().len(), 1, "the upload of a live process was removed");
    proxy.shape(LinkShape::default());
    slow.signal(Signal::CONT);
    assert_eq!(slow.wait().ok().outcome(), "uploaded");
    store.assert_nothing_open();
}

pub(crate) fn a_cut_connection_is_replaced() {
    let store = Store::new();
    let tree = write_large(&store, 40);
    for make in [LinkFault::cut_after, LinkFault::reset_after] {
        let proxy = store.proxy();
        let fired = proxy.inject(make(Direction::Up, 10 * MIB).in_total());
        let pushed = push(&store.through(&proxy, [])).args(["--force", "--json"]).run().ok();
        assert_eq!((pushed.outcome().as_str(), fired.count()), ("uploaded", 1));
        store.key();
        store.assert_nothing_open();
        let fired = proxy.inject(make(Direction::Down, 10 * MIB).in_total());
        fs::remove_dir_all(store.path("model")).unwrap();
        store.through(&proxy, ["pull", "model"]).run().ok();
        assert_eq!(fired.count(), 1);
        Tree::read(&store.path("model")).assert_same(&tree);
    }
}

pub(crate) fn an_interrupted_push_leaves_nothing() {
    // Kill in the middle of an upload over a slow link, and at full speed.
    for (mib, bandwidth) in [(64, Some(SLOWLY)), (512, None)] {
        let store = Store::new();
        write_large(&store, mib);
        let proxy = store.proxy();
        if let Some(bandwidth) = bandwidth {
            proxy.shape(LinkShape::default().bandwidth(bandwidth));
        }
        for (signal, code) in SIGNALS {
            let mut running = push(&store.through(&proxy, [])).spawn();
            wait_for_upload(&store, &mut running, MIB);
            interrupt(running, signal, code);
            store.assert_no_trace();
        }
    }
}

pub(crate) fn an_interrupt_does_not_wait_for_a_silent_server() {
    let store = Store::new();
    write_large(&store, 64);
    for (signal, code) in SIGNALS {
        let proxy = store.proxy();
        let stalled = proxy.inject(LinkFault::stall_after(Direction::Up, 6 * MIB).in_total().always());
        let mut running = push(&store.through(&proxy, [])).spawn();
        running.wait_until(|_| stalled.count() > 0);
        wait_for_upload(&store, &mut running, 1);
        interrupt(running, signal, code);
        assert_eq!(store.keys(), Vec::<String>::new());
        // The journal still has the leftovers.
        proxy.heal();
        proxy.sever();
        Tree::small(1).write(&store.path("small"));
        store.through(&proxy, ["push", "small"]).run().ok();
        store.assert_nothing_open();
        store.empty_remote();
        fs::remove_dir_all(store.path("small")).unwrap();
    }
}

pub(crate) fn an_interrupted_pull_leaves_the_destination() {
    let store = Store::new();
    let mine = Tree::small(7);
    write_large(&store, 64);
    push(&store.larder([])).run().ok();
    fs::remove_dir_all(store.path("model")).unwrap();
    mine.write(&store.path("model"));
    // Over a link that works, and over one that stalls.
    for stalls in [false, true] {
        for (signal, code) in SIGNALS {
            let proxy = store.proxy();
            if stalls {
                proxy.inject(LinkFault::stall_after(Direction::Down, 6 * MIB).in_total().always());
            } else {
                proxy.shape(LinkShape::default().bandwidth(SLOWLY));
            }
            let mut running = store.through(&proxy, ["pull", "model", "--force"]).spawn();
            running.wait_until(|_| proxy.bytes(Direction::Down) >= 5 * MIB);
            interrupt(running, signal, code);
            Tree::read(&store.path("model")).assert_same(&mine);
            store.assert_clean();
        }
    }
}

/// A store on its own server, behind a link that is slow enough to observe an upload.
struct Killable {
    store: Store,
    sshd: Sshd,
    proxy: TcpProxy,
}

impl Killable {
    fn new() -> Self {
        let store = Store::new();
        let sshd = Sshd::usual(&store);
        let proxy = TcpProxy::start(sshd.address()).unwrap();
        proxy.shape(LinkShape::default().bandwidth(SLOWLY));
        let at_proxy =
            sshd.known.replace(&sshd.account.port.to_string(), &proxy.address().port().to_string());
        store.write_ssh("known_hosts", &at_proxy);
        Self { store, sshd, proxy }
    }

    fn larder<const N: usize>(&self, args: [&str; N]) -> Larder {
        self.store.larder(args).args(["-r", &self.store.at_port(self.proxy.address().port())])
    }
}

pub(crate) fn one_end_of_the_sessions_is_survived_or_told() {
    let killable = Killable::new();
    let Killable { store, sshd, proxy } = &killable;
    let tree = write_large(store, 64);
    let mut running = push(&killable.larder([])).spawn();
    wait_for_upload(store, &mut running, 4 * MIB);
    assert!(sshd.kill_sessions() > 0);
    let run = running.wait();
    match run.code {
        Some(0) => {}
        Some(5) => assert_eq!(store.keys(), Vec::<String>::new(), "an incomplete object is visible"),
        _ => panic!("{run}"),
    }
    proxy.shape(LinkShape::default());
    push(&killable.larder([])).run().ok();
    store.key();
    store.assert_nothing_open();

    proxy.shape(LinkShape::default().bandwidth(SLOWLY));
    fs::remove_dir_all(store.path("model")).unwrap();
    let before = proxy.bytes(Direction::Down);
    let mut running = killable.larder(["pull", "model"]).spawn();
    running.wait_until(|_| proxy.bytes(Direction::Down) >= before + 5 * MIB);
    assert!(sshd.kill_sessions() > 0);
    let run = running.wait();
    match run.code {
        Some(0) => {}
        Some(5) => assert!(!store.path("model").exists(), "an incomplete output is visible"),
        _ => panic!("{run}"),
    }
    store.assert_clean();
    proxy.shape(LinkShape::default());
    killable.larder(["pull", "model"]).run().ok();
    Tree::read(&store.path("model")).assert_same(&tree);
}

pub(crate) fn sessions_that_always_end_are_told() {
    let killable = Killable::new();
    let Killable { store, sshd, proxy } = &killable;
    let tree = write_large(store, 64);
    let mut running = push(&killable.larder(["-v", "--stall-timeout", "6"])).spawn();
    wait_for_upload(store, &mut running, 4 * MIB);
    let began = Instant::now();
    while running.is_running() {
        sshd.kill_sessions();
        assert!(began.elapsed() < Duration::from_mins(1), "it retries for too long");
        thread::sleep(Duration::from_millis(20));
    }
    running.wait().fails(5, &[&sshd.account.host, &store.directory.display().to_string()]);
    assert_eq!(store.keys(), Vec::<String>::new(), "an incomplete object is visible");
    proxy.shape(LinkShape::default());
    push(&killable.larder([])).run().ok();
    store.assert_nothing_open();
    fs::remove_dir_all(store.path("model")).unwrap();
    killable.larder(["pull", "model"]).run().ok();
    Tree::read(&store.path("model")).assert_same(&tree);
}
