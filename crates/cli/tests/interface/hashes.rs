//! `larder hash`.

use crate::support::Project;

#[test]
fn a_command_hash_of_nothing_is_that_of_a_plain_push_in_every_directory() {
    let project = Project::new();
    let stdout = |arguments: &str| {
        let output = project.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", Project::show(arguments, &output));
        String::from_utf8(output.stdout).unwrap()
    };
    for scheme in ["blake3", "sha256", "weasel"] {
        let nothing = stdout(&format!("hash command --hash {scheme}"));
        assert_eq!(stdout(&format!("-C models hash command --hash {scheme}")), nothing);
        let pushed = stdout(&format!("-C models push en --json --hash {scheme}"));
        assert!(pushed.contains(&format!("\"command_hash\":\"{}\"", nothing.trim())), "{pushed}");
        let dep = stdout(&format!("hash command -d metrics.json --hash {scheme}"));
        assert_eq!(stdout(&format!("-C models hash command -d ../metrics.json --hash {scheme}")), dep);
    }
    // With a command, the working directory matters.
    assert_ne!(stdout("-C models hash command -- x"), stdout("hash command -- x"));
}

#[test]
fn names_that_no_variable_has_are_refused() {
    let project = Project::new();
    for name in ["BAD NAME", "$HOME", "${HOME}=x", "'X'=1", "A\tB", "A-B=1", "1A", "A.B", "Ä=1"] {
        for arguments in [&["hash", "command", "-e", name][..], &["hash", "env", name]] {
            let output = project.command("").args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains("is not the name of a variable"), "{said}");
        }
    }
}

#[test]
fn entries_that_are_left_out_of_a_dependency_are_named() {
    let project = Project::new();
    std::fs::create_dir(project.path().join("src")).unwrap();
    project.write("src/train.py", "");
    let clean = project.transcript("hash command -d src");
    std::fs::create_dir(project.path().join("src/__pycache__")).unwrap();
    project.write("src/__pycache__/train.pyc", "");
    project.write("src/.DS_Store", "");
    project.write(".larderignore", "__pycache__/\n.DS_Store\n");
    assert_eq!(project.transcript("hash command -d src"), clean);
    let output = project.command("hash command -d src --explain -v").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let comments: Vec<_> = said.lines().filter(|line| line.starts_with('#')).collect();
    let expected = [
        "# left out: src/.DS_Store (`.DS_Store` in .larderignore)",
        "# left out: src/__pycache__/ (`__pycache__/` in .larderignore)",
    ];
    assert_eq!(comments, expected);
    assert!(!project.transcript("hash command -d src --explain").contains("left out"));
    assert!(!project.transcript("hash command -d src -v").contains("left out"));

    project.write(".larderignore", "a[\n");
    let refused = project.transcript("hash command -d src");
    assert!(
        refused.contains(".larderignore`") && refused.contains("line 1") && refused.ends_with("[2]\n"),
        "{refused}"
    );
}

#[test]
fn a_parent_of_a_symlink_is_refused() {
    let project = Project::new();
    std::os::unix::fs::symlink("models/en", project.path().join("lk")).unwrap();
    project.write("models/x", "what the system reads");
    project.write("x", "what the text says");
    for arguments in [
        "hash content lk/../x",
        "hash command -d lk/../x",
        "push lk/../x",
        "pull lk/../x",
        "find lk/../x",
        "ls lk/../x",
        "-C models pull ../lk/../x",
    ] {
        let said = project.transcript(arguments);
        assert!(said.contains("lk` is a symlink, so ") && said.ends_with("[2]\n"), "{said}");
    }
    // The system resolves the path of another directory.
    project.transcript("push metrics.json");
    project.transcript("pull metrics.json --to lk/../there");
    assert!(project.path().join("models/there/metrics.json").exists());
}
