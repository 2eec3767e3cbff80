//! `larder project`: the place of `weasel push` and `weasel pull`, with the real weasel on the other side.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, ExitCode};

use larder_tests::{Case, Need, Sandbox, Signal, Tree, WeaselProject, noise, run};
use serde_json::{Value, json};

fn main() -> ExitCode {
    run(
        "project",
        &[
            Case::new("larder_pulls_a_project_that_weasel_pushed", weasel_to_larder).needs(&[Need::Weasel]),
            Case::new("weasel_pulls_a_project_that_larder_pushed", larder_to_weasel).needs(&[Need::Weasel]),
            Case::new("pull_run_push_on_an_empty_remote", continuous_integration).needs(&[Need::Weasel]),
            Case::new("the_lock_of_a_pull_is_that_of_a_run", same_lock).needs(&[Need::Weasel]),
            Case::new("overrides_name_the_script_that_ran", overrides).needs(&[Need::Weasel]),
            Case::new("exit_codes", exit_codes),
            Case::new("an_audit_offers_a_push_only_where_that_mends", advice_of_audits),
            Case::new("a_refused_path_is_not_to_be_forced", refused_paths),
            Case::new("remotes_are_found_in_both_files_and_never_embedded", remotes),
            Case::new("settings_of_larder_do_not_change_keys_or_archives", settings),
            Case::new("an_interrupted_pull_says_so_and_leaves_nothing", interrupted).needs(&[Need::Signals]),
            Case::new("a_killed_pull_leaves_nothing_half_done", killed),
            Case::new("an_audit_finds_what_weasel_left_and_a_push_mends_it", audit).needs(&[Need::Weasel]),
            Case::new("mistakes_are_named", mistakes),
            Case::new("special_files_are_refused_in_the_place_of_project_files", special_files),
            Case::new("a_link_at_the_lock_is_refused_and_kept", linked_lock),
            Case::new("a_failure_of_the_remote_is_said_once", one_failure),
        ],
    )
}

/// A project like those of weasel's documentation: directories, variables, a workflow, and commands whose dependencies
/// chain, in another order than they run in. The scripts need nothing but Python.
fn demo(sandbox: &Sandbox) -> Value {
    let write = |path: &str, text: &str| {
        let path = sandbox.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("assets/train.conllu", "1\tund\tund\tCCONJ\n2\tgrün\tgrün\tADJ\n");
    write("assets/dev.conllu", "1\tja\tja\tINTJ\n");
    write("configs/config.cfg", "[training]\nseed = 0\n");
    write(
        "scripts/convert.py",
        "import sys, pathlib\nfor source, target in zip(sys.argv[1::2], sys.argv[2::2]):\n    target = pathlib.Path(target)\n    \
         target.parent.mkdir(parents=True, exist_ok=True)\n    target.write_text(pathlib.Path(source).read_text().upper())\n",
    );
    write(
        "scripts/train.py",
        "import sys, pathlib\nout = pathlib.Path(sys.argv[1])\n(out / 'model-best/vocab').mkdir(parents=True, exist_ok=True)\n\
         text = ''.join(pathlib.Path(p).read_text() for p in sys.argv[2:])\n(out / 'model-best/weights').write_text(text)\n\
         (out / 'model-best/vocab/strings.json').write_text('[]')\n(out / 'model-last').mkdir(exist_ok=True)\n\
         (out / 'model-last/weights').write_text(text[::-1])\n",
    );
    write(
        "scripts/evaluate.py",
        "import sys, pathlib\npathlib.Path(sys.argv[2]).parent.mkdir(exist_ok=True)\n\
         pathlib.Path(sys.argv[2]).write_text('{\"size\": %d}' % len(pathlib.Path(sys.argv[1]).read_text()))\n",
    );
    json!({
        "title": "Part-of-speech Tagging",
        "description": "A demo, with ${vars.lang}",
        "vars": { "lang": "de", "config": "config", "dropout": 5e-5, "gpu": -1, "package": { "name": "tagger", "version": 1.0 } },
        "env": { "job": "LARDER_TEST_JOB" },
        "directories": ["assets", "corpus", "training", "metrics", "configs"],
        "assets": [{ "dest": "assets/train.conllu", "url": "https://example.org/train", "checksum": "" }],
        "remotes": { "default": sandbox.remote(), "other": "s3://unused/${vars.lang}" },
        "workflows": { "all": ["preprocess", "train", "evaluate"] },
        "commands": [
            {
                "name": "evaluate",
                "help": "Evaluate on ${vars.lang}",
                "script": ["python scripts/evaluate.py training/model-best/weights metrics/${vars.package.name}.json"],
                "deps": ["training/model-best", "corpus/dev.spacy"],
                "outputs": ["metrics/${vars.package.name}.json"],
            },
            {
                "name": "preprocess",
                "script": [
                    "python scripts/convert.py assets/train.conllu corpus/train.spacy assets/dev.conllu corpus/dev.spacy",
                    "python -c \"print('dropout ${vars.dropout}')\"",
                ],
                "deps": ["assets/train.conllu", "assets/dev.conllu", "scripts/"],
                "outputs": ["./corpus/train.spacy", "corpus/dev.spacy"],
            },
            {
                "name": "train",
                "script": ["python scripts/train.py training corpus/train.spacy configs/${vars.config}.cfg"],
                "deps": ["corpus/train.spacy", "corpus/dev.spacy", "configs/${vars.config}.cfg"],
                "outputs": ["training/model-best/"],
                "outputs_no_cache": ["training/model-last"],
            },
            { "name": "clean", "script": ["python -c \"print('cleaned')\""] },
        ],
    })
}

const OUTPUTS: [&str; 4] =
    ["corpus/train.spacy", "corpus/dev.spacy", "training/model-best", "metrics/tagger.json"];

fn project(sandbox: &Sandbox) -> WeaselProject<'_> {
    let mut yml = demo(sandbox);
    // weasel checks checksums of assets, which have none here.
    yml["assets"] = json!([]);
    WeaselProject::of(sandbox, &yml)
}

