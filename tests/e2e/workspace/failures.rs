//! Remotes without the pinned versions, changes in the middle of a pull, full disks, and a `larder.lock` that cannot be used.

use std::fs;
use std::os::unix::fs::symlink;

use larder_tests::{Sandbox, Signal, Tree, noise};

use crate::work_tree::{WorkTree, lock_text};

fn read(sandbox: &Sandbox, path: &str) -> String {
    fs::read_to_string(sandbox.path(path)).unwrap()
}

/// Returns the only object of an output in the remote with this file as its content.
fn object_of(sandbox: &Sandbox, path: &str, before: &[String]) -> std::path::PathBuf {
    let keys = sandbox.keys();
    let new: Vec<&String> =
        keys.iter().filter(|key| key.starts_with(path) && !before.contains(key)).collect();
    assert_eq!(new.len(), 1, "{keys:?}");
    sandbox.remote().join(new[0])
}

pub(crate) fn a_pruned_object_is_reported_with_the_commit() {
    let sandbox = Sandbox::new();
    let ann = WorkTree::new(&sandbox);
    let others = ["a", "z1", "z2", "z3", "z4", "z5", "z6", "z7"];
    for path in others.iter().chain(&["model"]) {
        ann.write(path, "1");
    }
    ann.larder(&["pin", "model"]).args(others).run().ok();
    ann.commit("Pin all");
    let before = sandbox.keys();
    ann.write("model", "2");
    ann.larder(&["push"]).run().ok();
    ann.commit("Train again");
    let commit = ann.git(&["rev-parse", "--short", "HEAD"]);
    // A later commit, which changes another pin.
    ann.write("a", "2");
    ann.larder(&["push"]).run().ok();
    ann.commit("Other");
    fs::remove_file(object_of(&sandbox, "model/", &before)).unwrap();
    let ben = ann.cloned("ben");
    for args in [&["pull"][..], &["pull", "model"], &["pull", "--force", "--all"]] {
        let run = ben.larder(args).run().exits(3);
        for part in ["model", commit.trim(), "Train again", "Ann"] {
            assert!(run.stderr.contains(part), "expected {part}: {run}");
        }
        assert!(!run.stderr.contains("Other") && !run.stderr.contains("Pin all"), "{run}");
        assert!(!ben.path("model").exists());
    }
    // Each output stands alone.
    assert_eq!(fs::read_to_string(ben.path("a")).unwrap(), "2");
    for path in &others[1..] {
        assert_eq!(fs::read_to_string(ben.path(path)).unwrap(), "1");
    }
    let document = ben.larder(&["pull", "--json"]).run().exits(3);
    assert_eq!(document.json()["error"]["kind"], "not_found");
    let online = ben.larder(&["status", "--online", "--check"]).run().exits(1);
    assert!(online.said().contains("the remote does not have the pinned version"), "{online}");
    // Whoever has it pushes it again.
    ann.larder(&["push", "model", "--force"]).run().ok();
    ben.larder(&["pull"]).run().ok();
    assert_eq!(fs::read_to_string(ben.path("model")).unwrap(), "2");
}

pub(crate) fn a_pin_that_nobody_pushed_is_reported_with_the_commit() {
    let sandbox = Sandbox::new();
    let ann = WorkTree::new(&sandbox);
    let other = sandbox.root().join("other");
    ann.write("larder.toml", &format!("[remotes]\ndefault = '{}'\n", other.display()));
    ann.write("model", "1");
    ann.larder(&["pin", "model"]).run().ok();
    // The remote of the team has never seen it.
    sandbox.configure_remote();
    fs::create_dir(sandbox.remote()).unwrap();
    ann.commit("Pin alone");
    let ben = ann.cloned("ben");
    for args in [&["pull"][..], &["pull", "model"]] {
        let run = ben.larder(args).run().exits(3);
        for part in ["model", "Pin alone", "Ann"] {
            assert!(run.stderr.contains(part), "expected {part}: {run}");
        }
    }
    // Without a commit, there is none to name.
    ann.write("new", "1");
    fs::write(sandbox.path("larder.lock"), read(&sandbox, "larder.lock").replace("\"model\"", "\"new\""))
        .unwrap();
    fs::remove_file(sandbox.path("new")).unwrap();
    let run = ann.larder(&["pull"]).run().exits(3);
    assert!(run.stderr.contains("new is pinned") && !run.stderr.contains("Pin alone"), "{run}");
}

