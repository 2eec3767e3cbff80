//! Cases in which larder corrects weasel's mistakes.

use std::fs;
use std::os::unix::fs::symlink;

use larder_project::{ExchangeOptions, OutputOutcome};

use crate::support::{Lab, dry_run, force, only, shown};

const CHAIN: &str = "\
commands:
- {name: train, script: [t], deps: [corpus], outputs: [model/]}
- {name: prep, script: [p], deps: [raw], outputs: [corpus]}
";

/// A project whose commands have been run, pushed and recorded.
fn chain() -> Lab {
    let lab = Lab::new(CHAIN);
    for (path, data) in [("raw", "r"), ("corpus", "c"), ("model/m", "m")] {
        lab.write(path, data);
    }
    lab.push(ExchangeOptions::default());
    lab.pull(ExchangeOptions::default());
    assert!(lab.lock().contains("train:") && lab.lock().contains("prep:"));
    lab
}

#[test]
fn a_push_refuses_what_was_made_from_something_else() {
    let lab = chain();
    let keys = lab.keys();
    lab.write("corpus", "changed");
    let reports = lab.push(ExchangeOptions::default());
    assert_eq!(shown(&reports), ["train model/ refused", "prep corpus uploaded"]);
    assert_eq!(lab.keys().len(), keys.len() + 1);
    let OutputOutcome::Refused { reason } = &reports[0].outcome else { panic!("it is refused") };
    assert_eq!(reason, "its dependency `corpus` has changed since it ran");
    assert_eq!(reports[1].recorded, Some(false), "only the output differs");
    assert_eq!(shown(&lab.push(force())), ["train model/ uploaded", "prep corpus uploaded"]);

    let lab = chain();
    lab.write("project.yml", &CHAIN.replace("[t]", "[t2]"));
    let reports = lab.push(dry_run());
    assert_eq!(shown(&reports), ["train model/ refused", "prep corpus already_present"]);
    assert_eq!(reports[1].recorded, Some(true));
}

#[test]
fn a_pull_keeps_what_is_stale_and_does_not_record_it() {
    let lab = chain();
    let lock = lab.lock();
    lab.write("model/m", "mine");
    fs::remove_file(lab.path("project.lock")).unwrap();
    let reports = lab.pull(ExchangeOptions::default()).outputs;
    assert_eq!(shown(&reports), ["train model/ kept", "prep corpus up_to_date"]);
    assert_eq!(lab.read("model/m"), "mine");
    assert!(!lab.lock().contains("train:") && lab.lock().contains("prep:"));
    assert_eq!(shown(&lab.pull(dry_run()).outputs), ["train model/ kept", "prep corpus up_to_date"]);
    assert_eq!(shown(&lab.pull(force()).outputs), ["train model/ restored", "prep corpus up_to_date"]);
    assert_eq!(lab.read("model/m"), "m");
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&lab.lock()), lines(&lock), "in the order in which the commands were recorded");
}

#[test]
fn outputs_missing_in_the_remote_are_not_recorded() {
    let lab = Lab::new(CHAIN);
    lab.write("raw", "r");
    lab.write("corpus", "made by hand");
    let reports = lab.pull(ExchangeOptions::default()).outputs;
    assert_eq!(shown(&reports), ["train model/ not_found", "prep corpus not_found"]);
    assert_eq!(lab.lock(), "");
}

#[test]
fn a_record_stays_if_the_remote_has_lost_another_output() {
    let lab = Lab::new("commands:\n- {name: a, script: [x], outputs: [one, two]}\n");
    lab.write("one", "1");
    lab.write("two", "2");
    lab.push(ExchangeOptions::default());
    lab.pull(ExchangeOptions::default());
    fs::remove_dir_all(lab.remote().join("two")).unwrap();
    let recorded = || -> Vec<Option<bool>> {
        lab.pull(ExchangeOptions::default()).outputs.iter().map(|report| report.recorded).collect()
    };
    assert_eq!(recorded(), [Some(true), Some(false)]);
    fs::remove_file(lab.path("project.lock")).unwrap();
    assert_eq!(recorded(), [Some(false), Some(false)]);
}