fn run_all(weasel: &WeaselProject<'_>) -> String {
    ["preprocess", "train", "evaluate"].map(|command| weasel.weasel(&["run", command, "."])).concat()
}

fn remove_outputs(sandbox: &Sandbox) -> Vec<Tree> {
    let trees = OUTPUTS.map(|path| Tree::read(&sandbox.path(path)));
    for dir in ["corpus", "training", "metrics"] {
        fs::remove_dir_all(sandbox.path(dir)).unwrap();
    }
    fs::remove_file(sandbox.path("project.lock")).unwrap();
    trees.into()
}

#[track_caller]
fn assert_outputs(sandbox: &Sandbox, expected: &[Tree]) {
    for (path, tree) in OUTPUTS.iter().zip(expected) {
        Tree::read(&sandbox.path(path)).assert_same(tree);
    }
}

/// Asserts that weasel has nothing to do for any command with outputs.
#[track_caller]
fn assert_nothing_changed(weasel: &WeaselProject<'_>) {
    for command in ["preprocess", "train", "evaluate"] {
        let said = weasel.weasel(&["run", command, "."]);
        assert!(said.contains("nothing changed"), "{command}: {said}");
    }
    let said = weasel.weasel(&["run", "clean", "."]);
    assert!(said.contains("cleaned"), "a command without outputs runs: {said}");
}

fn weasel_to_larder() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    run_all(&weasel);
    weasel.run("push");
    let keys = sandbox.keys();
    // Larder names the very same objects.
    let pushed = sandbox.run(["project", "push", "--json"]).ok();
    for result in pushed.results() {
        assert_eq!(
            (&result["outcome"], &result["recorded"]),
            (&"already_present".into(), &true.into()),
            "{pushed}"
        );
    }
    assert_eq!((pushed.results().len(), sandbox.keys()), (OUTPUTS.len(), keys));
    // What is not kept is made again by a run: weasel's lock has it.
    let last = Tree::read(&sandbox.path("training/model-last"));
    let expected = remove_outputs(&sandbox);
    last.write(&sandbox.path("training/model-last"));
    let pulled = sandbox.run(["project", "pull", "--json"]).ok();
    for result in pulled.results() {
        let outcome = (&result["outcome"], &result["verified"], &result["recorded"]);
        assert_eq!(outcome, (&"restored".into(), &true.into(), &true.into()), "{pulled}");
    }
    assert_outputs(&sandbox, &expected);
    assert_nothing_changed(&weasel);
    sandbox.run(["project", "status", "--strict"]).ok();
    sandbox.assert_clean();
}

