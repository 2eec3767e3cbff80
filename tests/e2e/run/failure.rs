//! Commands that fail, or whose outputs or inputs are not as they should be.

use std::fs;
use std::process::Command;

use larder_tests::{Sandbox, Tree};

use crate::checkout::{Checkout, MODEL};

const FAILED: &str = ".larder/failed/models/en";
/// The same on another file system than the project.
const BESIDE: &str = "models/.larder-failed-en";

/// Asserts that nothing is in the remote.
#[track_caller]
fn assert_unpublished(sandbox: &Sandbox, checkout: &Checkout<'_>) {
    assert_eq!((sandbox.keys(), checkout.records()), (Vec::new(), Vec::new()));
    sandbox.assert_clean();
}

pub(crate) fn a_failed_command_leaves_the_old_output() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo half > models/en\nexit 3\n");
    checkout.train(&[]).run().exits(3).says(&[FAILED]);
    assert_eq!((checkout.read(MODEL), checkout.read(FAILED)), (None, Some("half\n".to_owned())));
    assert_unpublished(&sandbox, &checkout);
    // One failed output is kept, the last.
    checkout.write(MODEL, "old\n");
    checkout.write("step.sh", "mkdir models/en\necho other > models/en/part\nexit 4\n");
    checkout.train(&[]).run().exits(4).says(&[FAILED]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
    Tree::read(&checkout.path(FAILED)).assert_same(&Tree::new().with("part", "other\n"));
    checkout.write("step.sh", "exit 5\n");
    checkout.train(&[]).run().exits(5);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
    assert_unpublished(&sandbox, &checkout);
}

pub(crate) fn of_several_outputs_all_old_ones_come_back() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo new > models/en\nexit 3\n");
    let old = Tree::small(1);
    old.write(&checkout.path("models/de"));
    checkout.write("models/en", "old\n");
    checkout.step(&["-o", "models/de", "-o", MODEL]).run().exits(3);
    assert_eq!(
        (checkout.read(MODEL), checkout.read(FAILED)),
        (Some("old\n".to_owned()), Some("new\n".to_owned()))
    );
    Tree::read(&checkout.path("models/de")).assert_same(&old);
    assert!(!checkout.path(".larder/failed/models/de").exists());
    assert_unpublished(&sandbox, &checkout);
}

pub(crate) fn stale_files_do_not_enter_the_result() {
    let sandbox = Sandbox::new();
    let checkout =
        Checkout::with_step(&sandbox, "ls models > ../seen\nmkdir -p models/en\necho new > models/en/new\n");
    checkout.write("models/en/stale", "stale");
    checkout.train(&[]).run().ok();
    assert_eq!(checkout.lines("seen"), Vec::<String>::new(), "the output is moved aside first");
    Tree::read(&checkout.path(MODEL)).assert_same(&Tree::new().with("new", "new\n"));
    sandbox.assert_clean();
}

pub(crate) fn a_missing_output_is_a_failure() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "echo new > models/de\n");
    checkout.write(MODEL, "old\n");
    checkout.step(&["-o", "models/de", "-o", MODEL]).run().fails(125, &[MODEL]);
    assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
    assert_eq!(checkout.read("models/de"), None);
    assert_eq!(checkout.read(".larder/failed/models/de").as_deref(), Some("new\n"));
    assert_unpublished(&sandbox, &checkout);
    // The exit code of a command that failed by itself stays.
    checkout.write("step.sh", "exit 9\n");
    checkout.step(&["-o", "models/de", "-o", MODEL]).run().exits(9);
}

pub(crate) fn a_kept_output_stays_for_commands_that_resume() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "cat corpus/a >> models/en\nexit $(cat ../code)\n");
    fs::write(checkout.beside("code"), "3").unwrap();
    checkout.write(MODEL, "checkpoint\n");
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(checkout.path(MODEL)).unwrap());
    let before = inode();
    checkout.train(&["--keep", MODEL]).run().exits(3);
    assert_eq!((checkout.read(MODEL).as_deref(), inode()), (Some("checkpoint\na1\n"), before));
    assert_eq!(checkout.read(FAILED), None);
    assert_unpublished(&sandbox, &checkout);
    fs::write(checkout.beside("code"), "0").unwrap();
    checkout.train(&["--keep", MODEL]).run().ok();
    assert_eq!(checkout.read(MODEL).as_deref(), Some("checkpoint\na1\na1\n"));
    let [record] = <[String; 1]>::try_from(checkout.records()).unwrap();
    let record = fs::read_to_string(sandbox.remote().join(record)).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["predicate"]["buildDefinition"]["internalParameters"]["incremental"], true);
    checkout.train(&["--keep", MODEL]).run().ok().says(&["up to date"]);
    sandbox.assert_clean();
}

