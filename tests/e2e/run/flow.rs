//! The README's flow: train once, then be up to date, or restore.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use larder_tests::{Sandbox, Tree};

use crate::checkout::{Checkout, MODEL, TRAINED};

pub(crate) fn the_first_run_trains_and_the_second_is_up_to_date() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let first = checkout.train(&[]).run().ok().says(&["first run of this command", "published", MODEL]);
    assert_eq!(first.text(), "", "the standard output belongs to the command");
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (1, 1));
    let second = checkout.train(&[]).run().ok().says(&["up to date", MODEL]);
    assert_eq!(second.text(), "");
    assert_eq!((checkout.trained(), checkout.records().len()), (1, 1));
    sandbox.assert_clean();
}

pub(crate) fn what_is_up_to_date_needs_no_remote() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    fs::rename(sandbox.remote(), checkout.beside("away")).unwrap();
    let running = checkout.traced(checkout.train(&[]), "%file").spawn();
    let id = running.id();
    let run = running.wait().ok().says(&["up to date"]);
    assert!(!run.stderr.contains("warning"), "{run}");
    let remote = format!("\"{}", sandbox.remote().display());
    let mut lines = checkout.trace(Some(id), 0);
    lines.retain(|line| line.contains(&remote));
    assert_eq!(lines, Vec::<String>::new(), "it used the remote");
    assert!(!sandbox.remote().exists());
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn a_removed_output_is_restored_without_training() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    checkout.remove("models");
    checkout.train(&[]).run().ok().says(&["restored", MODEL]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    assert_eq!((checkout.trained(), checkout.records().len()), (1, 1), "a hit writes no record");
    checkout.train(&[]).run().ok().says(&["up to date"]);
    sandbox.assert_clean();
}

pub(crate) fn a_second_clone_restores_without_training() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let clone = checkout.clone_to("second");
    clone.train(&[]).run().ok().says(&["restored", MODEL]);
    assert_eq!(clone.read(MODEL).as_deref(), Some(TRAINED));
    assert_eq!((checkout.trained(), checkout.records().len()), (1, 1));
    clone.train(&[]).run().ok().says(&["up to date"]);
}

pub(crate) fn a_changed_source_is_a_miss_that_names_the_file() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    checkout.write("corpus/b", "b2\n");
    let run = checkout.train(&[]).run().ok().says(&["corpus/b"]);
    assert!(!run.stderr.contains("corpus/a"), "only one file changed: {run}");
    assert_eq!(checkout.read(MODEL).as_deref(), Some("a1\nb2\n"));
    assert_eq!(checkout.trained(), 2);
    // A clone without a local record compares with the records of the remote.
    let clone = checkout.clone_to("second");
    clone.write("corpus/a", "a2\n");
    clone.train(&[]).run().ok().says(&["corpus/a"]);
    assert_eq!(checkout.trained(), 3);
}

pub(crate) fn an_earlier_state_comes_back() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    checkout.write("corpus/b", "b2\n");
    checkout.train(&[]).run().ok();
    checkout.write("corpus/b", "b1\n");
    checkout.train(&[]).run().ok().says(&["restored", MODEL]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    assert_eq!(checkout.trained(), 2);
    sandbox.assert_clean();
}

pub(crate) fn an_edited_output_is_not_up_to_date() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    checkout.write(MODEL, "edited\n");
    checkout.train(&[]).run().ok().says(&["restored", MODEL]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
    assert_eq!(checkout.trained(), 1);
    // The same size and time, as of a file that was edited in the same moment.
    let modified = fs::metadata(checkout.path(MODEL)).unwrap().modified().unwrap();
    checkout.write(MODEL, "b1\na1\n");
    File::options().write(true).open(checkout.path(MODEL)).unwrap().set_modified(modified).unwrap();
    checkout.train(&[]).run().ok().says(&["restored"]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
}

pub(crate) fn an_edited_output_that_the_remote_lacks_is_made_again() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&["--mode", "read-only"]).run().ok().says(&["this is the first run of this command"]);
    checkout.write(MODEL, "edited\n");
    let run = checkout.train(&["--mode", "read-only"]).run().ok();
    let run = run.says(&["because its outputs are not those of its last run"]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (2, Some(TRAINED)), "{run}");
}