fn larder_to_weasel() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    run_all(&weasel);
    let last = Tree::read(&sandbox.path("training/model-last"));
    let pushed = sandbox.run(["project", "push", "--json"]).ok();
    for result in pushed.results() {
        assert_eq!((&result["outcome"], &result["recorded"]), (&"uploaded".into(), &true.into()), "{pushed}");
    }
    let expected = remove_outputs(&sandbox);
    last.write(&sandbox.path("training/model-last"));
    weasel.run("pull");
    assert_outputs(&sandbox, &expected);
    assert_nothing_changed(&weasel);
    // weasel finds each object present.
    let keys = sandbox.keys();
    weasel.run("push");
    assert_eq!(sandbox.keys(), keys);
}

fn continuous_integration() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    fs::create_dir(sandbox.remote()).unwrap();
    sandbox.run(["project", "pull"]).ok();
    assert!(!sandbox.path("project.lock").exists(), "nothing was made");
    let said = run_all(&weasel);
    assert!(!said.contains("nothing changed"), "{said}");
    sandbox.run(["project", "push"]).ok();
    // The next job, in a fresh clone.
    let expected = remove_outputs(&sandbox);
    sandbox.run(["project", "pull", "--strict"]).ok();
    assert_outputs(&sandbox, &expected);
    let said = weasel.weasel(&["run", "preprocess", "."]);
    assert!(said.contains("nothing changed"), "{said}");
    sandbox.run(["project", "push", "--strict"]).ok();
}

/// So that git shows no difference whoever brought the outputs.
fn same_lock() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    run_all(&weasel);
    let lock = fs::read_to_string(sandbox.path("project.lock")).unwrap();
    let last = Tree::read(&sandbox.path("training/model-last"));
    sandbox.run(["project", "push"]).ok();
    remove_outputs(&sandbox);
    last.write(&sandbox.path("training/model-last"));
    sandbox.run(["project", "pull"]).ok();
    assert_eq!(fs::read_to_string(sandbox.path("project.lock")).unwrap(), lock);
}

fn overrides() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    weasel.weasel(&["run", "preprocess", ".", "--vars.dropout", "0.5"]);
    sandbox.run(["project", "push", "--only", "preprocess"]).exits(1);
    assert!(sandbox.keys().is_empty(), "what ran is another script");
    let push = ["project", "push", "--only", "preprocess", "--vars.dropout", "0.5", "--json"];
    let results = sandbox.run(push).ok().results();
    assert!(results.iter().all(|result| result["recorded"] == true && result["outcome"] == "uploaded"));
    let again = sandbox.larder(["project", "push", "--only=preprocess", "--json"]);
    let again = again.env("WEASEL_CONFIG_OVERRIDES", "--vars.dropout=0.5").run().ok();
    assert!(again.results().iter().all(|result| result["outcome"] == "already_present"), "{again}");
}

/// A project without weasel, whose outputs are there.
fn plain() -> Sandbox {
    let sandbox = Sandbox::new();
    let yml = json!({
        "remotes": { "default": sandbox.remote() },
        "commands": [
            { "name": "a", "script": ["make a"], "deps": ["in"], "outputs": ["out"] },
            { "name": "b", "script": ["make b"], "deps": ["absent"], "outputs": ["other"] },
        ],
    });
    fs::write(sandbox.path("project.yml"), yml.to_string()).unwrap();
    fs::write(sandbox.path("in"), "in").unwrap();
    fs::write(sandbox.path("out"), "out").unwrap();
    sandbox
}

fn exit_codes() {
    let sandbox = plain();
    // Nothing can be in a remote that a push would create. Where the directory above it is missing too, a share may not
    // be mounted.
    sandbox.run(["project", "pull"]).ok();
    for command in ["push", "pull"] {
        sandbox.run(["project", command, "./not/mounted", "--dry-run"]).fails(5, &["not/mounted"]);
    }
    sandbox.run(["project", "push", "--dry-run"]).ok();
    assert!(!sandbox.remote().exists());
    sandbox.run(["project", "push", "--strict"]).fails(3, &["--strict"]);
    sandbox.run(["project", "push"]).ok();
    sandbox.run(["project", "pull"]).ok();
    assert!(sandbox.path("project.lock").exists());
    fs::write(sandbox.path("out"), "stale").unwrap();
    sandbox.run(["project", "pull"]).ok();
    sandbox.run(["project", "pull", "--strict"]).fails(3, &["--strict"]);
    fs::write(sandbox.path("in"), "changed").unwrap();
    let refused = sandbox.run(["project", "push"]).fails(1, &["refused", "--force"]);
    assert!(refused.stderr.contains("its dependency `in` has changed"), "{refused}");
    fs::write(sandbox.path("in"), "in").unwrap();
    fs::remove_file(sandbox.path("out")).unwrap();
    let object = sandbox.object();
    let bytes = fs::read(&object).unwrap();
    fs::write(&object, &bytes[..bytes.len() - 9]).unwrap();
    sandbox.run(["project", "pull"]).fails(4, &["damaged", "`larder project push --force` mends it"]);
    sandbox.run(["project", "push", "--only", "nothing"]).fails(2, &["no command `nothing`", "`a`, `b`"]);
    sandbox.run(["project", "push", "--spacy-version", "3.7"]).exits(2);
    sandbox.run(["push", "out", "--vars.x=1"]).fails(2, &["--vars.x"]);
}