pub(crate) fn a_command_that_changes_its_input_publishes_nothing() {
    let changes = [
        ("echo x > corpus/cache.pyc", "corpus/cache.pyc"),
        ("echo a2 > corpus/a", "corpus/a"),
        ("rm corpus/b", "corpus/b"),
        ("echo '# more' >> step.sh", "step.sh"),
        ("rm -r corpus", "corpus"),
    ];
    for (change, named) in changes {
        let sandbox = Sandbox::new();
        let checkout = Checkout::with_step(&sandbox, &format!("cat corpus/a > models/en\n{change}\n"));
        let run = checkout.train(&[]).run().ok().says(&[named]);
        assert!(run.stderr.contains("warning: "), "{run}");
        assert_unpublished(&sandbox, &checkout);
        assert_eq!(checkout.read(MODEL).as_deref(), Some("a1\n"), "the output stays: {run}");
        assert!(
            !checkout.path(".larder/runs").exists()
                || fs::read_dir(checkout.path(".larder/runs")).unwrap().count() == 0,
            "no local record: {run}"
        );
    }
}

pub(crate) fn a_changed_input_names_the_remedy() {
    let sandbox = Sandbox::new();
    let script = "echo x >> ../trained\ncat corpus/a > models/en\necho x > corpus/cache.pyc\n";
    let checkout = Checkout::with_step(&sandbox, script);
    checkout.train(&[]).run().ok().says(&["corpus/cache.pyc", ".larderignore"]);
    checkout.write(".larderignore", "*.pyc\n");
    checkout.train(&[]).run().ok().says(&["published"]);
    checkout.train(&[]).run().ok().says(&["up to date"]);
    assert_eq!(checkout.trained(), 2);
}

pub(crate) fn an_input_that_another_run_made_again_is_noticed() {
    let sandbox = Sandbox::new();
    // The other run fails, and the complete input comes back: the hashes before and after are equal.
    let other = "\"$BINARY\" run -d step.sh -o corpus/a -- sh -c 'echo half > corpus/a; cp corpus/a models/en; exit 3'";
    for (call, model) in [(other, "half\n"), ("true", "a1\n")] {
        let checkout = Checkout::with_step(&sandbox, &format!("cp corpus/a models/en\n{call} || true\n"));
        checkout
            .larder(&["run", "-d", "step.sh", "-o", "corpus/a", "--", "sh", "-c", "echo a1 > corpus/a"])
            .run()
            .ok();
        let run = checkout.step(&["-o", MODEL]).env("BINARY", sandbox.public_binary()).run().ok();
        assert_eq!(checkout.read(MODEL).as_deref(), Some(model), "{run}");
        assert_eq!(checkout.read("corpus/a").as_deref(), Some("a1\n"));
        assert_eq!(run.stderr.contains("another larder command"), call == other, "{run}");
        assert_eq!(run.stderr.contains("published models"), call != other, "{run}");
    }
}

pub(crate) fn an_input_with_a_new_time_only_is_unchanged() {
    let sandbox = Sandbox::new();
    let script =
        "cat corpus/a > models/en\ncp corpus/a x\nrm corpus/a\ncp x corpus/a\nrm x\ntouch corpus corpus/b\n";
    let checkout = Checkout::with_step(&sandbox, script);
    let run = checkout.train(&[]).run().ok().says(&["published"]);
    assert!(!run.stderr.contains("warning"), "{run}");
    assert_eq!(sandbox.keys().len(), 1);
}

pub(crate) fn an_output_that_appears_as_a_symlink_is_refused() {
    for target in ["../precious", "../absent"] {
        let sandbox = Sandbox::new();
        let checkout = Checkout::with_step(&sandbox, &format!("ln -s {target} models/en\n"));
        checkout.write("precious/data", "precious");
        checkout.write(MODEL, "old\n");
        checkout.train(&[]).run().fails(125, &[MODEL, "symlink"]);
        assert_eq!(checkout.read(MODEL).as_deref(), Some("old\n"));
        assert_eq!(checkout.read("precious/data").as_deref(), Some("precious"));
        assert_unpublished(&sandbox, &checkout);
    }
}

pub(crate) fn an_output_that_cannot_be_packed_is_refused() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "mkdir models/en\nmkfifo models/en/pipe\n");
    checkout.write(MODEL, "old\n");
    checkout.train(&[]).run().fails(125, &["models/en/pipe"]);
    assert_unpublished(&sandbox, &checkout);
}

pub(crate) fn a_link_that_leaves_the_output_is_refused_with_a_remedy() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::with_step(&sandbox, "mkdir models/en\nln -s ../../corpus/a models/en/a\n");
    let run = checkout.train(&[]).run().fails(125, &["models/en/a", "hint: let the command copy"]);
    assert!(!run.stderr.contains("--dereference"), "`run` does not have the option: {run}");
    assert_unpublished(&sandbox, &checkout);
}