pub(crate) fn a_remote_that_is_gone_is_reported_with_the_commit() {
    let sandbox = Sandbox::new();
    let ann = WorkTree::new(&sandbox);
    ann.write("larder.toml", "[remotes]\ndefault = '../mount/share'\n");
    fs::create_dir(sandbox.root().join("mount")).unwrap();
    for path in ["model", "other"] {
        ann.write(path, "1");
    }
    ann.larder(&["pin", "model", "other"]).run().ok();
    ann.commit("Pin it");
    let ben = ann.cloned("ben");
    fs::rename(sandbox.root().join("mount"), sandbox.root().join("away")).unwrap();
    let run = ben.larder(&["pull"]).run().exits(5);
    for part in ["mount/share", "Pin it"] {
        assert!(run.stderr.contains(part), "expected {part}: {run}");
    }
    let lock = fs::read_to_string(ben.path("larder.lock")).unwrap();
    // What needs no remote works.
    ben.larder(&["status"]).run().ok();
    ann.larder(&["status", "--check"]).run().ok();
    ann.larder(&["pull"]).run().ok();
    ann.larder(&["push"]).run().ok();
    ann.write("model", "2");
    ann.larder(&["push"]).run().exits(5);
    ann.larder(&["pin", "model"]).run().exits(5);
    assert_eq!(read(&sandbox, "larder.lock"), lock);
    // Its return ends the failure.
    fs::rename(sandbox.root().join("away"), sandbox.root().join("mount")).unwrap();
    ben.larder(&["pull"]).run().ok();
    ann.larder(&["push"]).run().ok();
    assert_ne!(read(&sandbox, "larder.lock"), lock);
}

/// Pins two versions of `model`. Leaves the second in `larder.lock`, and the first on disk, as `behind`.
fn behind(sandbox: &Sandbox, first: &Tree, second: &Tree) -> String {
    let model = sandbox.path("model");
    first.write(&model);
    sandbox.run(["pin", "model"]).ok();
    let lock = read(sandbox, "larder.lock");
    remove(sandbox, "model");
    second.write(&model);
    sandbox.run(["push"]).ok();
    let second_lock = read(sandbox, "larder.lock");
    fs::write(sandbox.path("larder.lock"), lock).unwrap();
    sandbox.run(["pull"]).ok();
    fs::write(sandbox.path("larder.lock"), &second_lock).unwrap();
    assert_eq!(sandbox.run(["status", "--json"]).ok().field("state"), "behind");
    second_lock
}

fn remove(sandbox: &Sandbox, path: &str) {
    let path = sandbox.path(path);
    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    removed.unwrap();
}