fn advice_of_audits() {
    let sandbox = plain();
    sandbox.run(["project", "push"]).ok();
    let object = sandbox.object();
    let half = fs::read(&object).unwrap().split_off(20);
    fs::write(&object, &half).unwrap();
    sandbox.run(["project", "audit"]).fails(4, &["1 damaged", "`larder project push --force` mends it"]);
    // One that was made from other inputs.
    let other = sandbox.remote().join("out").join("0".repeat(32)).join("1".repeat(32));
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::write(&other, &half).unwrap();
    sandbox.run(["project", "audit"]).fails(4, &["2 damaged", "mends 1 of them", "`--delete` removes them"]);
    sandbox.run(["project", "push", "--force"]).ok();
    let audit = sandbox.run(["project", "audit"]).fails(4, &["1 damaged", "`--delete` removes it"]);
    assert!(!audit.stderr.contains("--force"), "{audit}");
    // What would mend it is gone.
    fs::write(&object, &half).unwrap();
    fs::remove_file(sandbox.path("out")).unwrap();
    let audit = sandbox.run(["project", "audit"]).fails(4, &["2 damaged", "`--delete` removes them"]);
    assert!(!audit.stderr.contains("--force"), "{audit}");
}

fn refused_paths() {
    let sandbox = plain();
    let push = |outputs: &[&str]| {
        let commands = json!([{ "name": "a", "script": ["make a"], "deps": ["in"], "outputs": outputs }]);
        let yml = json!({ "remotes": { "default": sandbox.remote() }, "commands": commands });
        fs::write(sandbox.path("project.yml"), yml.to_string()).unwrap();
        sandbox.run(["project", "push"])
    };
    let refused = push(&["../x", "/etc/passwd"]).fails(1, &["refused", "`../x`", "in project.yml"]);
    assert!(!refused.stderr.contains("--force"), "{refused}");
    push(&["out"]).ok();
    sandbox.run(["project", "pull"]).ok();
    fs::write(sandbox.path("in"), "changed").unwrap();
    push(&["out", "../x"])
        .fails(1, &["refused to push 2", "`--force` pushes", "another path in project.yml"]);
}

fn remotes() {
    let sandbox = plain();
    fs::create_dir(sandbox.path("one")).unwrap();
    let yml = |remotes: Value| {
        let yml =
            json!({ "remotes": remotes, "commands": [{ "name": "a", "script": [], "outputs": ["out"] }] });
        fs::write(sandbox.path("project.yml"), yml.to_string()).unwrap();
    };
    let url = |arguments: &[&str]| {
        let run = sandbox.larder(["project", "push", "--dry-run", "--json"]).args(arguments).run().ok();
        run.field("url").rsplit('/').nth(3).unwrap().to_owned()
    };
    yml(json!({ "default": "./one/remote-y", "team": "./one/team-y" }));
    sandbox.configure("[remotes]\ndefault = './one/remote-l'\nextra = './one/extra-l'\n");
    assert_eq!(url(&[]), "remote-y");
    assert_eq!(url(&["team"]), "team-y");
    assert_eq!(url(&["-r", "extra"]), "extra-l");
    assert_eq!(url(&["team", ".", "-r", "extra"]), "team-y");
    assert_eq!(url(&["./one/given"]), "given");
    yml(json!({ "team": "./one/team-y" }));
    assert_eq!(url(&[]), "remote-l");
    sandbox.configure("");
    sandbox.run(["project", "push"]).fails(2, &["no remote is called `default`", "`team`"]);
    sandbox.run(["project", "push", "taem"]).fails(2, &["taem", "`team`", "./taem"]);
    yml(json!({}));
    sandbox.run(["project", "push"]).fails(2, &["no remote is called `default`", "project.yml"]);
    assert!(!sandbox.path(".larder/store").exists());
    yml(json!({ "default": 3 }));
    sandbox.run(["project", "push"]).fails(2, &["project.yml:1", "`default`", "3"]);
}

