//! The text output.

use std::fs;
use std::process::Command;

use crate::support::Project;

#[test]
fn texts() {
    let project = Project::new();
    project.check(
        "texts",
        &[
            "ls",
            "push models/en --command-hash x",
            "push metrics.json --command-hash x -v",
            "push models/en --command-hash y -q",
            "push metrics.json --command-hash x --force --dry-run",
            "find models/en -v",
            "find models/en --all --command-hash y",
            "url models/en --command-hash x --content-hash y",
            "ls",
            "ls metrics.json",
            "ls metrics.json -l",
            "pull models/en --command-hash x",
            "pull models/en metrics.json --command-hash x",
            "pull metrics.json --to elsewhere",
            "pull metrics.json --to other -v",
            "pull absent",
            "pull absent -q",
            "find absent",
            "ls -l",
            "pull metrics.json --command-hash z",
            "hash command --explain -d metrics.json -e UNSET --key os=linux -- train",
            "-C models hash command --hash weasel -- train",
            "hash site --python ./absent",
            "hash command --site --python false",
            "push absent metrics.json",
            "push",
            "url models/en",
            "push models/en -q -v",
            "rm models/en",
            "cp models/en other",
            "version",
            "hash command python x.py",
            "hash command --nonsense",
            "pull metrics.json metrics.json",
            "-C models pull en --command-hash nope",
            "run -- train",
            "project rm",
            "hash env",
            "hash env --explain",
            "hash command -v -e X=$NOPE -e HOME --",
            "hash env $HOME",
            "-j 0 ls",
            "--stall-timeout 0 ls",
            "-C absent ls",
        ],
    );
}

#[test]
fn a_different_output_is_kept_and_reported() {
    let project = Project::new();
    project.transcript("push models/en");
    project.write("models/en/weights", "other");
    project.check(
        "kept",
        &[
            "pull models/en",
            "pull models/en --dry-run",
            "pull models/en -q",
            "pull models/en --json",
            "pull models/en --force",
        ],
    );
    assert_eq!(fs::read(project.path().join("models/en/weights")).unwrap(), b"1234");
}

#[test]
fn without_a_remote_the_object_stays_on_this_machine() {
    let project = Project::new();
    project.write("larder.toml", "");
    project.check("embedded", &["ls -v", "push metrics.json", "push metrics.json", "find metrics.json"]);
    assert!(project.path().join(".larder/store/metrics.json").is_dir());
}

#[test]
fn find_and_ls_take_a_literal_key_and_pull_does_not() {
    let project = Project::new();
    project.transcript("push models/en --command-hash x");
    let team = project.0.path().join("team");
    fs::rename(team.join("models%2Fen"), team.join(".%2Fmodels%2Fen%2F")).unwrap();
    fs::remove_dir_all(project.path().join("models")).unwrap();
    let run = |arguments: &str| project.command(arguments).output().unwrap();
    assert_eq!(run("find models/en").status.code(), Some(3));
    let found = run("find ./models/en/");
    assert!(String::from_utf8_lossy(&found.stdout).contains("/.%2Fmodels%2Fen%2F/x/blake3-tree-"));
    assert!(run("ls ./models/en/").status.success());
    // A pull takes a path on disk.
    let pulled = run("pull ./models/en/ --json");
    assert_eq!(pulled.status.code(), Some(3), "{}", Project::show("", &pulled));
    assert!(!project.path().join("models").exists());
}

#[test]
fn a_closed_pipe_is_not_an_error_and_a_full_disk_is() {
    let project = Project::new();
    for arguments in
        ["man", "completions bash", "--help", "hash content metrics.json", "hash content metrics.json --json"]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = project.command(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", Project::show(arguments, &output));
    }
    #[cfg(target_os = "linux")]
    for arguments in ["hash content metrics.json", "hash content metrics.json --json", "man"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = project.command(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", Project::show(arguments, &output));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: failed to write the results"));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_file_sizes_is_an_error_and_no_signal() {
    let project = Project::new();
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(1 << 20)
    .collect();
    fs::write(project.path().join("noise"), noise).unwrap();
    let mut command = project.command("");
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 64; exec \"$0\" push noise"])
        .arg(command.get_program())
        .current_dir(project.path())
        .env_clear()
        .env("HOME", project.0.path().join("home"))
        .output()
        .unwrap();
    let said = Project::show("push noise", &limited);
    assert_eq!(limited.status.code(), Some(1), "{said}");
    assert!(said.contains("`ulimit -f`"), "{said}");
    assert!(command.args(["push", "noise"]).output().unwrap().status.success());
}