/// Returns a tar archive with one link, as weasel creates it for an output that is a link.
fn tar_of_a_link(name: &str) -> Vec<u8> {
    let mut tar = vec![0; 3 * 512];
    let mut put = |at: usize, text: &str| tar[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    for number in [100, 108, 116] {
        put(number, "0000777");
    }
    put(124, "00000000000");
    put(136, "00000000000");
    put(148, "        ");
    put(156, "2elsewhere");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    tar
}

#[test]
fn a_link_in_the_place_of_an_output_is_not_damage() {
    let lab = chain();
    let object = lab.keys().into_iter().find(|key| key.starts_with("corpus")).unwrap();
    fs::write(lab.remote().join(object), tar_of_a_link("corpus")).unwrap();
    lab.remove("corpus");
    let reports = lab.pull(ExchangeOptions::default()).outputs;
    let OutputOutcome::Failed(error) = &reports[1].outcome else { panic!("it cannot be restored") };
    assert!(error.to_string().contains("holds an entry that larder does not restore"), "{error}");
}

#[test]
fn an_older_content_of_the_same_command_is_not_stale() {
    let lab = chain();
    lab.write("model/m", "second run");
    lab.push(ExchangeOptions::default());
    lab.write("model/m", "m");
    fs::remove_file(lab.path("project.lock")).unwrap();
    let reports = lab.pull(ExchangeOptions::default()).outputs;
    assert_eq!(shown(&reports), ["train model/ up_to_date", "prep corpus up_to_date"]);
    assert!(lab.lock().contains("train:"));
}

#[test]
fn directories_of_the_project_are_made_and_count_as_missing_outputs() {
    let text =
        "directories: [out, made/deep]\ncommands: [{name: a, script: [s], deps: [made], outputs: [out]}]\n";
    let lab = Lab::new(text);
    assert_eq!(lab.states(), ["a out missing"], "a dependency in `directories` counts as there");
    lab.write("out/f", "f");
    assert_eq!(shown(&lab.push(ExchangeOptions::default())), ["a out uploaded"]);
    assert!(!lab.path("made").exists(), "a push makes nothing");
    lab.remove("out");
    fs::create_dir_all(lab.path("out/empty")).unwrap();
    assert_eq!(shown(&lab.pull(dry_run()).outputs), ["a out restored"]);
    assert!(!lab.path("made").exists(), "nor does a dry run");
    assert_eq!(shown(&lab.pull(ExchangeOptions::default()).outputs), ["a out restored"]);
    assert!(lab.path("made/deep").is_dir());
    assert_eq!(lab.read("out/f"), "f");
    assert!(lab.lock().contains("path: out"));
}

#[test]
fn commands_without_outputs_are_not_recorded_and_an_output_without_a_file_is_not_pushed() {
    let lab = Lab::new(
        "commands:\n- {name: n, script: [s], outputs_no_cache: [x]}\n- {name: e, script: [s], outputs: [d, ../x]}\n",
    );
    fs::create_dir_all(lab.path("d/sub")).unwrap();
    lab.write("x", "x");
    let reports = lab.push(ExchangeOptions::default());
    assert_eq!(shown(&reports), ["e d skipped", "e ../x refused"]);
    assert!(lab.keys().is_empty());
    lab.pull(ExchangeOptions::default());
    assert_eq!(lab.lock(), "");
}

#[test]
fn outputs_that_are_not_kept_are_in_the_lock() {
    let lab = Lab::new("commands: [{name: a, script: [s], outputs: [o], outputs_no_cache: [n, gone]}]\n");
    lab.write("o", "o");
    lab.write("n", "n");
    lab.push(ExchangeOptions::default());
    lab.pull(ExchangeOptions::default());
    let outs = lab.lock().split("outs:\n").nth(1).unwrap().to_owned();
    assert_eq!(
        outs,
        "    - path: o\n      md5: d95679752134a2d9eb61dbd7b91c4bcc\n    - path: n\n      md5: \
         7b8b965ad4bca0e41ab51de7b31363a1\n    - path: gone\n      md5: null\n"
    );
}

#[test]
fn a_path_of_two_commands_is_that_of_the_first_which_has_it() {
    let yml =
        "commands:\n- {name: v1, script: [s1], outputs: [o]}\n- {name: v2, script: [s2], outputs: [o]}\n";
    let lab = Lab::new(yml);
    lab.write("o", "one");
    lab.push(only(&["v1"]));
    lab.write("o", "two");
    lab.push(only(&["v2"]));
    lab.remove("o");
    assert_eq!(lab.states(), ["v1 o available", "v2 o made_by_other"]);
    assert_eq!(shown(&lab.pull(dry_run()).outputs), ["v1 o restored", "v2 o made_by_other"]);
    for options in [ExchangeOptions::default(), force()] {
        let reports = lab.pull(options).outputs;
        assert_eq!(shown(&reports[1..]), ["v2 o made_by_other"]);
        let OutputOutcome::MadeBy { command } = &reports[1].outcome else { panic!("made by the first") };
        assert_eq!((command.as_str(), lab.read("o").as_str()), ("v1", "one"));
        assert!(!lab.lock().contains("v2:"));
    }
    assert_eq!(lab.states(), ["v1 o up_to_date", "v2 o made_by_other"]);
    lab.remove("o");
    assert_eq!(shown(&lab.pull(only(&["v2"])).outputs), ["v2 o restored"]);
}

#[test]
fn a_chain_is_seen_through_without_being_restored() {
    let lab = chain();
    lab.remove("corpus");
    lab.remove("model");
    let lock = lab.lock();
    assert_eq!(lab.states(), ["train model/ available", "prep corpus available"]);
    assert_eq!(shown(&lab.pull(dry_run()).outputs), ["train model/ restored", "prep corpus restored"]);
    assert!(!lab.path("corpus").exists());
    assert_eq!(
        shown(&lab.pull(ExchangeOptions::default()).outputs),
        ["train model/ restored", "prep corpus restored"]
    );
    assert_eq!(lab.lock(), lock);
    assert_eq!(lab.states(), ["train model/ up_to_date", "prep corpus up_to_date"]);
}

#[test]
fn every_state_has_its_name() {
    let lab = chain();
    fs::remove_file(lab.path("project.lock")).unwrap();
    assert_eq!(lab.states(), ["train model/ not_recorded", "prep corpus not_recorded"]);
    lab.pull(ExchangeOptions::default());
    lab.write("model/m", "other");
    assert_eq!(lab.states(), ["train model/ stale", "prep corpus up_to_date"]);
    lab.write("corpus", "changed");
    assert_eq!(lab.states(), ["train model/ changed", "prep corpus stale"]);
    lab.remove("raw");
    assert_eq!(lab.states(), ["train model/ changed", "prep corpus waiting"]);
    lab.remove("model");
    assert_eq!(lab.states(), ["train model/ missing", "prep corpus waiting"]);

    let lab = chain();
    fs::remove_dir_all(lab.remote()).unwrap();
    fs::create_dir(lab.remote()).unwrap();
    assert_eq!(lab.states(), ["train model/ not_pushed", "prep corpus not_pushed"]);
    lab.write("model/m", "other");
    assert_eq!(lab.states(), ["train model/ not_recorded", "prep corpus not_pushed"]);
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let lab = chain();
    let keys = lab.keys();
    let corpus = keys.iter().find(|key| key.starts_with("corpus/")).unwrap();
    let object = lab.remote().join(corpus);
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, &bytes[..bytes.len() / 2]).unwrap();
    lab.remove("corpus");
    lab.remove("model");
    let reports = lab.pull(ExchangeOptions::default()).outputs;
    let said = shown(&reports);
    assert_eq!(said[0], "train model/ skipped");
    assert!(said[1].starts_with("prep corpus failed: ") && said[1].contains("damaged"), "{said:?}");
    // An output that cannot be packed does not affect the others.
    let yml = "commands: [{name: a, script: [s], outputs: [links, o, /abs]}]\n";
    let lab = Lab::new(yml);
    lab.write("o", "o");
    fs::create_dir(lab.path("links")).unwrap();
    symlink("/etc", lab.path("links/away")).unwrap();
    let said = shown(&lab.push(ExchangeOptions::default()));
    assert!(said[0].starts_with("a links failed: "), "{said:?}");
    assert_eq!(said[1..], ["a o uploaded", "a /abs refused"]);
}