pub(crate) fn a_link_to_a_parent_appears_and_is_followed() {
    let sandbox = Sandbox::new();
    let checkout = Checkout::new(&sandbox);
    let disk = checkout.beside("disk");
    fs::create_dir(&disk).unwrap();
    std::os::unix::fs::symlink(&disk, checkout.path("models")).unwrap();
    checkout.train(&[]).run().ok();
    assert!(disk.join("en").is_file(), "the link is followed");
    fs::remove_file(disk.join("en")).unwrap();
    checkout.train(&[]).run().ok().says(&["restored"]);
    assert!(disk.join("en").is_file() && checkout.path("models").is_symlink());
    sandbox.assert_clean();
}

pub(crate) fn outputs_on_another_file_system() {
    let mut sandbox = Sandbox::new();
    sandbox.mount_tmpfs("project/models", 16);
    let checkout = Checkout::with_step(
        &sandbox,
        "echo x >> ../trained\nmkdir models/en\ncp corpus/* models/en\nexit $(cat ../code)\n",
    );
    let made = Tree::new().with("a", "a1\n").with("b", "b1\n");
    let old = Tree::small(1);
    old.write(&checkout.path(MODEL));
    fs::write(checkout.beside("code"), "3").unwrap();
    // Moving it to `.larder` would copy it, so it stays on its file system.
    checkout.train(&[]).run().exits(3).says(&[BESIDE]);
    Tree::read(&checkout.path(MODEL)).assert_same(&old);
    Tree::read(&checkout.path(BESIDE)).assert_same(&made);
    // It is no part of anything that larder hashes or stores.
    checkout.larder(&["push", "models"]).run().fails(1, &[BESIDE]);
    checkout.remove(BESIDE);
    fs::write(checkout.beside("code"), "0").unwrap();
    // No run had made the old version, so it is kept there as well.
    checkout.train(&[]).run().ok().says(&[BESIDE]);
    Tree::read(&checkout.path(MODEL)).assert_same(&made);
    Tree::read(&checkout.path(BESIDE)).assert_same(&old);
    checkout.remove(BESIDE);
    checkout.remove(MODEL);
    checkout.train(&[]).run().ok().says(&["restored"]);
    Tree::read(&checkout.path(MODEL)).assert_same(&made);
    assert_eq!(checkout.path("models").read_dir().unwrap().count(), 1, "nothing is left beside the output");
    assert_eq!(checkout.trained(), 2);
    sandbox.assert_clean();
}

/// Outputs on file systems that cannot move each directory in one step.
fn assert_moved_aside_and_back(sandbox: &Sandbox) {
    let script = "cp -R corpus models/en\necho x >> ../trained\nexit $(cat ../code)\n";
    let checkout = Checkout::with_step(sandbox, script);
    let made = Tree::new().with("a", "a1\n").with("b", "b1\n");
    fs::write(checkout.beside("code"), "3").unwrap();
    checkout.train(&[]).run().exits(3).says(&[FAILED]);
    Tree::read(&checkout.path(MODEL)).assert_same(&Tree::small(1));
    Tree::read(&checkout.path(FAILED)).assert_same(&made);
    fs::write(checkout.beside("code"), "0").unwrap();
    checkout.train(&[]).run().ok();
    Tree::read(&checkout.path(MODEL)).assert_same(&made);
    checkout.write("models/en/more", "x");
    checkout.train(&[]).run().ok().says(&["restored"]);
    Tree::read(&checkout.path(MODEL)).assert_same(&made);
    assert_eq!(checkout.trained(), 2);
    assert_eq!(checkout.path("models").read_dir().unwrap().count(), 1);
    sandbox.assert_clean();
}

pub(crate) fn outputs_of_a_lower_layer() {
    let sandbox = Sandbox::on_overlay(|project| Tree::small(1).write(&project.join(MODEL)));
    assert_moved_aside_and_back(&sandbox);
}

pub(crate) fn outputs_on_a_file_system_without_an_exchange() {
    let sandbox = Sandbox::without_exchange();
    Tree::small(1).write(&sandbox.path(MODEL));
    assert_moved_aside_and_back(&sandbox);
}

pub(crate) fn an_output_that_appears_on_another_device_is_refused() {
    let sandbox = Sandbox::new();
    for at in ["models/en", "models/en/deep"] {
        let script =
            format!("mkdir -p {at}\nmount -t tmpfs -o size=1m larder-test {at}\necho x > {at}/data\n");
        let checkout = Checkout::with_step(&sandbox, &script);
        checkout.write(MODEL, "old\n");
        let run = checkout.train(&[]).run();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = sandbox.root().display().to_string();
        let points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        let points: Vec<&str> = points.into_iter().filter(|point| point.starts_with(&root)).collect();
        let data: Vec<bool> =
            points.iter().map(|point| fs::metadata(format!("{point}/data")).is_ok()).collect();
        for point in &points {
            assert!(Command::new("umount").arg(point).status().unwrap().success());
        }
        assert_eq!(data, [true], "nothing of the other device is removed: {run}");
        run.fails(125, &[at]);
        assert_eq!((sandbox.keys(), checkout.records()), (Vec::new(), Vec::new()));
        checkout.remove("models");
        let _ = fs::remove_dir_all(checkout.path(".larder"));
    }
}
