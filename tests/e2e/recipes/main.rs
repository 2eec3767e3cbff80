//! The commands of the README, `docs/recipes.md`, `docs/run-record.md` and `docs/workspace.md`, as they are written there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod document;
mod workspace;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use larder_tests::{Case, Larder, Need, Sandbox, files_below, run};
use serde_json::{Value, json};

use document::{README, below, blocks, console};

fn main() -> ExitCode {
    run(
        "recipes",
        &[
            Case::new("readme_first_steps", readme_first_steps),
            Case::new("readme_in_a_project", readme_in_a_project).needs(&[PYTHON, MAKE]),
            Case::new("jq_on_run_records", jq_on_run_records).needs(&[PYTHON, Need::Program("jq")]),
            Case::new("make", make).needs(&[PYTHON, MAKE]),
            Case::new("just", just).needs(&[PYTHON, Need::Program("just")]),
            Case::new("github_actions", github_actions).needs(&[PYTHON, BASH]),
            Case::new("gitlab_ci", gitlab_ci).needs(&[PYTHON]),
            Case::new("snakemake", snakemake).needs(&[Need::Program("snakemake")]),
            Case::new("notebook", notebook).needs(&[Need::Program("jupyter-execute")]),
            Case::new("workspace_of_the_readme", workspace::readme).needs(&[Need::Git]),
            Case::new("workspace_first_steps", workspace::first_steps).needs(&[Need::Git, BASH]),
            Case::new("from_dvc", workspace::from_dvc).needs(&[Need::Git, BASH, Need::Program("dvc")]),
            Case::new("from_git_lfs", workspace::from_git_lfs).needs(&[
                Need::Git,
                BASH,
                Need::Program("git-lfs"),
            ]),
        ],
    )
}

const PYTHON: Need = Need::Program("python3");
const MAKE: Need = Need::Program("make");
const BASH: Need = Need::Program("bash");

const RECORDS: &str = include_str!("../../../docs/run-record.md");
const RECIPES: &str = include_str!("../../../docs/recipes.md");

#[track_caller]
fn recipe(heading: &str, language: &str) -> &'static str {
    blocks(RECIPES, heading, language)[0]
}

/// A project with the files that the recipes name. Each training appends a line to a file beside the project.
struct Recipe {
    sandbox: Sandbox,
}

const TRAIN: &str = "\
import pathlib, sys
lang = sys.argv[1] if len(sys.argv) > 1 else 'en'
model = pathlib.Path('models', lang)
model.mkdir(parents=True)
(model / 'model.bin').write_text(lang + pathlib.Path('corpus/text').read_text())
with open('../trained', 'a') as trained:
    trained.write(lang + '\\n')
";

const EVALUATE: &str = "\
import pathlib
size = pathlib.Path('models/en/model.bin').stat().st_size
pathlib.Path('metrics.json').write_text(str(size))
";

const TEST: &str = "\
import unittest
class Test(unittest.TestCase):
    def test(self):
        pass
";

impl Recipe {
    fn new() -> Self {
        let recipe = Self { sandbox: Sandbox::new() };
        let ignored = self::recipe("## The project", "gitignore");
        for (path, text) in [
            ("corpus/text", "text"),
            ("src/code.py", ""),
            ("tests/test_code.py", TEST),
            ("train.py", TRAIN),
            ("evaluate.py", EVALUATE),
            (".larderignore", ignored),
        ] {
            recipe.write(path, text);
        }
        recipe
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.sandbox.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, paths: &[&str]) {
        for path in paths.iter().map(|path| self.sandbox.path(path)) {
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }

    fn trained(&self) -> usize {
        let trained = fs::read_to_string(self.sandbox.root().join("trained")).unwrap_or_default();
        trained.lines().count()
    }

    fn call(&self, line: &str) -> Larder {
        let mut words = line.split(' ');
        self.sandbox.program(words.next().unwrap(), words)
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.sandbox.path("report.json")).unwrap()).unwrap()
    }
}

fn readme_first_steps() {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    fs::write(sandbox.path("README.md"), README).unwrap();
    let [cargo, steps, ..] = blocks(README, "## Try it", "console")[..] else { panic!("no two blocks") };
    let (_, args) = cargo.trim_end().split_once(" -- ").unwrap();
    sandbox.program("larder", args.split(' ')).run().ok().says(&["kept on this machine only"]);
    let (path, steps) = steps.split_once('\n').unwrap();
    assert!(path.starts_with("$ PATH="), "{path}");
    let runs = console(&sandbox, steps);
    assert!(runs[0].line().contains("/README.md/first-try/"), "{}", runs[0]);
    assert!(!sandbox.path("README.bak").exists());
}

