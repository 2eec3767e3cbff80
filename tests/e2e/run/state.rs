//! Projects whose directory of larder's state cannot be used, or cannot be written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use larder_tests::{Run, Sandbox};

use crate::checkout::{Checkout, MODEL, TRAINED};

pub(crate) fn directories_that_a_failure_needs_are_checked_first() {
    for name in ["failed", "replaced"] {
        let sandbox = Sandbox::new();
        let checkout = Checkout::with_step(&sandbox, "echo x >> ../trained\nexit 4\n");
        checkout.write(MODEL, "old\n");
        let (at, elsewhere) = (checkout.path(".larder").join(name), checkout.beside("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        let assert_refused = |what: &str| {
            checkout.train(&[]).run().fails(125, &[&format!(".larder/{name}")]);
            assert_eq!(checkout.trained(), 0, "a {what} at {name}");
            assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"), "a {what} at {name}");
            fs::remove_file(&at).unwrap();
        };
        checkout.write(&format!(".larder/{name}"), "a file");
        assert_refused("file");
        symlink(&elsewhere, &at).unwrap();
        assert_refused("symlink");
        checkout.train(&[]).run().exits(4);
        assert_eq!(checkout.trained(), 1);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        sandbox.assert_clean();
    }
}

pub(crate) fn a_pause_that_cannot_be_written_does_not_fail_the_command() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.remote(), "a file where a directory should be").unwrap();
    let checkout = Checkout::new(&sandbox);
    checkout.write(".larder/remote-pause/file", "x");
    checkout.train(&[]).run().ok().says(&["warning: failed to look for the outputs"]);
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (1, Some(TRAINED)));
    fs::remove_file(sandbox.remote()).unwrap();
    checkout.train(&[]).run().ok().says(&["up to date", "published"]);
    checkout.remove("models");
    checkout.train(&[]).run().ok().says(&["restored"]);
}

/// What a project in which nothing can be written still does: checks, and outputs that are up to date.
#[track_caller]
fn assert_works_unwritable(checkout: &Checkout<'_>, run: impl Fn(&[&str]) -> Run) {
    // The first check runs its command, and the second finds the record of the first.
    run(&["--check"]).ok().says(&["running"]);
    run(&["--check"]).ok().says(&["passed"]);
    assert_eq!(checkout.lines("trained").len(), 2);
    let run = run(&["-o", MODEL]).ok().says(&["up to date"]);
    assert!(!run.stderr.contains("warning: "), "{run}");
    assert_eq!((checkout.trained(), checkout.read(MODEL).as_deref()), (2, Some(TRAINED)));
}

/// A step that makes no file in the project if its output is there.
const STEP: &str = "echo x >> ../trained\n[ -e models/en ] || cat corpus/a corpus/b > models/en\n";

pub(crate) fn a_read_only_project_has_checks_and_outputs_that_are_up_to_date() {
    let mut sandbox = Sandbox::new();
    let project = sandbox.mount_tmpfs("project", 16);
    sandbox.configure_remote();
    let checkout = Checkout::with_step(&sandbox, STEP);
    checkout.step(&["-o", MODEL]).run().ok();
    remount_read_only(&project);
    assert_works_unwritable(&checkout, |options| checkout.step(options).run());
    // What needs to write fails before the command starts.
    checkout.step(&["-o", MODEL, "--refresh"]).run().exits(125).says(&["read-only"]);
    assert_eq!(checkout.trained(), 2);
}

fn remount_read_only(mount: &Path) {
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(mount).status();
    assert!(status.unwrap().success());
}

pub(crate) fn a_project_of_another_user_has_checks_and_outputs_that_are_up_to_date() {
    use std::os::unix::fs::PermissionsExt as _;

    const USER: u32 = 61_009;
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, STEP);
    checkout.step(&["-o", MODEL]).run().ok();
    checkout.remove(".larder/locks");
    // The other user may write beside the project and in the remote.
    let everyone = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    everyone(sandbox.root());
    everyone(&checkout.beside("trained"));
    let status = Command::new("chmod").args(["-R", "a+rwX"]).arg(sandbox.remote()).status();
    assert!(status.unwrap().success());
    assert_works_unwritable(&checkout, |options| {
        checkout.step(options).with_binary(sandbox.public_binary()).as_user(USER, &[USER]).run()
    });
}
