//! `--mode`, `--refresh`, `--check`, `--dry-run` and `--report`.

use std::fs;
use std::os::unix::fs::symlink;

use larder_tests::{Sandbox, Tree};
use serde_json::Value;

use crate::checkout::{Checkout, MODEL, TRAINED};

pub(crate) fn read_only_runs_never_write_to_the_remote() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let before = checkout.remote();
    let clone = checkout.clone_to("second");
    // A hit, what is up to date, a miss, and a failure.
    clone.train(&["--mode", "read-only"]).run().ok().says(&["restored"]);
    clone.train(&["--mode", "read-only"]).run().ok().says(&["up to date"]);
    assert_eq!(checkout.trained(), 1);
    clone.write("corpus/b", "b2\n");
    let miss = clone.train(&[]).env("LARDER_RUN_MODE", "read-only").run().ok().says(&["corpus/b"]);
    assert!(!miss.stderr.contains("published:"), "{miss}");
    assert_eq!(clone.read(MODEL).as_deref(), Some("a1\nb2\n"));
    clone.train(&[]).env("LARDER_RUN_MODE", "read-only").run().ok().says(&["up to date"]);
    clone.train(&["--mode", "read-only", "--refresh"]).run().ok();
    assert_eq!(checkout.trained(), 3);
    clone.write("step.sh", "echo half > models/en\nexit 3\n");
    clone.train(&["--mode", "read-only"]).run().exits(3);
    assert_eq!(clone.read(MODEL).as_deref(), Some("a1\nb2\n"));
    clone.larder(&["run", "-d", "corpus", "--check", "--mode", "read-only", "--", "true"]).run().ok();
    assert!(checkout.remote() == before, "the remote has changed");
}

pub(crate) fn a_read_only_run_does_not_create_the_remote() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let run = checkout.train(&["--mode", "read-only"]).run().ok();
    assert_eq!((checkout.trained(), checkout.remote()), (1, None), "{run}");
    // The next run that may write publishes it.
    checkout.train(&[]).run().ok().says(&["up to date", "published"]);
    assert_eq!((checkout.trained(), sandbox.keys().len(), checkout.records().len()), (1, 1, 1));
}

pub(crate) fn the_option_wins_over_the_environment() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&["--mode", "read-write"]).env("LARDER_RUN_MODE", "off").run().ok();
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (1, 1));
}

pub(crate) fn a_run_that_is_off_only_runs_the_command() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("models/keep", "");
    for trained in 1..=2 {
        checkout.train(&["--mode", "off"]).run().ok();
        assert_eq!((checkout.trained(), checkout.remote()), (trained, None));
    }
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    // A hit, and a damaged remote, change nothing.
    checkout.train(&[]).run().ok();
    fs::write(sandbox.object(), "damaged").unwrap();
    let before = checkout.remote();
    let run = checkout.train(&[]).env("LARDER_RUN_MODE", "off").run().ok();
    assert!(!run.stderr.contains("damaged"), "{run}");
    assert_eq!(checkout.trained(), 4);
    assert!(checkout.remote() == before);
    checkout.write("step.sh", "exit 9\n");
    checkout.train(&["--mode", "off"]).run().exits(9);
}

pub(crate) fn a_refresh_runs_in_spite_of_a_hit() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let records = checkout.records();
    checkout.train(&["--refresh"]).run().ok();
    assert_eq!((checkout.trained(), sandbox.keys().len(), checkout.records().len()), (2, 1, 2));
    // The newer record sorts first.
    assert_ne!(checkout.records()[0], records[0]);
    assert_eq!(checkout.records()[1], records[0]);
    checkout.train(&[]).run().ok().says(&["up to date"]);
    let clone = checkout.clone_to("second");
    clone.train(&["--refresh"]).run().ok();
    assert_eq!((checkout.trained(), checkout.records().len()), (3, 3));
}

pub(crate) fn a_check_is_a_record_without_outputs() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo x >> ../trained\ntest $(cat corpus/a) = a1\n");
    let first = checkout.step(&["--check", "--report", "../report.json"]).run().ok();
    assert_eq!(first.text(), "");
    let report: Value = serde_json::from_slice(&fs::read(checkout.beside("report.json")).unwrap()).unwrap();
    let key = report["command_hash"].as_str().unwrap();
    let [record] = <[String; 1]>::try_from(checkout.records()).unwrap();
    assert!(record.starts_with(&format!(".larder/1/runs/%none/{key}/")), "{record}");
    assert!(record.ends_with(".none.json"), "{record}");
    assert_eq!(sandbox.keys(), Vec::<String>::new());
    let here = checkout.step(&["--check"]).run().ok();
    assert!(here.stderr.contains("passed") || here.stderr.contains("up to date"), "{here}");
    // A hit says when it passed.
    let clone = checkout.clone_to("second");
    clone.step(&["--check"]).run().ok().says(&["passed", "ago"]);
    assert_eq!((checkout.trained(), checkout.records().len()), (1, 1));
    clone.write("corpus/a", "a2\n");
    clone.step(&["--check"]).run().exits(1).says(&["corpus/a"]);
    clone.step(&["--check"]).run().exits(1);
    assert_eq!((checkout.trained(), checkout.records().len()), (3, 1), "a failure is not recorded");
    checkout.step(&["--check", "--refresh"]).run().ok();
    assert_eq!((checkout.trained(), checkout.records().len()), (4, 2));
    let results = sandbox.run(["log", "--json"]).ok().results();
    assert_eq!(results.len(), 2);
    sandbox.assert_clean();
}