fn readme_in_a_project() {
    let recipe = Recipe::new();
    let sandbox = &recipe.sandbox;
    let heading = "## Use it in a project";
    let toml = blocks(README, heading, "toml")[0];
    assert!(toml.contains("\"/mnt/share/larder\""), "{toml}");
    sandbox.configure(&toml.replace("/mnt/share", sandbox.root().to_str().unwrap()));
    recipe.write("Makefile", "test:\n\ttrue\n");
    let [train, check, transfer] = blocks(README, heading, "console")[..] else { panic!("no three blocks") };
    console(sandbox, train);
    assert_eq!(recipe.trained(), 1);
    // A colleague's clone.
    recipe.remove(&["models", ".larder"]);
    let line = train.lines().next().unwrap().strip_prefix("$ ").unwrap();
    sandbox.program("sh", ["-c", line]).run().ok().says(&["restored"]);
    console(sandbox, check);
    console(sandbox, transfer);
    assert_eq!(recipe.trained(), 1);
}

fn jq_on_run_records() {
    let recipe = Recipe::new();
    let train = "larder run -d corpus -d train.py -o models/en -- python3 train.py";
    recipe.call(train).run().ok();
    recipe.call("larder run -d corpus --check -- true").run().ok();
    let script = blocks(RECORDS, "## Reading records with jq", "sh").concat();
    let run =
        recipe.sandbox.program("sh", ["-eu", "-c", &script]).env("REMOTE", recipe.sandbox.remote()).run();
    let run = run.ok().says(&[
        "larder-command 1\n",
        "arg train.py\n",
        "\ncorpus\ntrain.py\n",
        "larder-tree 1\n",
        "\"models/en\": 6\n",
        "\n[\"true\"]\n",
        " python3 train.py\n",
    ]);
    assert!(!run.stderr.contains("error"), "{run}");
}

fn set_modified(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

fn make() {
    let recipe = Recipe::new();
    recipe.write("Makefile", recipe_of_make());
    recipe.call("make metrics.json").run().ok().says(&["published models/en", "published metrics.json"]);
    recipe.call("make -q metrics.json").run().ok();
    // Make takes the output for old, and a hit makes it new.
    for output in ["models/en", "metrics.json"] {
        set_modified(&recipe.sandbox.path(output), SystemTime::UNIX_EPOCH);
    }
    recipe.call("make -q metrics.json").run().exits(1);
    recipe.call("make metrics.json").run().ok().says(&["up to date: models/en", "up to date: metrics.json"]);
    recipe.call("make -q metrics.json").run().ok();
    recipe.remove(&["models", "metrics.json", ".larder"]);
    recipe.call("make -j8 metrics.json").run().ok().says(&["restored models/en", "restored metrics.json"]);
    recipe.call("make -B metrics.json").run().ok().says(&["up to date"]);
    assert_eq!(recipe.trained(), 1);
    recipe.write("corpus/more", "");
    recipe.call("make models/en").run().ok().says(&["corpus/more was added"]);
    assert_eq!(recipe.trained(), 2);
    recipe.call("make test").run().ok().says(&["recorded"]);
    recipe.call("make test").run().ok().says(&["up to date"]);
}

fn recipe_of_make() -> &'static str {
    recipe("## Make", "make")
}

fn just() {
    let recipe = Recipe::new();
    recipe.write("justfile", self::recipe("## just", "just"));
    for (lang, trained) in [("en", 1), ("de", 2)] {
        let line = format!("just model {lang}");
        recipe.call(&line).run().ok().says(&["published"]);
        recipe.call(&line).run().ok().says(&["up to date"]);
        assert_eq!(recipe.trained(), trained);
    }
    recipe.call("just test").run().ok().says(&["recorded"]);
    recipe.call("just test").run().ok().says(&["up to date"]);
}

