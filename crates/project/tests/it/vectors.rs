//! Every row of `tests/vectors/project.json`.

use std::fs;

use larder_project::{ExchangeOptions, OutputOutcome};
use serde::Deserialize;

use crate::support::{Entry, Lab};

#[derive(Deserialize)]
struct Row {
    name: String,
    project_yml: String,
    files: Vec<Entry>,
    missing_in_second_clone: Vec<String>,
    weasel_pushes: Vec<String>,
    keys: Vec<String>,
    weasel_pulls: Vec<String>,
    weasel_lock_after_pull: String,
}

/// The expected lock where weasel's has a bug.
fn lock_without_defect(row: &Row) -> String {
    let lock = row.weasel_lock_after_pull.clone();
    match row.name.as_str() {
        "an output in directories: is never pulled (weasel defect)" => lock.replace(
            "path: training\n      md5: d41d8cd98f00b204e9800998ecf8427e",
            "path: training\n      md5: 6f8f57715090da2632453988d9a1501b",
        ),
        name if name.contains("weasel locks them unrun") => String::new(),
        "nested outputs: the later, outer one is lost (weasel defect)" => lock.replace(
            "path: m\n      md5: 92eb5ffee6ae2fec3ad71c777531578f",
            "path: m\n      md5: fd18772cbac19277b20dcccc1b90efb9",
        ),
        name if name.contains("defect") => panic!("a defect that this test does not know: {name}"),
        _ => lock,
    }
}

#[test]
fn projects_are_pushed_and_pulled_as_by_weasel_without_its_defects() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../vectors/project.json")).unwrap();
    assert_eq!(rows.len(), 7);
    for row in rows {
        let lab = Lab::new(&row.project_yml);
        row.files.iter().for_each(|file| file.make(&lab.root()));
        let pushed: Vec<String> = lab
            .push(ExchangeOptions::default())
            .into_iter()
            .filter(|report| {
                matches!(report.outcome, OutputOutcome::Uploaded | OutputOutcome::AlreadyPresent)
            })
            .inspect(|report| assert_eq!(report.recorded, Some(false), "nothing is in the lock"))
            .map(|report| report.path)
            .collect();
        assert_eq!(pushed, row.weasel_pushes, "{}", row.name);
        let mut keys = row.keys.clone();
        keys.sort();
        assert_eq!(lab.keys(), keys, "{}", row.name);

        let before: Vec<Option<Vec<u8>>> =
            row.files.iter().map(|file| fs::read(lab.path(&file.path)).ok()).collect();
        row.missing_in_second_clone.iter().for_each(|path| lab.remove(path));
        let report = lab.pull(ExchangeOptions::default());
        assert!(report.failures.is_empty());
        let pulled: Vec<String> = report
            .outputs
            .iter()
            .filter(|report| matches!(report.outcome, OutputOutcome::Restored))
            .map(|report| report.path.clone())
            .collect();
        // Everything that weasel pulls, in its order except for nested outputs, and the outputs that it misses.
        let mut missing: Vec<&String> =
            row.weasel_pulls.iter().filter(|path| !pulled.contains(path)).collect();
        missing.retain(|path| path.as_str() != "m/best");
        assert!(missing.is_empty(), "{}: {missing:?} of {pulled:?}", row.name);
        assert_eq!(lab.lock(), lock_without_defect(&row), "{}", row.name);
        let after: Vec<Option<Vec<u8>>> =
            row.files.iter().map(|file| fs::read(lab.path(&file.path)).ok()).collect();
        assert!(before == after, "{}: not everything is back", row.name);
        // A second pull has nothing to do, and git sees no difference.
        let lock = lab.lock();
        let again = lab.pull(ExchangeOptions::default()).outputs;
        assert!(
            !again.iter().any(|report| matches!(report.outcome, OutputOutcome::Restored)),
            "{}",
            row.name
        );
        assert_eq!(lab.lock(), lock);
    }
}
