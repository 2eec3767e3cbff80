//! Pins and `larder run`.

use std::fs;

use larder_tests::{Fifo, Sandbox};

fn lock(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("larder.lock")).unwrap_or_default()
}

pub(crate) fn a_run_pins_its_outputs() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in"), "1").unwrap();
    let run = |command: &[&str]| {
        sandbox.larder(["run", "--pin", "-d", "in", "-o", "out", "--"]).args(command).run()
    };
    let copy = &["cp", "in", "out"];
    // A miss, an output that is up to date, and a hit.
    for again in ["out", "larder.lock", ".larder/runs"] {
        run(copy).ok();
        assert!(lock(&sandbox).contains("path = \"out\""), "{again}");
        sandbox.run(["status", "--check"]).ok();
        let path = sandbox.path(again);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    let before = lock(&sandbox);
    fs::write(sandbox.path("in"), "2").unwrap();
    run(&["false"]).exits(1);
    assert_eq!(lock(&sandbox), before, "a failed command");
    run(copy).ok();
    assert_ne!(lock(&sandbox), before);
    sandbox.run(["status", "--check", "--online"]).ok();
    // Nothing runs for a pin that is refused.
    fs::write(sandbox.path("project.yml"), "commands: []\n").unwrap();
    run(&["touch", "ran"]).fails(125, &["weasel"]);
    assert!(!sandbox.path("ran").exists());
}

pub(crate) fn a_push_waits_until_a_run_has_made_its_output() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in"), "1").unwrap();
    fs::write(sandbox.path("out"), "old").unwrap();
    sandbox.run(["pin", "out"]).ok();
    let gate = Fifo::new(&sandbox.root().join("gate"));
    let step = "echo half > out; touch ../ready; until read _ < ../gate; do :; done; echo whole > out";
    let mut running = sandbox.larder(["run", "-d", "in", "-o", "out", "--", "sh", "-c", step]).spawn();
    running.wait_until(|_| sandbox.root().join("ready").exists());
    let mut push = sandbox.larder(["push"]).spawn();
    push.wait_until(|push| push.stderr_so_far().contains("waiting"));
    gate.release();
    running.wait().ok();
    push.wait().ok();
    assert_eq!(fs::read_to_string(sandbox.path("out")).unwrap(), "whole\n");
    sandbox.run(["status", "--check", "--online"]).ok();
}

pub(crate) fn weasel_hashes_are_never_pinned() {
    let sandbox = Sandbox::new();
    let write = |text: &str| fs::write(sandbox.path("model"), text).unwrap();
    write("1");
    sandbox.run(["pin", "model"]).ok();
    write("2");
    let before = lock(&sandbox);
    for args in [&["pin", "model"][..], &["push"], &["push", "model"], &["pull", "model", "--latest"]] {
        sandbox.larder([]).args(args).args(["--hash", "weasel"]).run().fails(2, &["weasel"]);
        assert_eq!(lock(&sandbox), before, "{args:?}");
    }
}