fn github_actions() {
    let recipe = Recipe::new();
    let yaml = self::recipe("## GitHub Actions", "yaml");
    assert!(yaml.contains(
        "LARDER_RUN_MODE: ${{ github.event.pull_request.head.repo.fork && 'read-only' || 'read-write' }}"
    ));
    let step = below(yaml, "- name: Train");
    assert_eq!(step[0], "run: |");
    let script = step[1..].join("\n");
    let job = |mode: &str| {
        recipe
            .sandbox
            .program("bash", ["-e", "-c", &script])
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_SERVER_URL", "https://github.com")
            .env("GITHUB_REPOSITORY", "team/project")
            .env("GITHUB_RUN_ID", "42")
            .env("LARDER_RUN_MODE", mode)
    };
    check_jobs(&recipe, job, "https://github.com/team/project/actions/runs/42");
}

fn gitlab_ci() {
    let recipe = Recipe::new();
    let yaml = self::recipe("## GitLab CI", "yaml");
    assert_eq!(below(yaml, "variables:"), ["LARDER_RUN_MODE: read-only"]);
    assert_eq!(
        below(yaml, "rules:"),
        [
            "- if: $CI_COMMIT_REF_PROTECTED == \"true\"",
            "variables:",
            "LARDER_RUN_MODE: read-write",
            "- when: on_success"
        ]
    );
    let lines = below(yaml, "script:");
    let script: Vec<&str> = lines.iter().map(|line| line.strip_prefix("- ").unwrap()).collect();
    let script = script.join("\n");
    let job = |mode: &str| {
        recipe
            .sandbox
            .program("sh", ["-e", "-c", &script])
            .env("CI", "true")
            .env("GITLAB_CI", "true")
            .env("CI_JOB_URL", "https://gitlab.com/team/project/-/jobs/7")
            .env("LARDER_RUN_MODE", mode)
    };
    check_jobs(&recipe, job, "https://gitlab.com/team/project/-/jobs/7");
}

/// Runs jobs in fresh clones: only one that may write publishes, and the others restore.
fn check_jobs(recipe: &Recipe, job: impl Fn(&str) -> Larder, page: &str) {
    let fresh = || recipe.remove(&["models", ".larder", "report.json"]);
    job("read-only").run().ok().says(&["running"]);
    assert_eq!((recipe.report()["outcome"].clone(), recipe.trained()), (json!("miss"), 1));
    assert_eq!(files_below(&recipe.sandbox.remote()), Vec::<String>::new(), "a fork published something");
    fresh();
    job("read-write").run().ok().says(&["published models/en"]);
    assert_eq!(recipe.trained(), 2);
    for mode in ["read-only", "read-write"] {
        fresh();
        job(mode).run().ok().says(&["restored models/en"]);
        assert_eq!((recipe.report()["outcome"].clone(), recipe.trained()), (json!("hit"), 2));
    }
    let log = recipe.sandbox.run(["log", "--json"]).ok().results();
    let pages: Vec<&Value> = log.iter().map(|run| &run["ci_url"]).collect();
    assert_eq!(pages, [&json!(page)]);
}

fn snakemake() {
    let recipe = Recipe::new();
    recipe.write("Snakefile", self::recipe("## Snakemake", "python"));
    recipe.call("snakemake -c1").run().ok().says(&["published models/en", "published metrics.json"]);
    recipe.call("snakemake -c1").run().ok().says(&["Nothing to be done"]);
    recipe.remove(&["models", "metrics.json", ".snakemake", ".larder"]);
    recipe.call("snakemake -c1").run().ok().says(&["restored models/en", "restored metrics.json"]);
    recipe.call("snakemake -c1").run().ok().says(&["Nothing to be done"]);
    assert_eq!(recipe.trained(), 1);
}

fn notebook() {
    let recipe = Recipe::new();
    let code = self::recipe("## A notebook", "python");
    let cell = json!({
        "cell_type": "code", "id": "train", "metadata": {}, "source": code, "outputs": [], "execution_count": null,
    });
    let notebook = json!({ "nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell] });
    recipe.write("model.ipynb", &notebook.to_string());
    let execute = || {
        recipe.call("jupyter-execute --inplace model.ipynb").run().ok();
        fs::read_to_string(recipe.sandbox.path("model.ipynb")).unwrap()
    };
    assert!(execute().contains("published models/en"));
    recipe.remove(&["models", ".larder"]);
    assert!(execute().contains("restored models/en"));
    assert_eq!(recipe.trained(), 1);
}
