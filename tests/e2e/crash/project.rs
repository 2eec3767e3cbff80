//! Kills of `larder project pull`, which moves several independent outputs into place in parallel.

use std::fs;

use larder_tests::{Sandbox, Tree};
use serde_json::json;

use crate::sweep::{remove, sweep};

const OUTPUTS: [&str; 3] = ["one", "deep/two", "three"];

/// The user's files next to the outputs and in their parent directories.
const MINE: [&str; 2] = ["in", "deep/mine"];

fn old_tree(number: usize) -> Tree {
    Tree::new().with("old", format!("old {number}")).with("a/file", format!("old {number}"))
}

fn new_tree(number: usize) -> Tree {
    Tree::new().with("new", format!("new {number}")).with("a/file", format!("new {number}"))
}

fn put(sandbox: &Sandbox, tree: fn(usize) -> Tree) {
    for (number, output) in OUTPUTS.iter().enumerate() {
        remove(sandbox.path(output));
        tree(number).write(&sandbox.path(output));
    }
}

/// Kills a pull that replaces three outputs, and then a pull that restores three missing ones.
fn sweep_pulls(sandbox: &Sandbox) {
    let project = json!({
        "remotes": { "default": sandbox.remote() },
        "commands": [{ "name": "a", "script": ["make a"], "deps": ["in"], "outputs": OUTPUTS }],
    });
    fs::write(sandbox.path("project.yml"), project.to_string()).unwrap();
    put(sandbox, new_tree);
    for path in MINE {
        fs::write(sandbox.path(path), "mine").unwrap();
    }
    sandbox.run(["project", "push"]).ok();
    let force = sandbox.larder(["project", "pull", "--force"]);
    for replaces in [true, false] {
        let prepare = || {
            remove(sandbox.path("project.lock"));
            put(sandbox, old_tree);
            for output in OUTPUTS.iter().filter(|_| !replaces) {
                remove(sandbox.path(output));
            }
        };
        sweep(&force, prepare, |killed, when| {
            // Any next command completes or undoes each interrupted move.
            let next = sandbox.run(["ls"]).ok();
            let mut are_new = true;
            for (number, output) in OUTPUTS.iter().enumerate() {
                let found = Tree::read_if_exists(&sandbox.path(output));
                let is_new = found == Some(new_tree(number));
                let is_old = found == replaces.then(|| old_tree(number));
                assert!(is_new || is_old, "{when}, {output} is neither old nor new: {found:?}, {next}");
                are_new &= is_new;
            }
            assert!(killed || are_new, "{when}");
            let lock = fs::read_to_string(sandbox.path("project.lock")).unwrap_or_default();
            assert!(are_new || lock.is_empty(), "{when}, the lock has more than there is: {lock}");
            for path in MINE {
                assert_eq!(fs::read(sandbox.path(path)).unwrap(), b"mine", "{when}");
            }
            force.run().ok();
            for (number, output) in OUTPUTS.iter().enumerate() {
                Tree::read(&sandbox.path(output)).assert_same(&new_tree(number));
            }
            assert!(fs::read_to_string(sandbox.path("project.lock")).unwrap().starts_with("a:\n"), "{when}");
            sandbox.assert_clean();
        });
    }
}

pub(crate) fn killed_pull() {
    sweep_pulls(&Sandbox::new());
}

pub(crate) fn killed_pull_without_exchange() {
    sweep_pulls(&Sandbox::without_exchange());
}
