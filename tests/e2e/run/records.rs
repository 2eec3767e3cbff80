//! Records that cannot be used: foreign files, junk, and records of later versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use larder_tests::{Fifo, Sandbox};

use crate::checkout::{Checkout, MODEL, TRAINED};

pub(crate) fn newer_than_a_good_one_are_ignored() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    checkout.train(&[]).run().ok();
    let [record] = <[String; 1]>::try_from(checkout.records()).unwrap();
    let record = sandbox.remote().join(record);
    let whole = fs::read_to_string(&record).unwrap();
    let hash = record.file_name().unwrap().to_str().unwrap().splitn(3, '.').nth(2).unwrap().to_owned();
    let bodies = [
        "junk".to_owned(),
        "x".repeat(1 << 20),
        whole.replace("#v1", "#v9"),
        whole.replace(MODEL, "../../escaped"),
        whole.replace(MODEL, "models/\\u001b[31men"),
        "[".repeat(100_000),
        String::new(),
    ];
    // All of them are newer than the record, but not newer than the clocks.
    let newest = 9_999_999_999_999 - u128::from(u64::try_from(now_millis()).unwrap());
    for (number, body) in (0_u128..).zip(&bodies) {
        let name = format!("{:013}.00000000deadbee{number}.{hash}", newest - number);
        fs::write(record.with_file_name(name), body).unwrap();
    }
    fs::write(record.with_file_name("\u{202e}odd\u{1b}[31m"), "x").unwrap();
    let before = checkout.remote();
    let clone = checkout.clone_to("second");
    let run = clone.train(&["--mode", "read-only"]).run().ok().says(&["restored"]);
    assert_eq!(run.stderr.matches("ignoring").count(), 1, "{run}");
    assert!(!run.said().contains('\u{202e}') && !run.said().contains('\u{1b}'), "{run}");
    assert_eq!(clone.read(MODEL).as_deref(), Some(TRAINED));
    assert!(!checkout.beside("escaped").exists());
    assert_eq!(checkout.trained(), 1);
    assert!(checkout.remote() == before, "nothing is deleted");
}

/// What happens to a record of this text.
type Change = Box<dyn Fn(&Path, &str)>;

/// Returns the path of the only record, and its text.
fn record_of(sandbox: &Sandbox, checkout: &Checkout<'_>) -> (PathBuf, String) {
    let [record] = <[String; 1]>::try_from(checkout.records()).unwrap();
    let record = sandbox.remote().join(record);
    let text = fs::read_to_string(&record).unwrap();
    (record, text)
}

pub(crate) fn are_a_miss_that_does_not_claim_a_first_run() {
    let other = format!("blake3-{}", "0".repeat(64));
    let rewrite = |change: &'static dyn Fn(&str) -> String| -> Change {
        Box::new(move |record, text| fs::write(record, change(text)).unwrap())
    };
    let changes: Vec<Change> = vec![
        rewrite(&|_| "junk".to_owned()),
        rewrite(&|text| text.replace("#v1", "#v9")),
        // The name and the content disagree.
        rewrite(&|text| text.replace(MODEL, "models/de")),
        Box::new(move |record, text| {
            let content = text.split_once("\"content_hash\":\"").unwrap().1;
            fs::write(record, text.replace(&content[..other.len()], &other)).unwrap();
        }),
        // A later version may have names of another form.
        Box::new(|record, _| fs::rename(record, record.with_extension("json2")).unwrap()),
    ];
    for change in changes {
        let sandbox = Sandbox::new();
        let checkout = Checkout::new(&sandbox);
        checkout.train(&[]).run().ok();
        let (record, text) = record_of(&sandbox, &checkout);
        change(&record, &text);
        let clone = checkout.clone_to("second");
        let run =
            clone.train(&[]).run().ok().says(&["because the run records of this command cannot be used"]);
        assert_eq!(run.stderr.matches("warning: ignoring").count(), 1, "{run}");
        assert!(!run.stderr.contains("first run"), "{run}");
        assert_eq!((checkout.trained(), clone.read(MODEL).as_deref()), (2, Some(TRAINED)), "{run}");
        // The new record can be used.
        clone.remove("models");
        clone.train(&[]).run().ok().says(&["restored"]);
        assert_eq!(checkout.trained(), 2);
    }
}

pub(crate) fn of_checks_are_a_miss_too() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo x >> ../trained\n");
    checkout.step(&["--check"]).run().ok();
    let (record, _) = record_of(&sandbox, &checkout);
    fs::write(record, "junk").unwrap();
    let clone = checkout.clone_to("second");
    let run = clone.step(&["--check"]).run().ok().says(&["the run records of this command cannot be used"]);
    assert_eq!(run.stderr.matches("warning: ignoring").count(), 1, "{run}");
    assert_eq!(checkout.trained(), 2);
}

pub(crate) fn that_are_no_files_are_never_opened() {
    for kind in ["symlink", "directory", "pipe"] {
        let sandbox = Sandbox::new();
        let checkout = Checkout::new(&sandbox);
        checkout.train(&[]).run().ok();
        let (record, text) = record_of(&sandbox, &checkout);
        fs::remove_file(&record).unwrap();
        let copy = checkout.beside("copy");
        fs::write(&copy, text).unwrap();
        let _pipe = match kind {
            "symlink" => std::os::unix::fs::symlink(&copy, &record).map(|()| None).unwrap(),
            "directory" => fs::create_dir(&record).map(|()| None).unwrap(),
            _ => Some(Fifo::new(&record)),
        };
        let clone = checkout.clone_to("second");
        let run = clone.train(&[]).run().ok().says(&["already present"]);
        assert_eq!((checkout.trained(), clone.read(MODEL).as_deref()), (2, Some(TRAINED)), "{kind}: {run}");
        clone.remove("models");
        clone.train(&[]).run().ok().says(&["restored"]);
        assert_eq!(checkout.trained(), 2, "{kind}");
    }
}

fn now_millis() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}
