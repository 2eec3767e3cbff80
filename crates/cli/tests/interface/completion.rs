//! Shell completion.

use std::fs;
use std::process::Command;

use crate::support::Project;

/// Returns the completions of the last word, sorted. The words follow `larder` on the command line.
fn completed(project: &Project, words: &str) -> Vec<String> {
    let words: Vec<&str> = words.split(' ').collect();
    let mut command = project.command("-- larder");
    command.args(&words).env("LARDER_COMPLETE", "bash").env("_CLAP_IFS", "\n");
    let output = command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).output().unwrap();
    assert!(output.status.success(), "{}", Project::show("", &output));
    assert!(output.stderr.is_empty(), "{}", Project::show("", &output));
    let mut completed: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    completed.sort();
    completed
}

/// Creates a project with two remotes, one of which has two outputs.
fn project() -> Project {
    let project = Project::new();
    project.write("larder.toml", "[remotes]\ndefault = 'team'\nteam = '../team'\ntemp = 's3://nowhere/x'\n");
    for output in ["models/en", "metrics.json"] {
        assert!(project.command(&format!("push {output}")).output().unwrap().status.success());
    }
    fs::remove_dir_all(project.path().join("models")).unwrap();
    fs::remove_file(project.path().join("metrics.json")).unwrap();
    project.write("notes.txt", "");
    project
}

#[test]
fn names_of_remotes_complete_wherever_a_remote_is_named() {
    let project = project();
    for words in ["-r te", "pull -r te", "push x --remote te", "-v ls --remote te"] {
        assert_eq!(completed(&project, words), ["team", "temp"], "{words}");
    }
    assert_eq!(completed(&project, "-r d"), ["default"]);
    project.write("project.yml", "remotes: {testing: /tmp/x}\ncommands: []\n");
    for command in ["push", "pull", "status", "audit"] {
        let words = format!("project {command} te");
        assert_eq!(completed(&project, &words), ["team", "temp", "testing"], "{words}");
    }
    project.write("larder.toml", "[remotes\n");
    assert!(completed(&project, "-r te").is_empty(), "a broken file completes nothing, and says nothing");
}

#[test]
fn outputs_of_a_remote_that_is_a_directory_complete() {
    let project = project();
    for command in ["pull", "find", "ls", "pull -r ../team", "pull notes.txt", "ls -l"] {
        assert_eq!(completed(&project, &format!("{command} m")), ["metrics.json", "models/en"], "{command}");
    }
    assert!(completed(&project, "push m").is_empty(), "a push has local files only");
    assert!(completed(&project, "pull -r temp m").is_empty(), "a bucket is not asked");
    fs::create_dir(project.path().join("models")).unwrap();
    assert_eq!(completed(&project, "-C models pull e"), ["en"]);
    assert_eq!(completed(&project, "pull -C models e"), ["en"]);
}

#[test]
fn files_complete_for_paths() {
    let project = project();
    for command in ["push", "pull", "find", "ls", "hash content", "hash command -d", "push notes.txt"] {
        assert_eq!(completed(&project, &format!("{command} no")), ["notes.txt"], "{command}");
    }
    assert!(completed(&project, "pu").contains(&"push".to_owned()), "commands complete too");
    assert!(completed(&project, "push --comp").contains(&"--compression".to_owned()));
}

#[test]
fn options_with_known_values_complete_their_values() {
    let project = project();
    for words in ["--hash ", "push x --hash ", "-r team --hash "] {
        assert_eq!(completed(&project, words), ["blake3", "sha256", "weasel"], "{words}");
    }
    assert_eq!(completed(&project, "--hash b"), ["blake3"]);
    for option in ["--color", "--progress"] {
        assert_eq!(completed(&project, &format!("{option} ")), ["always", "auto", "never"], "{option}");
    }
    assert_eq!(completed(&project, "push --compression "), ["bzip2", "gzip", "none", "xz", "zstd"]);
    assert_eq!(completed(&project, "push --compression x"), ["xz"]);
    assert_eq!(completed(&project, "-C mo"), Vec::<String>::new(), "there is no such directory");
    fs::create_dir(project.path().join("models")).unwrap();
    assert_eq!(completed(&project, "-C mo"), ["models/"]);
    for words in ["-C ", "-j ", "--stall-timeout ", "push --command-hash "] {
        // It asks nothing, and prints no error.
        completed(&project, words);
    }
}

#[test]
fn bash_completes_with_the_printed_script() {
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let project = project();
    // The script calls the binary by the same name or path as this call.
    let script = "source <(\"$LARDER\" completions bash)\n\
        COMP_WORDS=(larder pull mo); COMP_CWORD=2; COMP_TYPE=9\n\
        _clap_complete_larder larder mo pull\n\
        printf '%s\\n' \"${COMPREPLY[@]}\"\n\
        complete -p larder\n\
        compopt() { echo \"compopt $*\"; }\n\
        touch 'with blank'\n\
        COMP_WORDS=(larder push wi); COMP_CWORD=2\n\
        _clap_complete_larder larder wi push\n\
        printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", script]).current_dir(project.path());
    bash.env("LARDER", env!("CARGO_BIN_EXE_larder")).env("HOME", project.0.path().join("home"));
    let output = bash.output().unwrap();
    let said = Project::show("", &output);
    assert!(said.contains("\nmodels/en\n"), "{said}");
    assert!(said.contains("-F _clap_complete_larder larder"), "{said}");
    assert!(said.contains("filenames") && said.contains("\nwith blank\n"), "{said}");
}
