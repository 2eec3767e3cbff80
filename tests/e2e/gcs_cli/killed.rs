//! Parallel uploads, and interrupted uploads, which leave no object.

use std::fs;
use std::time::Duration;

use larder_tests::{Larder, Run, Running, Signal, Tree, noise};

use crate::store::Store;

const PROMPTLY: Duration = Duration::from_secs(2);

fn push(store: &Store) -> Larder {
    store.larder(["push", "model", "--compression", "none", "--command-hash", "x"])
}

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
        fs::remove_dir_all(store.path("model")).unwrap();
        store.run(["pull", "model", "--command-hash", "x"]).ok();
        Tree::read(&store.path("model")).assert_same(&tree);
    }
}

/// Starts a push, and waits until some bytes are sent.
fn begun(store: &Store) -> Running {
    let mut running = push(store).spawn();
    // The output is read once to hash it. Then it is packed and sent.
    running.wait_until(|running| running.bytes_written() > 24 << 20);
    running
}

pub(crate) fn a_killed_push_leaves_no_object() {
    let store = Store::new();
    let tree = Tree::new().with("large", noise(1, 256 << 20));
    tree.write(&store.path("model"));
    let running = begun(&store);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    assert_eq!(store.keys(), Vec::<String>::new(), "an incomplete object is visible");
    push(&store).run().ok();
    store.key();
    store.assert_clean();
}

pub(crate) fn an_interrupted_push_leaves_no_object() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let store = Store::new();
        Tree::new().with("large", noise(1, 256 << 20)).write(&store.path("model"));
        let running = begun(&store);
        let sent = running.signal(signal);
        let run = running.wait();
        // The process may exit with the code or die of the signal. A shell shows the same number.
        let ended = run.code.or(run.signal.map(|signal| 128 + signal));
        assert_eq!(ended, Some(code), "{run}");
        assert!(run.after(sent) < PROMPTLY, "it ended after {:?}: {run}", run.after(sent));
        assert_eq!(store.keys(), Vec::<String>::new(), "an incomplete object is visible");
        store.assert_clean();
    }
}