fn settings() {
    let sandbox = plain();
    sandbox.configure("hash = 'sha256'\ncompression = 'zstd:19'\n");
    sandbox.larder(["project", "push", "--hash", "blake3", "--json"]).env("LARDER_HASH", "sha256").run().ok();
    // MD5 of `out`, and of the MD5 of `in` with the script.
    assert_eq!(sandbox.keys(), ["out/4c6d191af633ead16434c7bd479b3dd1/c68271a63ddbc431c307beb7d2918275"]);
    assert!(fs::read(sandbox.object()).unwrap().starts_with(&[0x1f, 0x8b]), "gzip");
    // From below the project, and by its directory.
    fs::create_dir(sandbox.path("sub")).unwrap();
    let here = sandbox.larder(["project", "push", "--json"]).in_dir(sandbox.path("sub")).run().ok();
    assert_eq!(here.results()[0]["outcome"], "already_present", "{here}");
    let from_above = ["project", "push", "default", "project", "--json"];
    let there = sandbox.larder(from_above).in_dir(sandbox.root()).run().ok();
    assert_eq!(there.results()[0]["outcome"], "already_present", "{there}");
}

fn interrupted() {
    let sandbox = plain();
    fs::write(sandbox.path("out"), noise(1, 200 << 20)).unwrap();
    sandbox.run(["project", "push"]).ok();
    fs::remove_file(sandbox.path("out")).unwrap();
    let mut pull = sandbox.larder(["project", "pull"]).spawn();
    pull.wait_until(|pull| pull.bytes_written() > 4 << 20);
    pull.signal(Signal::INT);
    let run = pull.wait();
    assert!(run.code == Some(130) || run.signal == Some(2), "{run}");
    assert!(!sandbox.path("out").exists() && !sandbox.path("project.lock").exists());
    sandbox.run(["project", "pull"]).ok();
    sandbox.assert_clean();
}

fn killed() {
    let sandbox = plain();
    sandbox.run(["project", "push"]).ok();
    fs::remove_file(sandbox.path("out")).unwrap();
    let pull = sandbox.larder(["project", "pull"]).spawn();
    let out = sandbox.path("out");
    // Whenever it is killed: the output is whole or not there, and the lock has it only where it is there.
    drop(pull);
    let lock = fs::read_to_string(sandbox.path("project.lock")).unwrap_or_default();
    assert!(!out.exists() || fs::read(&out).unwrap() == b"out");
    assert!(out.exists() || !lock.contains("a:"));
    sandbox.run(["project", "pull"]).ok();
    assert_eq!(fs::read(&out).unwrap(), b"out");
    assert!(fs::read_to_string(sandbox.path("project.lock")).unwrap().starts_with("a:\n"));
}

fn audit() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    run_all(&weasel);
    weasel.run("push");
    sandbox.run(["project", "audit"]).ok();
    let keys = sandbox.keys();
    let object = |number: usize| sandbox.remote().join(&keys[number]);
    // A killed push, a cut download of somebody's, and a bit that a disk has flipped.
    fs::write(object(0), "").unwrap();
    let whole = fs::read(object(1)).unwrap();
    fs::write(object(1), &whole[..whole.len() / 3]).unwrap();
    let mut flipped = fs::read(object(2)).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(object(2), flipped).unwrap();
    let audit = sandbox.run(["project", "audit", "--json"]).exits(4);
    let kinds: Vec<Value> = audit.results().iter().map(|finding| finding["kind"].clone()).collect();
    assert_eq!(kinds, ["truncated", "truncated", "damaged"], "{audit}");
    sandbox.run(["project", "audit", "--delete", "--yes"]).ok();
    assert_eq!(sandbox.keys(), keys[3..]);
    sandbox.run(["project", "push"]).ok();
    assert_eq!(sandbox.keys(), keys);
    sandbox.run(["project", "audit"]).ok();
    fs::write(object(1), &whole[..whole.len() / 3]).unwrap();
    sandbox.run(["project", "push", "--force"]).ok();
    sandbox.run(["project", "audit"]).ok();
    sandbox.assert_clean();
}