#[test]
fn a_stub_of_a_killed_weasel_is_not_an_object() {
    let lab = chain();
    for key in lab.keys() {
        fs::write(lab.remote().join(key), "").unwrap();
    }
    assert_eq!(lab.states(), ["train model/ not_pushed", "prep corpus not_pushed"]);
    assert_eq!(
        shown(&lab.push(ExchangeOptions::default())),
        ["train model/ uploaded", "prep corpus uploaded"]
    );
}

#[test]
fn an_extra_key_in_a_lock_entry_is_not_a_difference() {
    let lab = chain();
    let lock =
        lab.lock().replace("  cmd: python -m weasel run train\n", "  cmd: other\n  spacy_version: '3.6'\n");
    fs::write(lab.path("project.lock"), lock).unwrap();
    assert_eq!(lab.states(), ["train model/ up_to_date", "prep corpus up_to_date"]);
    fs::write(lab.path("project.lock"), "").unwrap();
    assert_eq!(
        shown(&lab.push(ExchangeOptions::default())),
        ["train model/ already_present", "prep corpus already_present"]
    );
}

#[test]
fn an_empty_remote_is_not_a_failure() {
    let lab = Lab::new(CHAIN);
    lab.write("raw", "r");
    assert_eq!(
        shown(&lab.pull(ExchangeOptions::default()).outputs),
        ["train model/ skipped", "prep corpus not_found"]
    );
    lab.write("corpus", "c");
    lab.write("model/m", "m");
    assert_eq!(
        shown(&lab.push(ExchangeOptions::default())),
        ["train model/ uploaded", "prep corpus uploaded"]
    );
}

