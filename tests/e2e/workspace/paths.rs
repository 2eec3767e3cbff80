//! Unusual names, places and remotes of pinned outputs.

use std::fs;
use std::process::Command;

use larder_tests::{Sandbox, Tree, redact};
use serde_json::json;

use crate::work_tree::WorkTree;

const AWKWARD: [&str; 15] = [
    " leading",
    "#hash",
    "!bang",
    "-r",
    "a space/in two",
    "back\\slash",
    "equals = \"quoted\"",
    "it's",
    "q?[a-z]*",
    "tab\there",
    "trailing ",
    "two  spaces  ",
    "{brace}$(x)`y`",
    "übung/größe",
    "日本語/モデル",
];

fn read(sandbox: &Sandbox, path: &str) -> String {
    fs::read_to_string(sandbox.path(path)).unwrap()
}

fn write(sandbox: &Sandbox, path: &str, text: &str) {
    let path = sandbox.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn awkward_names_are_pinned_ignored_and_restored() {
    let sandbox = Sandbox::new();
    let ann = WorkTree::new(&sandbox);
    for path in AWKWARD {
        ann.write(path, path);
    }
    // Names that a careless pattern would ignore too.
    let similar = ["hash", "bang", "qxa1", "trailing", "in two", "models/#hash"];
    for path in similar {
        ann.write(path, path);
    }
    let pin = ann.larder(&["pin", "--"]).args(AWKWARD).run().ok();
    assert!(!pin.stderr.contains("warning"), "{pin}");
    let untracked = ann.git(&["-c", "core.quotePath=false", "status", "--porcelain", "-uall", "-z"]);
    let mut untracked: Vec<&str> = untracked.split_terminator('\0').map(|line| &line[3..]).collect();
    untracked.sort_unstable();
    let mut expected = [&similar[..], &[".gitignore", "larder.lock", "larder.toml"]].concat();
    expected.sort_unstable();
    assert_eq!(untracked, expected);
    // The same command again changes nothing.
    let (lock, ignored) = (read(&sandbox, "larder.lock"), read(&sandbox, ".gitignore"));
    ann.larder(&["pin", "--"]).args(AWKWARD).run().ok();
    assert_eq!((read(&sandbox, "larder.lock"), read(&sandbox, ".gitignore")), (lock, ignored));
    ann.commit("pin");
    let ben = ann.cloned("ben");
    ben.larder(&["pull"]).run().ok();
    for path in AWKWARD {
        assert_eq!(fs::read_to_string(ben.path(path)).unwrap(), path);
    }
    ben.larder(&["status", "--check"]).run().ok();
    assert_eq!(ben.git(&["status", "--porcelain"]), "");
    let results = ben.larder(&["status", "--json"]).run().ok().results();
    let mut sorted = AWKWARD;
    sorted.sort_unstable();
    assert_eq!(results.iter().map(|result| result["path"].as_str().unwrap()).collect::<Vec<_>>(), sorted);
    // Each can be named.
    for path in AWKWARD {
        ben.write(path, "changed");
        ben.larder(&["push", "--", path]).run().ok();
        ben.larder(&["pull", "--", path]).run().ok();
        ben.larder(&["status", "--check", "--", path]).run().ok();
    }
    ben.larder(&["unpin", "--"]).args(AWKWARD).run().ok();
    assert_eq!(fs::read_to_string(ben.path("larder.lock")).unwrap().matches("[[pin]]").count(), 0);
    assert_eq!(fs::read_to_string(ben.path(".gitignore")).unwrap(), "");
}

pub(crate) fn a_project_without_git_has_pins() {
    let sandbox = Sandbox::new();
    write(&sandbox, "model", "1");
    sandbox.run(["pin", "model"]).ok();
    assert!(!sandbox.path(".gitignore").exists());
    fs::remove_file(sandbox.path("model")).unwrap();
    sandbox.run(["pull"]).ok();
    write(&sandbox, "model", "2");
    sandbox.run(["push"]).ok();
    sandbox.run(["status", "--check"]).ok();
    fs::remove_file(sandbox.path("model")).unwrap();
    fs::remove_dir_all(sandbox.remote().join("model")).unwrap();
    let run = sandbox.run(["pull"]).exits(3);
    assert!(run.stderr.contains("model is pinned, but shared does not have that version"), "{run}");
    sandbox.assert_clean();
}

pub(crate) fn without_pins_bare_commands_say_so() {
    let sandbox = Sandbox::new();
    for args in [&["push"][..], &["pull"], &["pull", "--latest"], &["pull", "--force", "--all"]] {
        sandbox.larder([]).args(args).run().fails(2, &["larder.lock pins no outputs", "larder pin PATH"]);
    }
    sandbox.run(["status", "--check"]).ok().says(&["pins no outputs"]);
    assert!(!sandbox.path("larder.lock").exists() && !sandbox.path(".larder").exists());
}

pub(crate) fn bare_commands_in_a_subdirectory_mean_the_whole_project() {
    let sandbox = Sandbox::new();
    for path in ["top", "sub/inner", "other/model"] {
        write(&sandbox, path, "1");
    }
    let sub = |args: &[&str]| sandbox.larder([]).args(args).in_dir(sandbox.path("sub")).run();
    sub(&["pin", "inner", "../top", "../other/model"]).ok();
    assert!(!sandbox.path("sub/larder.lock").exists() && !sandbox.path("sub/.larder").exists());
    for path in ["top", "sub/inner", "other/model"] {
        write(&sandbox, path, "2");
    }
    let paths = |run: larder_tests::Run| -> Vec<String> {
        run.results().iter().map(|result| result["path"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["other/model", "sub/inner", "top"];
    assert_eq!(paths(sub(&["status", "--json"]).ok()), all);
    assert_eq!(paths(sub(&["status", "inner", "--json"]).ok()), ["sub/inner"]);
    assert_eq!(paths(sub(&["status", ".", "--json"]).ok()), ["sub/inner"]);
    let mut pushed = paths(sub(&["push", "--json"]).ok());
    pushed.sort();
    assert_eq!(pushed, all);
    fs::remove_file(sandbox.path("top")).unwrap();
    fs::remove_dir_all(sandbox.path("other")).unwrap();
    sub(&["pull"]).ok();
    assert_eq!((read(&sandbox, "top"), read(&sandbox, "other/model")), ("2".to_owned(), "2".to_owned()));
    sub(&["pull", "inner", "--to", "copy"]).ok();
    assert_eq!(read(&sandbox, "sub/copy/sub/inner"), "2");
    sub(&["unpin", "inner"]).ok();
    assert_eq!(paths(sub(&["status", "--json"]).ok()), ["other/model", "top"]);
    sandbox.larder(["status", "--check", "-C"]).arg(sandbox.path("sub")).in_dir(sandbox.root()).run().ok();
}

pub(crate) fn a_read_only_checkout_has_status_and_copies() {
    let mut sandbox = Sandbox::new();
    let project = sandbox.mount_tmpfs("project", 16);
    let disk = sandbox.mount_tmpfs("disk", 16);
    let temporary = sandbox.root().join("temporary");
    fs::create_dir(&temporary).unwrap();
    sandbox.configure_remote();
    for path in ["a", "b", "c"] {
        write(&sandbox, path, "1");
    }
    sandbox.run(["pin", "a", "b", "c"]).ok();
    let lock = read(&sandbox, "larder.lock");
    write(&sandbox, "b", "2");
    fs::remove_file(sandbox.path("c")).unwrap();
    for has_state in [true, false] {
        let mount = |how: &str| {
            let mut mount = Command::new("mount");
            assert!(mount.args(["-o", &format!("remount,{how}")]).arg(&project).status().unwrap().success());
        };
        if !has_state {
            fs::remove_dir_all(sandbox.path(".larder")).unwrap();
        }
        mount("ro");
        let states = sandbox.run(["status", "--json"]).ok().results();
        let states: Vec<&str> = states.iter().map(|result| result["state"].as_str().unwrap()).collect();
        let changed = if has_state { "modified" } else { "diverged" };
        assert_eq!(states, ["clean", changed, "missing"]);
        sandbox.run(["status", "--check"]).exits(1);
        sandbox.run(["status", "a", "--check", "--online"]).ok();
        // Below the project's parent, and on another file system.
        for to in ["../copy", "../disk/copy"] {
            sandbox.larder(["pull", "--to", to]).env("TMPDIR", &temporary).run().ok();
            let copy = sandbox.path(to);
            Tree::read(&copy)
                .assert_same(&["a", "b", "c"].iter().fold(Tree::new(), |tree, path| tree.with(path, "1")));
            fs::remove_dir_all(copy).unwrap();
        }
        sandbox.run(["pull", "--to", "copy"]).exits(1).says(&["read-only"]);
        for dir in [&temporary, &disk] {
            assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "{}", dir.display());
        }
        // What is as pinned needs no change. What is missing cannot be restored.
        sandbox.run(["pull", "a"]).ok();
        let run = sandbox.run(["pull", "c"]).exits(1);
        assert!(run.stderr.contains("read-only") || run.stderr.contains("Read-only"), "{run}");
        for args in [&["push"][..], &["pin", "b"], &["unpin", "a"]] {
            let run = sandbox.larder([]).args(args).run().exits(1);
            assert!(!run.said().contains("panicked"), "{run}");
        }
        mount("rw");
        assert_eq!(read(&sandbox, "larder.lock"), lock);
    }
}

pub(crate) fn a_push_of_an_earlier_content_makes_it_the_newest() {
    let sandbox = Sandbox::new();
    sandbox.configure("[remotes]\ndefault = '../remote'\n");
    write(&sandbox, "model", "1");
    sandbox.run(["pin", "model"]).ok();
    for content in ["2", "1"] {
        write(&sandbox, "model", content);
        sandbox.run(["push"]).ok();
    }
    sandbox.run(["pull", "model", "--latest"]).ok();
    assert_eq!(read(&sandbox, "model"), "1");
    sandbox.run(["pull", "model", "--latest", "--force"]).ok();
    assert_eq!(read(&sandbox, "model"), "1");
}

pub(crate) fn a_pin_of_another_remote_stays_there() {
    let sandbox = Sandbox::new();
    sandbox.configure("[remotes]\ndefault = '../remote'\nteam = '../team'\nother = '../other'\n");
    for path in ["a", "b"] {
        write(&sandbox, path, "1");
    }
    let objects = |name: &str| -> usize {
        let keys = larder_tests::files_below(&sandbox.root().join(name));
        keys.iter().filter(|key| !key.starts_with(".larder/")).count()
    };
    let remote_lines = || -> Vec<String> {
        read(&sandbox, "larder.lock")
            .lines()
            .filter(|line| line.starts_with("remote"))
            .map(str::to_owned)
            .collect()
    };
    sandbox.run(["pin", "a"]).ok();
    sandbox.run(["pin", "b", "-r", "team"]).ok();
    assert_eq!(remote_lines(), ["remote = \"team\""]);
    assert_eq!((objects("remote"), objects("team")), (1, 1));
    // The pin's remote comes before the default.
    for path in ["a", "b"] {
        fs::remove_file(sandbox.path(path)).unwrap();
    }
    sandbox.run(["pull"]).ok();
    for path in ["a", "b"] {
        write(&sandbox, path, "2");
    }
    sandbox.run(["push"]).ok();
    assert_eq!((objects("remote"), objects("team")), (2, 2));
    write(&sandbox, "b", "3");
    sandbox.run(["push", "b"]).ok();
    write(&sandbox, "b", "4");
    sandbox.run(["pin", "b"]).ok();
    assert_eq!((objects("remote"), objects("team")), (2, 4));
    assert_eq!(remote_lines(), ["remote = \"team\""]);
    sandbox.run(["status", "--check", "--online"]).ok();
    // `-r` comes before both.
    fs::remove_file(sandbox.path("b")).unwrap();
    fs::create_dir(sandbox.root().join("other")).unwrap();
    sandbox.run(["pull", "b", "-r", "other"]).exits(3).says(&["other"]);
    sandbox.run(["pull", "b", "-r", "default"]).exits(3);
    assert!(!sandbox.path("b").exists());
    sandbox.run(["pull", "b"]).ok();
    write(&sandbox, "b", "5");
    sandbox.run(["push", "-r", "other"]).ok();
    assert_eq!((objects("remote"), objects("team"), objects("other")), (2, 4, 1));
    assert_eq!(remote_lines(), ["remote = \"other\""]);
    write(&sandbox, "b", "6");
    sandbox.run(["pin", "b", "-r", "default"]).ok();
    assert_eq!(remote_lines(), Vec::<String>::new());
    // A remote that the configuration no longer has.
    sandbox.run(["pin", "b", "-r", "team"]).ok();
    sandbox.configure("[remotes]\ndefault = '../remote'\n");
    fs::remove_file(sandbox.path("b")).unwrap();
    fs::remove_file(sandbox.path("a")).unwrap();
    sandbox.run(["pull"]).fails(2, &["larder.lock names the remote `team`", "`default`"]);
    assert_eq!(read(&sandbox, "a"), "2", "each output stands alone");
}

pub(crate) fn pins_that_others_could_not_use_are_refused() {
    let sandbox = Sandbox::new();
    write(&sandbox, "model", "1");
    let refused = |args: &[&str], parts: &[&str]| {
        let before = fs::read(sandbox.path("larder.lock")).ok();
        sandbox.larder([]).args(args).run().fails(2, parts);
        assert_eq!(fs::read(sandbox.path("larder.lock")).ok(), before, "{args:?}");
    };
    let toml = read(&sandbox, "larder.toml");
    sandbox.configure("");
    refused(&["pin", "model"], &["`larder init REMOTE`"]);
    let user = sandbox.home().join(".config/larder");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.toml"), format!("[remotes]\nmine = '{}'\n", sandbox.remote().display()))
        .unwrap();
    refused(&["pin", "model"], &["not in larder.toml"]);
    sandbox.configure(&toml);
    refused(&["pin", "model", "-r", "mine"], &["not in larder.toml"]);
    refused(&["pin", "model", "-r", "../elsewhere"], &["not in larder.toml"]);
    fs::remove_dir_all(user).unwrap();
    refused(&["pin", "model", "--hash", "weasel"], &["weasel"]);
    write(&sandbox, "project.yml", "commands: []\n");
    refused(&["pin", "model"], &["weasel project", "`larder project`"]);
    fs::remove_file(sandbox.path("project.yml")).unwrap();
    for path in ["larder.lock", ".larderignore", "larder.toml", ".larder"] {
        refused(&["pin", path], &[path]);
    }
    assert_eq!(sandbox.keys(), Vec::<String>::new());
    assert!(!sandbox.path("larder.lock").exists());
}

pub(crate) fn pins_that_clash_are_refused() {
    let sandbox = Sandbox::new();
    for path in ["models/en/config", "Other", "other", "gr\u{fc}n", "gru\u{308}n"] {
        write(&sandbox, path, path);
    }
    sandbox.run(["pin", "models/en", "other", "gr\u{fc}n"]).ok();
    let (lock, keys) = (read(&sandbox, "larder.lock"), sandbox.keys());
    for (path, part) in [
        ("models", "inside"),
        ("models/en/config", "inside"),
        ("Other", "differ only in case"),
        ("gru\u{308}n", "differ only in case or Unicode normalization"),
    ] {
        sandbox.run(["pin", path]).fails(2, &[part]);
        assert_eq!(read(&sandbox, "larder.lock"), lock, "{path}");
        assert_eq!(sandbox.keys(), keys, "{path}: nothing is uploaded before it is refused");
    }
    sandbox.run(["unpin", "models/en", "other", "gr\u{fc}n"]).ok();
    for pair in [["models", "models/en"], ["Other", "other"]] {
        sandbox.larder(["pin"]).args(pair).run().exits(2);
        assert_eq!(read(&sandbox, "larder.lock").matches("[[pin]]").count(), 0);
    }
}

pub(crate) fn a_thousand_pins_need_no_remote_while_they_are_clean() {
    let sandbox = Sandbox::new();
    let paths: Vec<String> = (0..1000).map(|index| format!("outputs/{:02}/{index}", index % 100)).collect();
    for path in &paths {
        write(&sandbox, path, path);
    }
    sandbox.larder(["pin", "-q"]).args(&paths).run().ok();
    let (here, away) = (sandbox.remote(), sandbox.root().join("away"));
    fs::rename(&here, &away).unwrap();
    for args in [&["status", "--check"][..], &["pull"], &["push"], &["status"]] {
        sandbox.larder([]).args(args).run().ok();
    }
    assert_eq!(sandbox.run(["status", "--json"]).ok().results().len(), 1000);
    assert!(!here.exists());
    fs::remove_dir_all(sandbox.path("outputs")).unwrap();
    sandbox.run(["status"]).ok().says(&["1000 missing"]);
    fs::rename(&away, &here).unwrap();
    let pulled = sandbox.run(["pull", "--json"]).ok().results();
    assert_eq!(pulled.iter().filter(|result| result["outcome"] == "restored").count(), 1000);
    for path in &paths {
        assert_eq!(read(&sandbox, path), *path);
    }
    sandbox.run(["status", "--check"]).ok();
    sandbox.assert_clean();
}

pub(crate) fn documents_of_status_push_and_pull() {
    let sandbox = Sandbox::new();
    for path in ["a", "b", "c"] {
        write(&sandbox, path, "1");
    }
    sandbox.run(["pin", "a", "b", "c"]).ok();
    write(&sandbox, "b", "22");
    fs::remove_file(sandbox.path("c")).unwrap();
    let document = |args: &[&str], code: i32| {
        redact(sandbox.larder([]).args(args).arg("--json").run().exits(code).json(), &sandbox)
    };
    let hash = "blake3-HEX";
    let entry = |path: &str, state: &str| {
        json!({
            "path": path, "state": state, "command_hash": hash, "content_hash": "blake3-HEX",
            "bytes": 0, "files": 1, "disk": "blake3-HEX",
        })
    };
    let without_disk = |mut entry: serde_json::Value| {
        entry.as_object_mut().unwrap().remove("disk");
        entry
    };
    let with = |mut entry: serde_json::Value, key: &str, value: serde_json::Value| {
        entry[key] = value;
        entry
    };
    let status = json!([entry("a", "clean"), entry("b", "modified"), without_disk(entry("c", "missing"))]);
    assert_eq!(
        document(&["status"], 0),
        json!({ "schema": 1, "command": "status", "ok": true, "results": status })
    );
    let online = document(&["status", "--online"], 0);
    assert_eq!(online["results"][2], with(without_disk(entry("c", "missing")), "online", json!(true)));
    let check = document(&["status", "--check"], 1);
    assert_eq!(check["results"], status);
    assert_eq!((&check["ok"], &check["error"]["kind"]), (&json!(false), &json!("failed")));
    let transfer = |path: &str, outcome: &str| {
        json!({
            "path": path, "url": format!("SANDBOX/remote/{path}/{hash}/blake3-HEX"), "command_hash": hash,
            "content_hash": "blake3-HEX", "outcome": outcome, "bytes": 0,
        })
    };
    let pin = document(&["pin", "a"], 0);
    assert_eq!(pin["results"], json!([transfer("a", "already_present")]));
    let pull = document(&["pull"], 1);
    assert_eq!(
        (&pull["command"], &pull["ok"], &pull["error"]["kind"]),
        (&json!("pull"), &json!(false), &json!("failed"))
    );
    let mut results = pull["results"].as_array().unwrap().clone();
    results.sort_by_key(|result| result["path"].as_str().unwrap().to_owned());
    assert_eq!(
        results,
        [
            entry("a", "clean"),
            with(entry("b", "modified"), "outcome", json!("kept")),
            with(transfer("c", "restored"), "verified", json!(true)),
        ]
    );
    fs::remove_file(sandbox.path("c")).unwrap();
    let push = document(&["push"], 0);
    assert_eq!((&push["command"], &push["ok"]), (&json!("push"), &json!(true)));
    let mut results = push["results"].as_array().unwrap().clone();
    results.sort_by_key(|result| result["path"].as_str().unwrap().to_owned());
    assert_eq!(
        results,
        [
            entry("a", "clean"),
            transfer("b", "uploaded"),
            with(without_disk(entry("c", "missing")), "outcome", json!("skipped")),
        ]
    );
    let strict = document(&["push", "--strict"], 3);
    assert_eq!(strict["error"]["kind"], "not_found");
}
