//! Help texts, manual pages and completion scripts.

use std::fs;

use crate::support::Project;

#[test]
fn help() {
    let project = Project::new();
    let commands = [
        "",
        "push",
        "pull",
        "find",
        "url",
        "ls",
        "init",
        "pin",
        "unpin",
        "status",
        "hash",
        "hash content",
        "hash command",
        "hash env",
        "hash site",
        "project",
        "project push",
        "project pull",
        "project status",
        "project audit",
        "completions",
        "man",
    ];
    for command in commands {
        let name = format!("help {command}").trim_end().replace(' ', "-");
        project.check(&name, &[&format!("{command} --help")]);
    }
}

#[test]
fn completions_are_for_every_shell_and_the_manual_covers_every_command() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = project.command(&format!("completions {shell}")).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("LARDER_COMPLETE"), "{shell}");
    }
    let manual = String::from_utf8(project.command("man").output().unwrap().stdout).unwrap();
    for page in
        ["larder", "larder-push", "larder-hash", "larder-hash-command", "larder-project-push", "larder-man"]
    {
        assert!(manual.contains(&format!(".TH {page} 1")), "{page}");
    }
    for synopsis in ["\\fBlarder unpin\\fR [OPTIONS] <PATH>...", "\\fBlarder\\fR [OPTIONS] <COMMAND>"] {
        assert!(manual.contains(synopsis), "{synopsis}: {manual}");
    }
}

#[test]
fn every_command_has_a_manual_page_of_its_own() {
    let project = Project::new();
    let output = project.command("man --dir made/man1").output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", Project::show("man", &output));
    for page in ["larder", "larder-push", "larder-hash-command", "larder-project-audit", "larder-man"] {
        let text = fs::read_to_string(project.path().join(format!("made/man1/{page}.1"))).unwrap();
        assert!(text.contains(&format!(".TH {page} 1")), "{page}");
    }
    let blocked = project.command("man --dir metrics.json/man1").output().unwrap();
    assert_eq!(blocked.status.code(), Some(1), "{}", Project::show("man", &blocked));
}
