//! `larder project audit` and its repairs.

use std::fs;

use larder_tests::Sandbox;
use serde_json::Value;

use crate::plain;
use crate::weasel::{project, run_all};

pub(crate) fn advice_of_audits() {
    let sandbox = plain();
    sandbox.run(["project", "push"]).ok();
    let object = sandbox.object();
    let half = fs::read(&object).unwrap().split_off(20);
    fs::write(&object, &half).unwrap();
    sandbox.run(["project", "audit"]).fails(4, &["1 damaged", "`larder project push --force` repairs it"]);
    // An object that was made from other inputs.
    let other = sandbox.remote().join("out").join("0".repeat(32)).join("1".repeat(32));
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::write(&other, &half).unwrap();
    sandbox
        .run(["project", "audit"])
        .fails(4, &["2 damaged", "repairs 1 of them", "`--delete` removes them"]);
    sandbox.run(["project", "push", "--force"]).ok();
    let audit = sandbox.run(["project", "audit"]).fails(4, &["1 damaged", "`--delete` removes it"]);
    assert!(!audit.stderr.contains("--force"), "{audit}");
    // The output for the repair is gone.
    fs::write(&object, &half).unwrap();
    fs::remove_file(sandbox.path("out")).unwrap();
    let audit = sandbox.run(["project", "audit"]).fails(4, &["2 damaged", "`--delete` removes them"]);
    assert!(!audit.stderr.contains("--force"), "{audit}");
}

pub(crate) fn audit() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    run_all(&weasel);
    weasel.run("push");
    sandbox.run(["project", "audit"]).ok();
    let keys = sandbox.keys();
    let object = |number: usize| sandbox.remote().join(&keys[number]);
    // A killed push, another user's truncated upload, and a bit that a disk has flipped.
    fs::write(object(0), "").unwrap();
    let whole = fs::read(object(1)).unwrap();
    fs::write(object(1), &whole[..whole.len() / 3]).unwrap();
    let mut flipped = fs::read(object(2)).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(object(2), flipped).unwrap();
    let audit = sandbox.run(["project", "audit", "--json"]).exits(4);
    let kinds: Vec<Value> = audit.results().iter().map(|finding| finding["kind"].clone()).collect();
    assert_eq!(kinds, ["truncated", "truncated", "damaged"], "{audit}");
    sandbox.run(["project", "audit", "--delete", "--yes"]).ok();
    assert_eq!(sandbox.keys(), keys[3..]);
    sandbox.run(["project", "push"]).ok();
    assert_eq!(sandbox.keys(), keys);
    sandbox.run(["project", "audit"]).ok();
    fs::write(object(1), &whole[..whole.len() / 3]).unwrap();
    sandbox.run(["project", "push", "--force"]).ok();
    sandbox.run(["project", "audit"]).ok();
    sandbox.assert_clean();
}
