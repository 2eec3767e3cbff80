//! The commands for data that follows git, and those that move data from DVC and git lfs.

use std::fs;
use std::path::Path;

use larder_tests::{Run, Sandbox};

use crate::document::{README, below, blocks, console};

const PAGE: &str = include_str!("../../../docs/workspace.md");

/// Returns a sandbox whose project is an empty git repository, and whose user may commit.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    fs::create_dir_all(sandbox.home()).unwrap();
    fs::write(sandbox.home().join(".gitconfig"), "[user]\nname = Ann\nemail = ann@example.org\n").unwrap();
    bash(&sandbox, &sandbox.project(), "git init --quiet --initial-branch main .");
    sandbox
}

/// Runs a script, which must succeed.
#[track_caller]
fn bash(sandbox: &Sandbox, dir: &Path, script: &str) -> Run {
    let larder = sandbox.program("bash", ["-euo", "pipefail", "-c", script]).in_dir(dir);
    let larder =
        larder.env("DVC_NO_ANALYTICS", "1").env("DVC_SITE_CACHE_DIR", sandbox.root().join("dvc-site"));
    larder.run().ok()
}

#[track_caller]
fn tracked_files(sandbox: &Sandbox, dir: &Path) -> Vec<String> {
    let said = bash(sandbox, dir, "git status --porcelain && git ls-files").said();
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Replaces the share of the page with a directory of the sandbox.
fn on_share(sandbox: &Sandbox, block: &str) -> String {
    assert!(block.contains("/mnt/share/larder"), "{block}");
    fs::create_dir_all(sandbox.root().join("share/larder")).unwrap();
    block.replace("/mnt/share", sandbox.root().join("share").to_str().unwrap())
}

/// Writes the outputs that the pages pin.
fn make_outputs(sandbox: &Sandbox) {
    fs::create_dir_all(sandbox.path("models/en")).unwrap();
    fs::write(sandbox.path("models/en/model.bin"), "model").unwrap();
    fs::write(sandbox.path("metrics.json"), "1").unwrap();
}

/// Leaves only what is committed, as in a new clone.
fn clean(sandbox: &Sandbox, dir: &Path) {
    bash(sandbox, dir, "git clean --quiet -ffdx");
}

const COMMITTED: [&str; 4] = [".gitignore", ".larderignore", "larder.lock", "larder.toml"];

pub(crate) fn readme() {
    let sandbox = repository();
    make_outputs(&sandbox);
    let [pin, pull] = blocks(README, "## Data that follows git", "console")[..] else {
        panic!("no two blocks")
    };
    console(&sandbox, &on_share(&sandbox, pin));
    assert_eq!(tracked_files(&sandbox, &sandbox.project()), COMMITTED);
    clean(&sandbox, &sandbox.project());
    console(&sandbox, pull);
    assert_eq!(fs::read(sandbox.path("models/en/model.bin")).unwrap(), b"model");
}

pub(crate) fn first_steps() {
    let sandbox = repository();
    make_outputs(&sandbox);
    let [pin, pull, push] = blocks(PAGE, "## First steps", "console")[..] else { panic!("no three blocks") };
    console(&sandbox, &on_share(&sandbox, pin));
    clean(&sandbox, &sandbox.project());
    console(&sandbox, pull);
    fs::write(sandbox.path("metrics.json"), "2").unwrap();
    console(&sandbox, push);
    assert_eq!(tracked_files(&sandbox, &sandbox.project()), COMMITTED);

    clean(&sandbox, &sandbox.project());
    let step = below(blocks(PAGE, "## Continuous integration", "yaml")[0], "- name: Get the data");
    assert_eq!(step[0], "run: |");
    bash(&sandbox, &sandbox.project(), &step[1..].join("\n")).says(&["would restore", "2 clean"]);
    assert_eq!(fs::read(sandbox.path("metrics.json")).unwrap(), b"2");
}

/// Makes a clone a project of larder, moves its data with the script of a section, and checks that nothing but larder knows it.
fn move_with(sandbox: &Sandbox, clone: &Path, heading: &str, left: &[&str]) {
    let share = sandbox.root().join("share");
    fs::create_dir_all(&share).unwrap();
    sandbox.larder(["init", share.to_str().unwrap()]).in_dir(clone).run().ok();
    bash(sandbox, clone, blocks(PAGE, heading, "bash")[0]).says(&["pinned: "]);
    let mut committed: Vec<&str> = left.iter().chain(&COMMITTED).copied().collect();
    committed.sort_unstable();
    assert_eq!(tracked_files(sandbox, clone), committed);
    sandbox.larder(["status", "--check", "--online"]).in_dir(clone).run().ok();
}

pub(crate) fn from_dvc() {
    let sandbox = repository();
    let project = sandbox.project();
    bash(
        &sandbox,
        &project,
        "dvc init --quiet
        dvc remote add --quiet --default storage ../dvc-storage
        mkdir -p data/raw models/en
        echo 1 >data/raw/1; echo 2 >data/raw/2; echo extra >data/extra.txt; echo en >models/en/model.bin
        echo 1,2 >'my file.csv'
        dvc add --quiet data/raw data/extra.txt models/en 'my file.csv'
        dvc push --quiet
        git add --all && git commit --quiet -m 'Add the data'",
    );
    // In a clone whose outputs are links into DVC's cache.
    clean(&sandbox, &project);
    bash(&sandbox, &project, "dvc config --quiet --local cache.type symlink");
    move_with(&sandbox, &project, "## Coming from DVC", &[".dvc/.gitignore", ".dvc/config", ".dvcignore"]);

    bash(&sandbox, &project, "dvc destroy --force --quiet && git commit --quiet --all -m 'Remove DVC'");
    assert_eq!(tracked_files(&sandbox, &project), COMMITTED);
    sandbox.run(["status", "--check"]).ok();
    clean(&sandbox, &project);
    sandbox.run(["pull"]).ok();
    for (path, content) in [
        ("data/raw/1", "1\n"),
        ("data/raw/2", "2\n"),
        ("data/extra.txt", "extra\n"),
        ("models/en/model.bin", "en\n"),
        ("my file.csv", "1,2\n"),
    ] {
        assert_eq!(fs::read_to_string(sandbox.path(path)).unwrap(), content, "{path}");
    }
}

pub(crate) fn from_git_lfs() {
    let sandbox = repository();
    let (project, clone) = (sandbox.project(), sandbox.root().join("clone"));
    bash(
        &sandbox,
        &project,
        "git lfs install >/dev/null
        git init --quiet --bare ../origin.git
        git remote add origin \"file://$PWD/../origin.git\"
        git lfs track --lockable '*.bin' >/dev/null
        git lfs track 'corpus/**' 'my data.csv' >/dev/null
        mkdir -p models corpus
        echo en >models/en.bin; echo text >corpus/text; echo 1,2 >'my data.csv'; echo code >code
        git add --all && git commit --quiet -m 'Add the data' && git push --quiet --set-upstream origin main
        # A clone with pointer files.
        git --git-dir ../origin.git symbolic-ref HEAD refs/heads/main
        GIT_LFS_SKIP_SMUDGE=1 git clone --quiet \"file://$PWD/../origin.git\" ../clone",
    );
    let pointer = fs::read_to_string(clone.join("corpus/text")).unwrap();
    assert!(pointer.starts_with("version https://git-lfs.github.com/spec/v1\n"), "{pointer}");
    move_with(&sandbox, &clone, "## Coming from git lfs", &[".gitattributes", "code"]);

    assert_eq!(fs::read_to_string(clone.join(".gitattributes")).unwrap().trim(), "");
    bash(&sandbox, &clone, "git push --quiet");
    // A colleague, whose files git removes.
    bash(&sandbox, &project, "git pull --quiet && larder pull").says(&["restored corpus/text"]);
    for (path, content) in [("models/en.bin", "en\n"), ("corpus/text", "text\n"), ("my data.csv", "1,2\n")] {
        assert_eq!(fs::read_to_string(sandbox.path(path)).unwrap(), content, "{path}");
    }
}