pub(crate) fn the_only_copy_is_kept() {
    let sandbox = Sandbox::new();
    let (first, second) = (Tree::small(1), Tree::small(2));
    behind(&sandbox, &first, &second);
    let lock = read(&sandbox, "larder.lock");
    let of_second = sandbox.keys().into_iter().find(|key| lock.contains(key.rsplit('/').next().unwrap()));
    let of_first = sandbox.keys().into_iter().find(|key| Some(key) != of_second.as_ref()).unwrap();
    let object = sandbox.remote().join(of_first);
    let bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    for args in [&["pull"][..], &["pull", "model"], &["pull", "--latest"]] {
        let run = sandbox.larder([]).args(args).run().exits(1).says(&["kept model", "only copy"]);
        Tree::read(&sandbox.path("model")).assert_same(&first);
        assert_eq!(read(&sandbox, "larder.lock"), lock, "{run}");
    }
    // With the object, it is replaced.
    fs::write(&object, bytes).unwrap();
    sandbox.run(["pull"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&second);
    sandbox.assert_clean();
}

pub(crate) fn the_version_on_disk_stays_if_the_pinned_one_is_lost_or_damaged() {
    let sandbox = Sandbox::new();
    let (first, second) = (Tree::small(1), Tree::small(2));
    let lock = behind(&sandbox, &first, &second);
    let key = sandbox.keys().into_iter().find(|key| lock.contains(key.rsplit('/').next().unwrap()));
    let object = sandbox.remote().join(key.unwrap());
    let bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    let assert_stays = |code: i32| {
        for args in [&["pull"][..], &["pull", "model", "--force"], &["pull", "--force", "--all"]] {
            let run = sandbox.larder([]).args(args).run().exits(code).says(&["model"]);
            Tree::read(&sandbox.path("model")).assert_same(&first);
            assert_eq!(read(&sandbox, "larder.lock"), lock, "{run}");
            assert_eq!(sandbox.run(["status", "--json"]).ok().field("state"), "behind");
            sandbox.assert_clean();
        }
    };
    assert_stays(3);
    fs::write(&object, &bytes[..bytes.len() / 2]).unwrap();
    assert_stays(4);
    fs::write(&object, bytes).unwrap();
    sandbox.run(["pull"]).ok();
    Tree::read(&sandbox.path("model")).assert_same(&second);
}

pub(crate) fn a_change_while_an_object_is_fetched_is_kept() {
    let sandbox = Sandbox::new();
    let (first, second) = (Tree::small(1), Tree::new().with("large", noise(1, 48 << 20)));
    behind(&sandbox, &first, &second);
    for is_missing in [false, true] {
        if is_missing {
            remove(&sandbox, "model");
        }
        let mut pull = sandbox.larder(["pull"]).spawn();
        pull.wait_until(|pull| pull.bytes_written() > 4 << 20);
        pull.signal(Signal::STOP);
        if is_missing {
            fs::create_dir(sandbox.path("model")).unwrap();
        }
        fs::write(sandbox.path("model/config.cfg"), "changed in the meantime").unwrap();
        let changed = Tree::read(&sandbox.path("model"));
        pull.signal(Signal::CONT);
        pull.wait().exits(1).says(&["kept model"]);
        Tree::read(&sandbox.path("model")).assert_same(&changed);
        sandbox.assert_clean();
    }
}

pub(crate) fn a_path_that_matches_nothing_suggests_names() {
    let sandbox = Sandbox::new();
    for path in ["models/en", "models/de", "published"] {
        fs::create_dir_all(sandbox.path("models")).unwrap();
        fs::write(sandbox.path(path), path).unwrap();
    }
    sandbox.run(["pin", "models/en", "models/de"]).ok();
    sandbox.run(["push", "published"]).ok();
    for args in [
        &["status", "model/en"][..],
        &["pull", "model/en"],
        &["pull", "model/en", "--latest"],
        &["unpin", "model/en"],
    ] {
        sandbox.larder([]).args(args).run().exits(3).says(&["model/en", "`models/en`"]);
    }
    sandbox.run(["pull", "publishd"]).exits(3).says(&["`published`"]);
    sandbox.run(["push", "absent"]).fails(1, &["absent"]);
    sandbox.run(["pin", "absent"]).fails(1, &["absent"]);
}

pub(crate) fn a_full_disk_stops_one_output_only() {
    let mut sandbox = Sandbox::new();
    let large = Tree::new().with("large", noise(1, 12 << 20));
    large.write(&sandbox.path("b"));
    for path in ["a", "c"] {
        Tree::small(1).write(&sandbox.path(path));
    }
    sandbox.run(["pin", "a", "b", "c"]).ok();
    let lock = read(&sandbox, "larder.lock");
    let project = sandbox.mount_tmpfs("project", 16);
    sandbox.configure_remote();
    fs::write(sandbox.path("larder.lock"), &lock).unwrap();
    fs::write(project.join("filler"), noise(2, 8 << 20)).unwrap();
    let run = sandbox.run(["pull"]).exits(1);
    assert!(run.stderr.contains("space"), "{run}");
    assert!(!sandbox.path("b").exists());
    for path in ["a", "c"] {
        Tree::read(&sandbox.path(path)).assert_same(&Tree::small(1));
    }
    sandbox.assert_clean();
    fs::remove_file(project.join("filler")).unwrap();
    sandbox.run(["pull"]).ok();
    sandbox.run(["status", "--check"]).ok();
    assert_eq!(read(&sandbox, "larder.lock"), lock);
    // There is no space for a new larder.lock.
    fs::write(project.join("a/config.cfg"), "changed").unwrap();
    let filler = project.join("filler");
    let mut size = 16 << 20;
    while size > 0 {
        let file = fs::OpenOptions::new().create(true).append(true).open(&filler).unwrap();
        if std::io::Write::write_all(&mut &file, &vec![0; size]).is_err() {
            size /= 2;
        }
    }
    let run = sandbox.run(["push"]).exits(1);
    assert!(run.stderr.contains("space"), "{run}");
    assert_eq!(read(&sandbox, "larder.lock"), lock);
    fs::remove_file(filler).unwrap();
    sandbox.run(["push"]).ok();
    sandbox.run(["status", "--check"]).ok();
    assert_ne!(read(&sandbox, "larder.lock"), lock);
    sandbox.assert_clean();
}

pub(crate) fn a_lock_that_cannot_be_used_stops_every_command() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model"), "1").unwrap();
    sandbox.run(["pin", "model"]).ok();
    let lock = sandbox.path("larder.lock");
    let text = fs::read_to_string(&lock).unwrap();
    let keys = sandbox.keys();
    let commands: [&[&str]; 9] = [
        &["status"],
        &["push"],
        &["push", "model"],
        &["pull"],
        &["pull", "model"],
        &["pull", "model", "--latest"],
        &["pull", "--force", "--all"],
        &["pin", "model"],
        &["unpin", "model"],
    ];
    let assert_all_fail = |code: i32, parts: &[&str]| {
        for args in commands {
            fs::write(sandbox.path("model"), "2").unwrap();
            sandbox.larder([]).args(args).run().fails(code, parts);
            assert_eq!(read(&sandbox, "model"), "2", "{args:?}");
            assert_eq!(sandbox.keys(), keys, "{args:?}");
        }
    };
    for broken in [
        text.replace("version = 1", "version = 2"),
        text.replace("version = 1", "version = \"1\""),
        text.replace("version = 1", ""),
        text.replace("bytes = 1", "bytes = -1"),
        text.replace("[[pin]]", "[pin"),
        text.replace("\"model\"", "\"../model\""),
        text.replace("\"model\"", "\"/model\""),
        text.replace("\"model\"", "\".larder/model\""),
        text.replace("files = 1", "files = 1\nlater = true"),
        format!("{text}{}", lock_text(&[("model", "1")]).split_once("version = 1\n").unwrap().1),
    ] {
        assert_ne!(broken, text);
        fs::write(&lock, &broken).unwrap();
        assert_all_fail(2, &["larder.lock:"]);
        assert_eq!(read(&sandbox, "larder.lock"), broken);
    }
    fs::rename(&lock, sandbox.path("elsewhere")).unwrap();
    fs::write(sandbox.path("elsewhere"), &text).unwrap();
    symlink("elsewhere", &lock).unwrap();
    assert_all_fail(1, &["larder.lock", "it is a symlink"]);
    assert_eq!(read(&sandbox, "elsewhere"), text);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_all_fail(1, &["larder.lock"]);
    assert!(lock.is_dir());
}
