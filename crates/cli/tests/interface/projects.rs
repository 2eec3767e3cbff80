//! `larder project`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Project;

/// Creates a weasel project of three commands. Two of them have their dependencies.
fn weasel_project() -> Project {
    let project = Project::new();
    project.write("larder.toml", "");
    project.write(
        "project.yml",
        "remotes: {default: ../team}\nvars: {lr: 5e-5}\ncommands:\n\
         - {name: train, script: ['train ${vars.lr}'], deps: [metrics.json], outputs: [models/en/, absent]}\n\
         - {name: eval, script: [e], deps: [gone], outputs: [scores]}\n\
         - {name: two, script: [t], outputs: [metrics.json]}\n",
    );
    project
}

#[test]
fn documents_of_projects() {
    let project = weasel_project();
    project.check(
        "documents-of-projects",
        &[
            "project push --json --dry-run",
            "project push --json",
            "project status --json",
            "project pull --json",
            "project pull --json --strict",
            "project status --json --only two",
            "project push --json --only train --vars.lr=1",
            "project push --json --only nothing",
            "project push nowhere --json",
        ],
    );
}

#[test]
fn audits() {
    let project = weasel_project();
    project.transcript("project push");
    let team = project.0.path().join("team");
    project.check("audit-of-nothing", &["project audit", "project audit --json"]);
    // A truncated object, one with a flipped bit, one with a wrong name, a stub, a stray file, and two names of one path.
    let (model, metrics) =
        (only_file_below(&team.join("models%2Fen%2F")), only_file_below(&team.join("metrics.json")));
    let mut flipped = fs::read(&metrics).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(metrics.with_file_name("1".repeat(32)), flipped).unwrap();
    fs::copy(&metrics, metrics.with_file_name("0".repeat(32))).unwrap();
    fs::create_dir_all(team.join("models%2FEN/x")).unwrap();
    fs::copy(&model, team.join("models%2FEN/x/y")).unwrap();
    fs::create_dir_all(team.join("models%2Fen/x")).unwrap();
    fs::write(team.join("models%2Fen/x/y"), "").unwrap();
    fs::write(team.join(".DS_Store"), "x").unwrap();
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    project.check(
        "audit",
        &[
            "project audit",
            "project audit --json",
            "project audit --delete",
            "project audit --yes",
            "project audit --delete --yes",
            "project audit -q",
        ],
    );
    assert!(!model.exists() && metrics.exists() && team.join(".DS_Store").exists());
    project.transcript("project push --force");
    assert!(model.exists());
}

#[test]
fn an_audit_says_what_is_damaged_before_it_asks() {
    let project = weasel_project();
    project.transcript("project push --only two");
    let object = only_file_below(&project.0.path().join("team/metrics.json"));
    let whole = fs::read(&object).unwrap();
    fs::write(&object, &whole[..whole.len() / 2]).unwrap();
    for arguments in ["project audit --delete", "project audit --delete --json"] {
        let said = project.at_a_terminal(arguments, "n\n");
        let (before, _) = said.split_once("remove 1 damaged object? [y/N]").expect(&said);
        assert!(before.contains("truncated: ") && before.contains(": the archive ends early"), "{said}");
        assert!(object.exists());
    }
    let said = project.at_a_terminal("project audit --delete", "y\n");
    assert!(said.contains("removed ") && !object.exists(), "{said}");
}

fn only_file_below(dir: &Path) -> PathBuf {
    let mut path = dir.to_owned();
    while path.is_dir() {
        let entries: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        path.clone_from(&entries[0]);
    }
    path
}

#[test]
fn texts_of_projects() {
    let project = weasel_project();
    project.check(
        "texts-of-projects",
        &[
            "project push -v",
            "project pull",
            "project status",
            "project push --vars.lr 1",
            "project pull --dry-run --vars.nope 3",
        ],
    );
    project.write("models/en/weights", "other");
    project.check(
        "texts-of-stale-projects",
        &["project pull", "project status", "project pull --force", "project pull -q"],
    );
}

#[test]
fn nothing_to_do_and_nothing_to_ask_are_reported() {
    let project = Project::new();
    project.write("larder.toml", "");
    project.write(
        "project.yml",
        "remotes: {default: ../no/team}\ncommands:\n- {name: show, script: [s]}\n\
         - {name: one, script: [o], outputs: [metrics.json]}\n- {name: two, script: [t], outputs: [absent]}\n",
    );
    project.check(
        "texts-of-idle-projects",
        &[
            "project pull --only show --strict",
            "project push --only show",
            "project status --only show",
            "project status",
            "project pull",
            "project push ../team --strict",
        ],
    );
}

#[test]
fn a_project_is_not_a_remote_of_another() {
    let project = weasel_project();
    fs::create_dir(project.0.path().join("other")).unwrap();
    fs::write(project.0.path().join("other/project.yml"), "commands: []\n").unwrap();
    fs::create_dir(project.path().join("below")).unwrap();
    fs::write(project.path().join("below/project.yml"), "commands: []\n").unwrap();
    let absolute = project.0.path().join("other").display().to_string();
    for text in ["below", "./below", "below/", absolute.as_str()] {
        for command in ["push", "pull"] {
            let said = project.transcript(&format!("project {command} {text}"));
            assert!(said.contains(&format!("`larder -C {text} project {command}`")), "{said}");
            assert!(said.ends_with("[2]\n"), "{said}");
        }
    }
    for command in ["push", "pull", "status", "audit"] {
        let said = project.transcript(&format!("project {command} ../other"));
        assert!(said.contains(&format!("`larder -C ../other project {command}`")), "{said}");
        assert!(said.ends_with("[2]\n"), "{said}");
    }
    // There is no project in the directory above.
    let said = project.transcript("-C .. project push other");
    assert!(said.contains("`larder project push REMOTE other`") && said.ends_with("[2]\n"), "{said}");
    assert_eq!(fs::read_dir(project.0.path().join("other")).unwrap().count(), 1, "nothing was uploaded");
}
