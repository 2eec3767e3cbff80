//! Exchange with the real weasel.

use std::fs;

use larder_tests::{Sandbox, Tree, WeaselProject};
use serde_json::{Value, json};

/// A project like those in weasel's documentation: directories, variables, a workflow, and commands that depend on each
/// other, listed in another order than they run. The scripts need only Python.
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

pub(crate) fn project(sandbox: &Sandbox) -> WeaselProject<'_> {
    let mut yml = demo(sandbox);
    // weasel checks the checksums of assets. These assets have none.
    yml["assets"] = json!([]);
    WeaselProject::of(sandbox, &yml)
}

pub(crate) fn run_all(weasel: &WeaselProject<'_>) -> String {
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

/// Asserts that weasel skips every command with outputs.
#[track_caller]
fn assert_nothing_changed(weasel: &WeaselProject<'_>) {
    for command in ["preprocess", "train", "evaluate"] {
        let said = weasel.weasel(&["run", command, "."]);
        assert!(said.contains("nothing changed"), "{command}: {said}");
    }
    let said = weasel.weasel(&["run", "clean", "."]);
    assert!(said.contains("cleaned"), "a command without outputs runs: {said}");
}

pub(crate) fn weasel_to_larder() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    run_all(&weasel);
    weasel.run("push");
    let keys = sandbox.keys();
    // larder finds the same objects.
    let pushed = sandbox.run(["project", "push", "--json"]).ok();
    for result in pushed.results() {
        assert_eq!(
            (&result["outcome"], &result["recorded"]),
            (&"already_present".into(), &true.into()),
            "{pushed}"
        );
    }
    assert_eq!((pushed.results().len(), sandbox.keys()), (OUTPUTS.len(), keys));
    // model-last is never pushed. Without it, weasel would run its command again, because the lock has it.
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

pub(crate) fn larder_to_weasel() {
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

pub(crate) fn continuous_integration() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    fs::create_dir(sandbox.remote()).unwrap();
    sandbox.run(["project", "pull"]).ok();
    assert!(!sandbox.path("project.lock").exists(), "no lock was written");
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

/// Asserts that git shows no difference, whichever program pulled the outputs.
pub(crate) fn same_lock() {
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

pub(crate) fn overrides() {
    let sandbox = Sandbox::new();
    let weasel = project(&sandbox);
    weasel.weasel(&["run", "preprocess", ".", "--vars.dropout", "0.5"]);
    sandbox.run(["project", "push", "--only", "preprocess"]).exits(1);
    assert!(sandbox.keys().is_empty(), "the recorded script is another one");
    let push = ["project", "push", "--only", "preprocess", "--vars.dropout", "0.5", "--json"];
    let results = sandbox.run(push).ok().results();
    assert!(results.iter().all(|result| result["recorded"] == true && result["outcome"] == "uploaded"));
    let again = sandbox.larder(["project", "push", "--only=preprocess", "--json"]);
    let again = again.env("WEASEL_CONFIG_OVERRIDES", "--vars.dropout=0.5").run().ok();
    assert!(again.results().iter().all(|result| result["outcome"] == "already_present"), "{again}");
}
