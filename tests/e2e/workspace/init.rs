//! `larder init`: a new project.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use larder_tests::{Run, Sandbox, Tree};

use crate::work_tree::WorkTree;

/// Returns a sandbox without a project, whose remote exists.
fn empty() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    fs::create_dir(sandbox.remote()).unwrap();
    sandbox
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn user_config(sandbox: &Sandbox, text: &str) {
    let dir = sandbox.home().join(".config/larder");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.toml"), text).unwrap();
}

#[track_caller]
fn says(run: &Run, parts: &[&str]) {
    let said = format!("{}{}", run.text(), run.stderr);
    for part in parts {
        assert!(said.contains(part), "expected `{part}`: {run}");
    }
}

pub(crate) fn a_new_project_gets_a_remote_of_its_own() {
    let sandbox = empty();
    let init = sandbox.run(["init", "../remote"]).ok();
    says(&init, &["created .larderignore", "created larder.toml: the remote is ../remote/project"]);
    assert_eq!(
        read(sandbox.path("larder.toml")),
        "# `larder config` documents every key.\n\n[remotes]\ndefault = \"../remote/project\"\n"
    );
    let ignored = read(sandbox.path(".larderignore"));
    assert!(ignored.ends_with("\n__pycache__/\n.ipynb_checkpoints/\n.DS_Store\n"), "{ignored}");
    assert_eq!(
        names(sandbox.project()),
        [".larder", ".larderignore", "larder.toml"],
        "without git, no .gitignore"
    );
    Tree::small(1).write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    assert_eq!(names(sandbox.remote()), ["project"]);
    sandbox.assert_clean();
}

pub(crate) fn an_existing_project_is_not_changed() {
    let sandbox = Sandbox::new();
    let before = read(sandbox.path("larder.toml"));
    fs::create_dir_all(sandbox.path("below")).unwrap();
    for dir in ["", "below"] {
        let init = sandbox.larder(["init", "s3://bucket"]).in_dir(sandbox.path(dir)).run().ok();
        says(&init, &["project is a project already, with a larder.toml"]);
        let document = sandbox.larder(["init", "--json"]).in_dir(sandbox.path(dir)).run().ok();
        assert_eq!(document.outcome(), "exists");
    }
    assert_eq!(read(sandbox.path("larder.toml")), before);
    assert!(names(sandbox.path("below")).is_empty());
    fs::rename(sandbox.path("larder.toml"), sandbox.path("project.yml")).unwrap();
    says(&sandbox.run(["init"]).ok(), &["with a project.yml: `larder project` exchanges its outputs"]);
    assert_eq!(names(sandbox.project()), ["below", "project.yml"]);
}

pub(crate) fn existing_files_are_kept() {
    let sandbox = empty();
    symlink("nowhere", sandbox.path(".larderignore")).unwrap();
    let init = sandbox.run(["init", "../remote", "--json"]).ok();
    assert_eq!(init.outcome(), "created");
    assert_eq!(init.results()[0]["files"], serde_json::json!(["larder.toml"]));
    assert_eq!(init.results()[0]["remote"], "../remote/project");
    assert!(sandbox.path(".larderignore").is_symlink() && !sandbox.path("nowhere").exists());
}

pub(crate) fn a_remote_that_cannot_be_used_leaves_nothing() {
    let sandbox = empty();
    let init = sandbox.run(["init", "../missing/larder"]).fails(5, &["missing/larder"]);
    says(&init, &["nothing was written, because the remote cannot be used"]);
    assert!(names(sandbox.project()).is_empty());
    // It can be repeated.
    sandbox.run(["init", "../remote"]).ok();
}

pub(crate) fn a_text_that_is_no_remote_is_refused() {
    let sandbox = empty();
    sandbox.run(["init", "remote"]).fails(2, &["there is no remote named `remote`", "`./remote`"]);
    sandbox.run(["init", "ftp://host/a"]).fails(2, &["ftp"]);
    sandbox.run(["init", "s3://user:secret@bucket"]).fails(2, &[]);
    assert!(names(sandbox.project()).is_empty());
}

pub(crate) fn the_default_remote_of_the_user_is_copied() {
    let sandbox = empty();
    let remote = sandbox.remote().display().to_string();
    user_config(&sandbox, &format!("[remotes]\nteam = '{remote}'\nother = '/nowhere'\n"));
    sandbox.run(["init"]).fails(2, &["several remotes are configured"]);
    for args in [["init", "team"], ["init", "-rteam"]] {
        sandbox.run(args).ok();
        assert!(read(sandbox.path("larder.toml")).contains(&format!("default = \"{remote}/project\"\n")));
        fs::remove_file(sandbox.path("larder.toml")).unwrap();
    }
    user_config(&sandbox, &format!("[remotes]\ndefault = 'team'\nteam = '{remote}'\n"));
    sandbox.run(["init"]).ok();
    assert!(read(sandbox.path("larder.toml")).contains(&format!("default = \"{remote}/project\"\n")));
}

pub(crate) fn without_any_remote_outputs_stay_here() {
    let sandbox = empty();
    let init = sandbox.run(["init"]).ok();
    says(
        &init,
        &["created larder.toml\n", "no remote: outputs are kept on this machine only, in .larder/store"],
    );
    Tree::small(1).write(&sandbox.path("model"));
    says(&sandbox.run(["push", "model"]).ok(), &["kept on this machine only"]);
}

pub(crate) fn a_remote_with_outputs_is_a_warning() {
    let sandbox = empty();
    sandbox.configure("[remotes]\ndefault = '../remote/project'\n");
    Tree::small(1).write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    fs::remove_file(sandbox.path("larder.toml")).unwrap();
    let init = sandbox.run(["init", "../remote"]).ok();
    says(&init, &["warning: ../remote/project holds outputs already, such as `model`: "]);
}

pub(crate) fn git_ignores_what_belongs_to_this_machine() {
    let sandbox = empty();
    let tree = WorkTree::new(&sandbox);
    tree.write(".gitignore", "*.bin\r\n");
    // Git sets such variables for its hooks.
    let init = tree.larder(&["init", "../remote"]).env("GIT_DIR", "elsewhere").run().ok();
    says(
        &init,
        &[
            "added `/.larder/` to .gitignore",
            "commit .gitignore, .larderignore, larder.toml, and later larder.lock",
        ],
    );
    assert_eq!(read(tree.path(".gitignore")), "*.bin\r\n/.larder/\r\n");
    let status = tree.git(&["status", "--porcelain", "--ignored", "-uall"]);
    let untracked: Vec<&str> = status.lines().filter(|line| line.starts_with("??")).collect();
    assert_eq!(untracked, ["?? .gitignore", "?? .larderignore", "?? larder.toml"], "{status}");
}
