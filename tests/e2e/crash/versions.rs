//! Kills of forced pulls that replace one or several outputs.

use larder_tests::{Sandbox, Tree};

use crate::sweep::{remove, sweep};

/// A sandbox where two versions of `paths` were pushed. The outputs are the old version, which a test can put back.
struct Versions<'a> {
    sandbox: &'a Sandbox,
    paths: &'a [&'a str],
}

impl<'a> Versions<'a> {
    fn push(sandbox: &'a Sandbox, paths: &'a [&'a str]) -> Self {
        let versions = Self { sandbox, paths };
        versions.put(Self::new_tree);
        sandbox.larder(["push", "--command-hash", "new"]).args(paths).run().ok();
        versions.put(Self::old_tree);
        versions
    }

    fn old_tree(number: usize) -> Tree {
        Tree::small(100 + number as u64)
    }

    fn new_tree(number: usize) -> Tree {
        Tree::small(200 + number as u64)
    }

    fn put(&self, tree: impl Fn(usize) -> Tree) {
        for (number, path) in self.paths.iter().enumerate() {
            remove(self.sandbox.path(path));
            tree(number).write(&self.sandbox.path(path));
        }
    }

    fn all_are(&self, tree: impl Fn(usize) -> Tree) -> bool {
        let read = |path: &&str| Tree::read_if_exists(&self.sandbox.path(path));
        self.paths.iter().map(read).enumerate().all(|(number, found)| found == Some(tree(number)))
    }

    /// Kills forced pulls. With `at_once`, the destination is complete even before the next command.
    fn sweep(&self, at_once: bool) {
        let pull = self.sandbox.larder(["pull", "--command-hash", "new"]).args(self.paths);
        let put_old = || self.put(Self::old_tree);
        sweep(&pull.clone().arg("--force"), put_old, |killed, when| {
            let old_or_new = || self.all_are(Self::old_tree) || self.all_are(Self::new_tree);
            assert!(!at_once || old_or_new(), "{when}, a destination is neither old nor new");
            assert!(killed || self.all_are(Self::new_tree), "{when}");
            // Any next command completes or undoes the move.
            let next = pull.run();
            assert!(
                old_or_new(),
                "{when}, and the next command, a destination is neither old nor new: {next}"
            );
            let _ = next.ok();
            pull.clone().arg("--force").run().ok();
            assert!(self.all_are(Self::new_tree), "{when}");
            self.sandbox.assert_clean();
        });
    }
}

pub(crate) fn killed_replacement() {
    let sandbox = Sandbox::new();
    Versions::push(&sandbox, &["model"]).sweep(true);
}

pub(crate) fn killed_without_exchange() {
    let sandbox = Sandbox::without_exchange();
    Versions::push(&sandbox, &["model"]).sweep(false);
}

pub(crate) fn killed_pair() {
    let sandbox = Sandbox::new();
    Versions::push(&sandbox, &["one", "two"]).sweep(false);
}

pub(crate) fn killed_pair_without_exchange() {
    let sandbox = Sandbox::without_exchange();
    Versions::push(&sandbox, &["one", "two"]).sweep(false);
}

/// A directory of a container image cannot be moved as a whole. Its entries are moved one by one.
pub(crate) fn killed_over_a_lower_layer() {
    let paths = ["one", "two"];
    let origin = Sandbox::new();
    let versions = Versions::push(&origin, &paths);
    let remote = origin.remote();
    for nth in 1.. {
        let sandbox = Sandbox::on_overlay(|project| {
            for (number, path) in paths.iter().enumerate() {
                Versions::old_tree(number).write(&project.join(path));
            }
        });
        let pull = sandbox.larder(["pull", "--command-hash", "new", "-r"]).arg(&remote).args(paths);
        let kill = format!("renameat2:signal=SIGKILL:when={nth}");
        let killed = pull.clone().arg("--force").inject(&kill).run();
        let here = Versions { sandbox: &sandbox, ..versions };
        if killed.signal.is_none() {
            assert!(here.all_are(Versions::new_tree) && nth > 10, "{nth}: {killed}");
            return;
        }
        // After any next command, all outputs are old, or all are new.
        let next = sandbox.larder(["ls", "-r"]).arg(&remote).run().ok();
        let old_or_new = here.all_are(Versions::old_tree) || here.all_are(Versions::new_tree);
        assert!(old_or_new, "mixed versions after a kill at rename {nth} and the next command: {next}");
        pull.clone().arg("--force").run().ok();
        assert!(here.all_are(Versions::new_tree), "killed at rename {nth}");
        sandbox.assert_clean();
    }
}