/// A checkout can bring the symlink along, and the remote the hook.
#[test]
fn a_symlink_leads_neither_outputs_nor_directories_into_git() {
    let yml = "directories: [g/made]\ncommands:\n- {name: a, script: [s], outputs: [g/hooks/pre-commit]}\n";
    let lab = Lab::new(yml);
    lab.write("g/hooks/pre-commit", "from the remote");
    lab.push(ExchangeOptions::default());
    lab.remove("g");
    fs::create_dir_all(lab.path(".git/hooks")).unwrap();
    symlink(".git", lab.path("g")).unwrap();
    for options in [ExchangeOptions::default(), force(), dry_run()] {
        let is_dry_run = options.dry_run;
        let report = lab.pull(options);
        let OutputOutcome::Failed(error) = &report.outputs[0].outcome else { panic!("it did not fail") };
        assert!(error.to_string().contains("is a symlink"), "{error}");
        assert_eq!(report.failures.len(), usize::from(!is_dry_run), "{:?}", report.failures);
    }
    assert!(!lab.path(".git/hooks/pre-commit").exists() && !lab.path(".git/made").exists());
    lab.write(".git/hooks/pre-commit", "secret");
    let keys = lab.keys();
    let pushed = lab.push(ExchangeOptions::default());
    assert!(matches!(pushed[0].outcome, OutputOutcome::Failed(_)), "{:?}", shown(&pushed));
    assert_eq!(lab.keys(), keys);
}

#[test]
fn an_output_behind_a_symlink_is_refused() {
    let lab = Lab::new("commands:\n- {name: a, script: [s], outputs: [lk/../x]}\n");
    lab.write("deep/sub/y", "");
    lab.write("deep/x", "what weasel means");
    lab.write("x", "what the text says");
    symlink("deep/sub", lab.path("lk")).unwrap();
    let refused = |reports: &[larder_project::OutputReport]| {
        let OutputOutcome::Invalid { reason } = &reports[0].outcome else { panic!("{:?}", shown(reports)) };
        assert!(reason.starts_with("`lk` is a symlink"), "{reason}");
    };
    refused(&lab.push(ExchangeOptions::default()));
    refused(&lab.pull(force()).outputs);
    assert!(lab.keys().is_empty());
}
