//! Objects that are gone, damaged, of a later format, or made twice.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use larder_tests::{DAMAGES, Sandbox};

use crate::checkout::{Checkout, MODEL, TRAINED};

/// A sandbox's checkout after a run whose output is gone here.
fn trained(sandbox: &Sandbox) -> Checkout<'_> {
    let checkout = Checkout::new(sandbox);
    checkout.train(&[]).run().ok();
    checkout.remove("models");
    checkout
}

pub(crate) fn an_evicted_object_is_a_miss_that_runs() {
    let sandbox = Sandbox::new();
    let checkout = trained(&sandbox);
    let object = sandbox.object();
    let whole = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    checkout.train(&[]).run().ok().says(&["published"]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (2, Some(TRAINED)));
    assert!(fs::read(&object).unwrap() == whole, "the object is back");
    checkout.remove("models");
    checkout.train(&[]).run().ok().says(&["restored"]);
    // An object of 0 bytes counts as absent.
    checkout.remove("models");
    fs::write(&object, "").unwrap();
    checkout.train(&[]).run().ok().says(&["published"]);
    assert_eq!(checkout.trained(), 3);
    assert!(fs::read(&object).unwrap() == whole, "the object is back");
}

pub(crate) fn of_several_objects_all_must_be_there() {
    let sandbox = Sandbox::new();
    let script = "echo x >> ../trained\ncp corpus/a models/en\ncp corpus/b models/de\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let outputs = ["-o", "models/en", "-o", "models/de"];
    checkout.step(&outputs).run().ok();
    checkout.remove("models");
    let key = sandbox.keys().into_iter().find(|key| key.starts_with("models%2Fde/")).unwrap();
    fs::remove_file(sandbox.remote().join(key)).unwrap();
    checkout.step(&outputs).run().ok();
    assert_eq!((checkout.trained(), sandbox.keys().len()), (2, 2));
}

pub(crate) fn a_damaged_object_is_said_and_replaced() {
    for (name, damage) in DAMAGES {
        let sandbox = Sandbox::new();
        let checkout = trained(&sandbox);
        let object = sandbox.object();
        let whole = fs::read(&object).unwrap();
        let broken = damage(&whole);
        fs::write(&object, &broken).unwrap();
        // Nothing is written by those who may only read.
        let clone = checkout.clone_to("second");
        let key = sandbox.keys().remove(0);
        let run = clone.train(&["--mode", "read-only"]).run().ok().says(&["warning: ", "damaged", &key]);
        assert!(!run.stderr.contains("first run"), "{name}: damage is no miss: {run}");
        assert!(fs::read(&object).unwrap() == broken, "{name}");
        assert_eq!(clone.read(MODEL).as_deref(), Some(TRAINED));
        let required = checkout.train(&["--require-remote"]).run().exits(125);
        assert!(required.stderr.contains("damaged"), "{name}: {required}");
        assert!(fs::read(&object).unwrap() == broken, "{name}");
        let run = checkout.train(&[]).run().ok().says(&["warning: ", "damaged", &key]);
        assert!(!run.stderr.contains("first run"), "{name}: damage is no miss: {run}");
        assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (3, Some(TRAINED)));
        assert!(fs::read(&object).unwrap() == whole, "{name}: the push replaces the object: {run}");
        checkout.remove("models");
        let hit = checkout.train(&[]).run().ok().says(&["restored"]);
        assert!(!hit.stderr.contains("warning"), "{name}: {hit}");
        sandbox.assert_clean();
    }
}

pub(crate) fn a_damaged_object_stays_if_the_command_fails() {
    let sandbox = Sandbox::new();
    let script = "cat corpus/a corpus/b > models/en\nexit $(cat ../code)\n";
    let checkout = Checkout::with_step(&sandbox, script);
    fs::write(checkout.beside("code"), "0").unwrap();
    checkout.train(&[]).run().ok();
    checkout.remove("models");
    fs::write(sandbox.object(), "damaged").unwrap();
    fs::write(checkout.beside("code"), "3").unwrap();
    checkout.train(&[]).run().exits(3).says(&["damaged"]);
    assert_eq!(fs::read(sandbox.object()).unwrap(), b"damaged");
}

pub(crate) fn an_object_of_a_later_format_is_left_alone() {
    let sandbox = Sandbox::new();
    let checkout = trained(&sandbox);
    let later = b"larder-2: of a later version".to_vec();
    fs::write(sandbox.object(), &later).unwrap();
    let run = checkout.train(&[]).run().ok().says(&["warning: ", "newer larder"]);
    assert!(!run.stderr.contains("damaged"), "{run}");
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (2, Some(TRAINED)));
    assert_eq!(fs::read(sandbox.object()).unwrap(), later);
}