pub(crate) fn only_what_differs_is_transferred() {
    let sandbox = Sandbox::new();
    let script = "echo x >> ../trained\ncp corpus/a models/en\ncp corpus/b models/de\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let outputs = ["-o", "models/en", "-o", "models/de"];
    checkout.step(&outputs).run().ok();
    assert_eq!((sandbox.keys().len(), checkout.records().len()), (2, 2));
    checkout.remove("models/de");
    let report = [&outputs[..], &["--report", "../report.json"]].concat();
    checkout.step(&report).run().ok().says(&["restored", "models/de"]);
    let document = fs::read_to_string(checkout.beside("report.json")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let outcome = |path: &str| {
        let results = document["results"].as_array().unwrap();
        results.iter().find(|result| result["path"] == path).unwrap()["outcome"].clone()
    };
    assert_eq!((outcome("models/en"), outcome("models/de")), ("up_to_date".into(), "restored".into()));
    assert_eq!(checkout.read("models/de").as_deref(), Some("b1\n"));
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn a_damaged_local_record_costs_only_a_restore() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let runs = checkout.path(".larder/runs");
    let [name] = <[String; 1]>::try_from(larder_tests::files_below(&runs)).unwrap();
    let whole = fs::read(runs.join(&name)).unwrap();
    for damaged in [&b""[..], b"junk", &whole[..whole.len() / 2], &vec![b'['; 100_000]] {
        fs::write(runs.join(&name), damaged).unwrap();
        let run = checkout.train(&[]).run().ok();
        assert!(!run.stderr.contains("running"), "{run}");
        assert_eq!(checkout.read(MODEL).as_deref(), Some(TRAINED));
        checkout.train(&[]).run().ok().says(&["up to date"]);
    }
    assert_eq!((checkout.trained(), checkout.records().len()), (1, 1));
}

pub(crate) fn paths_of_every_kind() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let outputs = ["a b/größe", "-r", "%2F+~", "line\nbreak", "d".repeat(80).as_str()].map(str::to_owned);
    let options = outputs.iter().flat_map(|output| ["-o".to_owned(), format!("./{output}")]);
    let script = "echo x >> ../trained; for output; do echo made > \"./$output\"; done";
    let call = checkout.larder(&["run", "-d", "corpus"]).args(options).args(["--", "sh", "-c", script, "sh"]);
    let call = call.args(&outputs);
    call.run().ok();
    assert_eq!(sandbox.keys().len(), outputs.len());
    for output in &outputs {
        checkout.remove(output);
    }
    call.run().ok().says(&["restored"]);
    for output in &outputs {
        assert_eq!(checkout.read(output).as_deref(), Some("made\n"));
        checkout.remove(output);
    }
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn a_directory_comes_back_whole() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo x >> ../trained\ncp -R ../made models/en\n");
    let tree = Tree::small(1);
    tree.write(&checkout.beside("made"));
    checkout.train(&[]).run().ok();
    fs::remove_file(checkout.path("models/en/ner/model")).unwrap();
    checkout.train(&[]).run().ok().says(&["restored"]);
    Tree::read(&checkout.path(MODEL)).assert_same(&tree);
    assert_eq!(checkout.trained(), 1);
    sandbox.assert_clean();
}

pub(crate) fn the_command_runs_in_the_directory_of_the_call() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.write("sub/step.sh", "pwd\ncat ../corpus/a > out/made\n");
    let run = |dir: &str, outputs: &str| {
        let options = ["run", "-d", "step.sh", "-d", "../corpus", "-o", outputs, "--", "sh", "step.sh"];
        checkout.larder(&options).in_dir(checkout.path(dir)).run().ok()
    };
    let first = run("sub", "out/made");
    assert_eq!(first.line(), checkout.path("sub").to_str().unwrap());
    assert_eq!(checkout.read("sub/out/made").as_deref(), Some("a1\n"));
    assert!(sandbox.keys()[0].starts_with("sub%2Fout%2Fmade/"), "{:?}", sandbox.keys());
    run("sub", "out/made").says(&["up to date"]);
    let options = ["-C", "sub", "run", "-d", "step.sh", "-d", "../corpus", "-o", "out/made"];
    checkout.larder(&options).args(["--", "sh", "step.sh"]).run().ok().says(&["up to date"]);
    fs::rename(checkout.path("sub"), checkout.path("other")).unwrap();
    // The directory of the command is in its key.
    let other = run("other", "out/made");
    assert_eq!(other.line(), checkout.path("other").to_str().unwrap());
}

pub(crate) fn a_hit_touches_the_outputs_for_make() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let model = || File::options().write(true).open(checkout.path(MODEL)).unwrap();
    let modified = || model().metadata().unwrap().modified().unwrap();
    let old = SystemTime::now() - Duration::from_hours(24);
    model().set_modified(old).unwrap();
    let source = fs::metadata(checkout.path("corpus/b")).unwrap().modified().unwrap();
    checkout.train(&[]).run().ok();
    assert!(modified() >= source, "make would call it older than its source");
    checkout.train(&[]).run().ok().says(&["up to date"]);
    assert_eq!(checkout.trained(), 1);
}

pub(crate) fn a_record_describes_the_command() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&["--key", "size=small", "-e", "SEED=7"]).run().ok();
    let [record] = <[String; 1]>::try_from(checkout.records()).unwrap();
    assert!(record.starts_with(".larder/1/runs/models%2Fen/blake3-"), "{record}");
    let record = fs::read_to_string(sandbox.remote().join(record)).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let definition = &record["predicate"]["buildDefinition"];
    let external = &definition["externalParameters"];
    assert_eq!(external["command"], serde_json::json!(["sh", "step.sh"]));
    assert_eq!(external["keys"]["size"], "small");
    assert_eq!(external["env"], serde_json::json!(["SEED"]));
    assert_eq!(external["outputs"][MODEL]["content_bytes"], TRAINED.len());
    let dependencies = definition["resolvedDependencies"].as_array().unwrap();
    let names: Vec<_> = dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["corpus", "step.sh"]);
    assert_ne!(definition["internalParameters"]["incremental"], true);
    let manifest = definition["internalParameters"]["manifest"].as_str().unwrap();
    assert!(manifest.starts_with("larder-command 1\n"), "{manifest}");
    let results = sandbox.run(["log", "--json"]).ok().results();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["command_hash"], definition["internalParameters"]["command_hash"]);
}

pub(crate) fn quiet_runs_print_only_errors() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    for remove in [false, true] {
        if remove {
            checkout.remove("models");
        }
        let run = checkout.train(&["-q"]).run().ok();
        assert_eq!((run.text(), &*run.stderr), ("", ""));
    }
    assert_eq!(checkout.trained(), 1);
}
