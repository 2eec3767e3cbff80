//! `larder run` and its command, killed at every system call.

use larder_tests::{Sandbox, Tree};

use crate::sweep::{remove, sweep};

const RUN: [&str; 9] = ["run", "-d", "corpus", "-o", "model", "--", "cp", "-R", "corpus"];

/// A killed miss leaves the old output or the whole new one, once the next command has recovered it.
pub(crate) fn killed_miss() {
    let sandbox = Sandbox::new();
    let (old, new) = (Tree::small(1), Tree::small(2));
    new.write(&sandbox.path("corpus"));
    let run = sandbox.larder(RUN).arg("model");
    let start_over = || {
        for path in ["model", ".larder"] {
            remove(sandbox.path(path));
        }
        remove(sandbox.remote());
        old.write(&sandbox.path("model"));
    };
    sweep(&run, start_over, |killed, when| {
        sandbox.run(["ls"]).ok();
        let found = Tree::read(&sandbox.path("model"));
        assert!(found == new || (killed && found == old), "{when}: {found:?}");
        // A record is whole, and comes after the object that it names.
        let records = sandbox.run(["log", "--json"]).ok().results().len();
        assert!(records <= sandbox.keys().len() && sandbox.keys().len() <= 1, "{when}");
        assert!(found == new || records == 0, "{when}: the record of an output that was put back");
        run.run().ok();
        Tree::read(&sandbox.path("model")).assert_same(&new);
        assert_eq!(sandbox.keys().len(), 1, "{when}");
        assert!(!sandbox.run(["log", "--json"]).ok().results().is_empty(), "{when}");
        sandbox.assert_clean();
        let again = run.run().ok();
        assert!(again.stderr.contains("up to date"), "{when}: {again}");
    });
}

/// A killed hit leaves no output or the whole one.
pub(crate) fn killed_hit() {
    let sandbox = Sandbox::new();
    let (old, new) = (Tree::small(1), Tree::small(2));
    new.write(&sandbox.path("corpus"));
    let run = sandbox.larder(RUN).arg("model");
    run.run().ok();
    let remote = Tree::read(&sandbox.remote());
    let start_over = || {
        for path in ["model", ".larder"] {
            remove(sandbox.path(path));
        }
        old.write(&sandbox.path("model"));
    };
    sweep(&run, start_over, |killed, when| {
        sandbox.run(["ls"]).ok();
        let found = Tree::read(&sandbox.path("model"));
        assert!(found == new || (killed && found == old), "{when}: {found:?}");
        run.run().ok();
        Tree::read(&sandbox.path("model")).assert_same(&new);
        sandbox.assert_clean();
        assert!(Tree::read(&sandbox.remote()) == remote, "{when}: a hit writes to the remote");
        // What was restored may have made way again for the old version, which no run had made.
        assert!(killed || !sandbox.path(".larder/failed").exists(), "{when}");
    });
}