/// A step whose clones wait for each other, and whose result is that of `../results/CLONE`.
const RACE: &str = "clone=$(basename \"$PWD\")
echo x >> ../trained
touch ../waiting-$clone
until read _ < ../gate || [ ! -e ../gate ]; do :; done
cp ../results/$clone models/en
";

/// Runs the step in two clones at the same time, and publishes the results one after the other.
fn race(sandbox: &Sandbox, results: [&str; 2]) -> (String, String) {
    let first = Checkout::with_step(sandbox, RACE);
    let second = first.clone_to("second");
    let gate = first.gate();
    fs::create_dir(first.beside("results")).unwrap();
    let name = |checkout: &Checkout<'_>| checkout.path("").file_name().unwrap().to_str().unwrap().to_owned();
    let waits = |checkout: &Checkout<'_>| -> PathBuf { first.beside(&format!("waiting-{}", name(checkout))) };
    for (checkout, result) in [&first, &second].into_iter().zip(results) {
        fs::write(first.beside("results").join(name(checkout)), result).unwrap();
    }
    let mut runs = [&first, &second].map(|checkout| checkout.train(&[]).spawn());
    for (running, checkout) in runs.iter_mut().zip([&first, &second]) {
        running.wait_until(|_| waits(checkout).exists());
    }
    gate.release();
    gate.release();
    let [one, two] = runs.map(|running| running.wait().ok());
    assert_eq!(first.trained(), 2);
    for (checkout, result) in [&first, &second].into_iter().zip(results) {
        assert_eq!(checkout.read(MODEL).as_deref(), Some(result), "each keeps its own: {one} {two}");
        checkout.train(&[]).run().ok().says(&["up to date"]);
    }
    assert_eq!(first.trained(), 2);
    (one.stderr, two.stderr)
}

pub(crate) fn two_clones_that_race_with_equal_results() {
    let sandbox = Sandbox::new();
    let (one, two) = race(&sandbox, ["same\n", "same\n"]);
    assert_eq!(sandbox.keys().len(), 1);
    assert!([&one, &two].iter().any(|said| said.contains("already present")), "{one}\n{two}");
    for said in [one, two] {
        assert!(!said.contains("deterministic") && !said.contains("warning"), "{said}");
    }
    sandbox.assert_clean();
}

pub(crate) fn two_clones_that_race_with_different_results() {
    let sandbox = Sandbox::new();
    let (one, two) = race(&sandbox, ["one\n", "two\n"]);
    assert_eq!(sandbox.keys().len(), 2, "both stay");
    let records = Checkout::new(&sandbox).records();
    assert_eq!(records.len(), 2, "{records:?}");
    assert!([&one, &two].iter().any(|said| said.contains("not deterministic")), "{one}\n{two}");
    sandbox.assert_clean();
}

pub(crate) fn a_refreshed_result_that_differs_is_not_deterministic() {
    let sandbox = Sandbox::new();
    let script = "echo x >> ../trained\ncp ../trained models/en\n";
    let checkout = Checkout::with_step(&sandbox, script);
    checkout.train(&[]).run().ok();
    checkout.train(&["--refresh"]).run().ok().says(&["not deterministic"]);
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (2, 2));
    // The newest result is the one that comes back.
    let clone = checkout.clone_to("second");
    clone.train(&[]).run().ok().says(&["restored"]);
    assert_eq!(clone.read(MODEL).as_deref(), Some("x\nx\n"));
}

pub(crate) fn the_execute_bit_is_that_of_the_newest_run() {
    let sandbox = Sandbox::new();
    let script = "echo 1 > models/en\nif [ -e ../executable ]; then chmod +x models/en; fi\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let is_executable = |checkout: &Checkout<'_>| {
        fs::metadata(checkout.path(MODEL)).unwrap().permissions().mode() & 0o100 != 0
    };
    let switch = checkout.beside("executable");
    checkout.train(&[]).run().ok();
    for (executable, clone) in [(true, "second"), (false, "third")] {
        if executable { fs::write(&switch, "") } else { fs::remove_file(&switch) }.unwrap();
        checkout.train(&["--refresh"]).run().ok().says(&["already present"]);
        checkout.remove("models");
        let run = checkout.train(&[]).run().ok().says(&["restored"]);
        assert_eq!(is_executable(&checkout), executable, "{run}");
        let clone = checkout.clone_to(clone);
        let run = clone.train(&[]).run().ok().says(&["restored"]);
        assert_eq!(is_executable(&clone), executable, "{run}");
        clone.train(&[]).run().ok().says(&["up to date"]);
        // The same content with another mode is not up to date.
        fs::set_permissions(
            clone.path(MODEL),
            Permissions::from_mode(if executable { 0o644 } else { 0o755 }),
        )
        .unwrap();
        let run = clone.train(&[]).run().ok().says(&["restored"]);
        assert_eq!(is_executable(&clone), executable, "{run}");
    }
    assert_eq!(sandbox.keys().len(), 1);
    sandbox.assert_clean();
}