pub(crate) fn a_check_and_a_run_of_one_command_do_not_mix() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    // They have the same key, because outputs are not in it.
    checkout.train(&["--mode", "read-only"]).run().ok();
    checkout.step(&["--check"]).run().ok();
    assert_eq!((checkout.trained(), checkout.records().len()), (2, 1), "the check is recorded");
    assert!(checkout.records()[0].starts_with(".larder/1/runs/%none/"), "{:?}", checkout.records());
    checkout.train(&[]).run().ok().says(&["up to date", "published"]);
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (1, 2));
    checkout.step(&["--check"]).run().ok().says(&["passed"]);
    assert_eq!(checkout.trained(), 2);
}

pub(crate) fn a_check_that_changes_its_input_is_not_recorded() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo x > corpus/cache\n");
    checkout.step(&["--check"]).run().ok().says(&["warning: ", "corpus/cache"]);
    assert_eq!(checkout.records(), Vec::<String>::new());
}

pub(crate) fn a_dry_run_explains_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let dry = |options: &[&str]| {
        // The cache of hashes may be written.
        let before = (Tree::read_if_exists(&checkout.path("models")), checkout.remote(), checkout.trained());
        let run = checkout.train(&[&["--dry-run"], options].concat()).run().ok();
        let after = (Tree::read_if_exists(&checkout.path("models")), checkout.remote(), checkout.trained());
        assert!(before == after, "{run}");
        sandbox.assert_clean();
        run
    };
    dry(&[]).says(&["first run of this command"]);
    checkout.train(&[]).run().ok();
    dry(&[]).says(&["up to date"]);
    dry(&["--mode", "read-only"]).says(&["up to date"]);
    checkout.remove("models");
    dry(&[]).says(&[MODEL, "restore"]);
    checkout.write("corpus/b", "b2\n");
    dry(&[]).says(&["corpus/b"]);
    checkout.train(&[]).run().ok();
    assert_eq!(checkout.trained(), 2);
}

pub(crate) fn a_dry_run_that_is_off_runs_nothing() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&["--dry-run", "--mode", "off"]).run().ok();
    checkout.train(&["--dry-run"]).env("LARDER_RUN_MODE", "off").run().ok();
    assert_eq!((checkout.trained(), checkout.remote()), (0, None));
    assert!(!checkout.path("models").exists());
}

pub(crate) fn the_report_describes_the_run() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let check = |report: &Value, outcome: &str, exit_code: i32| {
        assert_eq!(
            (&report["outcome"], &report["exit_code"]),
            (&outcome.into(), &exit_code.into()),
            "{report}"
        );
        let key = report["command_hash"].as_str().unwrap();
        assert!(key.starts_with("blake3-") && key.len() == 71, "{report}");
        assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{report}");
        if let Some(saved) = report.get("saved_seconds").filter(|saved| !saved.is_null()) {
            assert!(saved.as_f64().is_some_and(|seconds| seconds >= 0.0), "{report}");
        }
    };
    let result = |report: &Value| {
        let results = report["results"].as_array().unwrap_or_else(|| panic!("no results: {report}"));
        assert_eq!((results.len(), &results[0]["path"]), (1, &MODEL.into()), "{report}");
        assert!(results[0]["content_hash"].as_str().unwrap().starts_with("blake3-"), "{report}");
        assert_eq!(results[0]["command_hash"], report["command_hash"]);
        results[0]["outcome"].as_str().unwrap().to_owned()
    };
    let (_, report) = checkout.report(&[]);
    check(&report, "miss", 0);
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("first run")), "{report}");
    assert_eq!(result(&report), "uploaded");
    let (_, report) = checkout.report(&[]);
    check(&report, "up_to_date", 0);
    assert!(report["saved_seconds"].is_number(), "{report}");
    checkout.remove("models");
    let (_, report) = checkout.report(&[]);
    check(&report, "hit", 0);
    assert!(report["saved_seconds"].is_number(), "{report}");
    assert_eq!(result(&report), "restored");
    checkout.write("corpus/b", "b2\n");
    let (_, report) = checkout.report(&[]);
    check(&report, "miss", 0);
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("corpus/b")), "{report}");
    checkout.write("step.sh", "exit 7\n");
    let (run, report) = checkout.report(&[]);
    check(&report, "failed", 7);
    let _ = run.exits(7);
    checkout.write("step.sh", "exit 0\n");
    let (run, report) = checkout.report(&[]);
    check(&report, "failed", 125);
    let _ = run.exits(125);
}

pub(crate) fn a_report_that_cannot_be_written_is_said_before_the_command() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    for file in ["no/such/dir/report.json", "corpus"] {
        let run = checkout.train(&["--report", file]).run().exits(125);
        assert!(run.stderr.contains(file), "{run}");
        assert_eq!(checkout.trained(), 0, "{run}");
    }
}

pub(crate) fn a_report_over_an_input_or_an_output_is_refused() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("models/en/old", "old\n");
    symlink("step.sh", checkout.path("link")).unwrap();
    symlink("corpus", checkout.path("inputs")).unwrap();
    let before = Tree::read(&sandbox.project());
    for file in ["step.sh", "./step.sh", "corpus/a", "corpus/report.json", "inputs/report.json", "link"] {
        checkout.train(&["--report", file]).run().fails(125, &[file]);
    }
    for file in [MODEL, "models/en/report.json", "models/../models/en"] {
        checkout.train(&["--report", file]).run().fails(125, &[file]);
    }
    assert_eq!((checkout.trained(), checkout.remote()), (0, None));
    Tree::read(&sandbox.project()).assert_same(&before);
    // A report beside them is written.
    checkout.train(&["--report", "models/report.json"]).run().ok();
    assert!(checkout.read("models/report.json").is_some());
}