fn mistakes() {
    let sandbox = plain();
    fs::write(sandbox.path("project.yml"), "vars:\n  x: 1\ncommands:\n- name: a\n  script: ['${vars.y}']\n")
        .unwrap();
    sandbox.run(["project", "status"]).fails(2, &["project.yml:5", "`vars.y`", "not defined"]);
    fs::write(sandbox.path("project.yml"), "commands:\n- nam: a\n").unwrap();
    sandbox.run(["project", "push"]).fails(2, &["project.yml:2", "nam"]);
    fs::remove_file(sandbox.path("project.yml")).unwrap();
    sandbox.run(["project", "pull"]).fails(2, &["there is no", "project.yml"]);
    sandbox.run(["project", "pull", "default", "nowhere"]).fails(2, &["nowhere"]);
}

/// What a checkout or an archive can put in the place of a file, and a word of the error.
///
/// A link at `project.lock` is refused whatever it leads to.
const SPECIAL_FILES: [(&str, &str); 5] = [
    ("mkfifo \"$1\"", "not a regular file"),
    ("ln -s /dev/zero \"$1\"", "not a regular file"),
    ("mkfifo pipe && ln -s pipe \"$1\"", "not a regular file"),
    ("mkdir \"$1\"", "directory"),
    ("truncate -s 1G \"$1\"", "larger than"),
];

fn special_files() {
    for (make, word) in SPECIAL_FILES {
        for name in ["project.yml", "project.lock"] {
            let sandbox = plain();
            let _ = fs::remove_file(sandbox.path(name));
            let mut shell = Command::new("sh");
            let made = shell.args(["-c", make, "sh", name]).current_dir(sandbox.project()).status();
            assert!(made.unwrap().success(), "{make}");
            for command in ["push", "pull", "status"] {
                let larder = sandbox.larder(["project", command, "default", "."]);
                let (run, peak) = larder.run_and_measure();
                let is_linked_lock = name == "project.lock" && make.contains("ln -s");
                run.fails(1, &["failed to read", name, if is_linked_lock { "symlink" } else { word }]);
                assert!(peak < 128, "{make} at {name}: {peak} MiB");
            }
            // A plain command that asks for a remote of larder.toml by name works without it.
            sandbox.run(["push", "out", "--remote", "shared"]).ok();
            let unknown = sandbox.run(["push", "out", "--remote", "absent"]);
            assert!(matches!(unknown.code, Some(1 | 2)), "{unknown}");
        }
    }
}

fn linked_lock() {
    let sandbox = plain();
    sandbox.run(["project", "push"]).ok();
    fs::write(sandbox.root().join("elsewhere"), "").unwrap();
    for target in ["../elsewhere", "nowhere"] {
        symlink(target, sandbox.path("project.lock")).unwrap();
        fs::remove_file(sandbox.path("out")).unwrap();
        sandbox.run(["project", "pull"]).fails(1, &["project.lock", "it is a symlink; replace it"]);
        assert!(sandbox.path("project.lock").is_symlink() && !sandbox.path("out").exists());
        assert_eq!(fs::read(sandbox.root().join("elsewhere")).unwrap(), b"");
        assert!(!sandbox.path("nowhere").exists());
        fs::remove_file(sandbox.path("project.lock")).unwrap();
        sandbox.run(["project", "pull"]).ok();
        fs::remove_file(sandbox.path("project.lock")).unwrap();
    }
}

fn one_failure() {
    let sandbox = plain();
    let outputs: Vec<String> = (0..9).map(|number| format!("out{number}")).collect();
    let project = json!({
        "remotes": { "default": sandbox.root().join("absent/remote") },
        "commands": [{ "name": "a", "script": ["make a"], "deps": ["in"], "outputs": outputs }],
    });
    fs::write(sandbox.path("project.yml"), project.to_string()).unwrap();
    // The parent of the remote is a file: no directory can be there.
    fs::write(sandbox.root().join("absent"), "").unwrap();
    sandbox.run(["project", "pull"]).fails(5, &["remote"]);
    for output in &outputs {
        fs::write(sandbox.path(output), "out").unwrap();
    }
    for command in ["push", "status"] {
        sandbox.run(["project", command]).fails(5, &["remote"]);
    }
}
