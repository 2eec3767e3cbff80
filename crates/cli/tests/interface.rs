//! The command line as people and programs see it: help, documents, errors, exit codes.
//!
//! What needs servers, signals or other users is in the workspace's end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use insta::{Settings, assert_snapshot};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

/// A project in a directory of its own, and a home without any configuration.
struct Project(TempDir);

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("project/models/en")).unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let project = Self(dir);
        project.write("larder.toml", "[remotes]\nteam = '../team'\n");
        project.write("models/en/weights", "1234");
        project.write("metrics.json", "{}");
        project
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("project")
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).unwrap();
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.env_clear().env("HOME", self.0.path().join("home")).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.path()).args(arguments.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// What the command wrote, on which stream, and its exit code.
    fn transcript(&self, arguments: &str) -> String {
        Self::show(arguments, &self.command(arguments).output().unwrap())
    }

    /// Starts a command at a terminal of `columns`.
    fn start_at_a_terminal(&self, arguments: &str, term: &str, columns: u16) -> (Child, File) {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let end = || File::options().read(true).write(true).open(&name).unwrap();
        let mut command = self.command(arguments);
        command.env("TERM", term).stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        // The command holds the other end. Reading ends when every copy is closed.
        drop(command);
        (child, File::from(terminal))
    }

    /// Returns what a user sees at a terminal who gives this answer.
    fn at_a_terminal(&self, arguments: &str, answer: &str) -> String {
        let (mut child, mut terminal) = self.start_at_a_terminal(arguments, "dumb", 80);
        terminal.write_all(answer.as_bytes()).unwrap();
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        // Linux has an error for the end.
        while let Ok(len @ 1..) = terminal.read(&mut buffer) {
            said.extend_from_slice(&buffer[..len]);
        }
        child.wait().unwrap();
        String::from_utf8(said).unwrap()
    }

    fn show(arguments: &str, output: &Output) -> String {
        let mut transcript = format!("$ larder {arguments}\n{}", String::from_utf8_lossy(&output.stdout));
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            transcript.push_str(format!("2> {line}").trim_end());
            transcript.push('\n');
        }
        transcript + &format!("[{}]\n", output.status.code().unwrap())
    }

    /// Compares with the snapshot `name`, without what differs from run to run.
    fn check(&self, name: &str, commands: &[&str]) {
        let transcript: String = commands.iter().map(|command| self.transcript(command)).collect();
        self.settings().bind(|| assert_snapshot!(name, transcript));
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let real = self.0.path().canonicalize().unwrap();
        for dir in [real.as_path(), self.0.path()] {
            settings.add_filter(dir.to_str().unwrap(), "SANDBOX");
        }
        settings.add_filter("[0-9a-f]{64}", "HEX");
        settings.add_filter(r"\b[0-9a-f]{32}\b", "MD5");
        settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME");
        settings.add_filter(r#"(bytes":)\d+"#, "${1}N");
        settings.add_filter(r"[\d.]+ (B|KiB|MiB)/s", "SPEED");
        settings.add_filter(r"[\d.]+ (B|KiB)\b", "N B");
        settings.add_filter(r"\b[\d.]+ m?s\b", "SECONDS");
        // The width of a column follows what is in it.
        settings.add_filter(r"(OBJECTS|CONTENT HASH|HEX|\d) +(SIZE|N B)", "$1  $2");
        settings
    }
}

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
fn documents_of_success() {
    let project = Project::new();
    let content = "blake3-tree-".to_owned() + &"0".repeat(64);
    project.check(
        "documents-of-success",
        &[
            "push models/en metrics.json --command-hash x --json --dry-run",
            "push models/en metrics.json --command-hash x --json",
            "push models/en --command-hash x --json",
            "pull models/en --json",
            "pull metrics.json --json --to elsewhere",
            "pull metrics.json --json --to other --dry-run",
            "find models/en --json",
            "find models/en --json --all",
            &format!("url models/en --command-hash x --content-hash {content} --json"),
            "ls --json",
            "ls models/en --json",
            "hash content models/en metrics.json --json",
            "hash content models/en --json --explain",
            "hash command --json -d metrics.json -- train --fast",
            "hash command --json --explain -d metrics.json -- train --fast",
            "hash env HOME=x UNSET --json --explain --hash sha256",
            "hash content metrics.json --json --hash weasel",
        ],
    );
}

#[test]
fn documents_of_errors() {
    let project = Project::new();
    fs::create_dir(project.0.path().join("team")).unwrap();
    project.check(
        "documents-of-errors",
        &[
            "--json",
            "nonsense --json",
            "push --json",
            "push models/en --command-hash a/b --json",
            "push models/en --nonsense --json",
            "push ../x --json",
            "push models/en -r taem --json",
            "push models/en -r s3:/user:hunter2@bucket --json",
            "push models/en absent metrics.json --command-hash y --json",
            "pull absent --json",
            "pull metrics.json models/de --command-hash y --json",
            "find absent --json",
            "ls absent --json",
            "ls -r ./no/absent --json",
            "hash content absent metrics.json --json",
            "hash command -d absent --json",
            "hash command --key novalue --json",
            "hash site --python ./absent --json",
            "-C absent ls --json",
            "man --json",
        ],
    );
}

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

/// A weasel project of three commands, of which two have what they need.
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
    // A truncated object, one with a flipped bit, one under a wrong name, a stub, a stray file, and names that are one path.
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
fn where_there_is_nothing_to_do_or_to_ask_it_is_said() {
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
    // Where there is a command, it matters where it runs.
    assert_ne!(stdout("-C models hash command -- x"), stdout("hash command -- x"));
}

#[test]
fn what_differs_is_kept_and_said() {
    let project = Project::new();
    project.transcript("push models/en");
    project.write("models/en/weights", "other");
    project.check(
        "kept",
        &["pull models/en", "pull models/en -q", "pull models/en --json", "pull models/en --force"],
    );
    assert_eq!(fs::read(project.path().join("models/en/weights")).unwrap(), b"1234");
}

#[test]
fn without_a_remote_it_is_kept_on_this_machine_only() {
    let project = Project::new();
    project.write("larder.toml", "");
    project.check("embedded", &["ls -v", "push metrics.json", "push metrics.json", "find metrics.json"]);
    assert!(project.path().join(".larder/store/metrics.json").is_dir());
}

#[test]
fn mistakes_of_the_configuration_are_named_with_file_and_line() {
    let project = Project::new();
    let mut transcript = String::new();
    let files = [
        "hash = 'blake3'\ncompresion = 'zstd'\n",
        "\nhash = 'md4'\n",
        "compression = 'zstd:99'\n",
        "[remotes\n",
        "[remotes]\none = '/one'\ntwo = '/two'\n",
        "[remotes.one]\nurl = './one'\nnonsense = true\n",
    ];
    for text in files {
        project.write("larder.toml", text);
        transcript += &project.transcript("push metrics.json");
    }
    project.write("larder.toml", "");
    let user = project.0.path().join("home/.config/larder");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.toml"), "jobs = 0\n").unwrap();
    transcript += &project.transcript("push metrics.json");
    project.settings().bind(|| assert_snapshot!("configuration", transcript));
}

#[test]
fn the_environment_is_asked_after_flags_and_before_files() {
    let project = Project::new();
    let hash = |arguments: &str, variable: &str| {
        let output = project.command(arguments).env("LARDER_HASH", variable).output().unwrap();
        String::from_utf8(output.stdout).unwrap().chars().take(6).collect::<String>()
    };
    project.write("larder.toml", "hash = 'weasel'\n");
    assert_eq!(hash("hash content metrics.json --hash blake3", "sha256"), "blake3");
    assert_eq!(hash("hash content metrics.json", "sha256"), "sha256");
    assert_eq!(hash("hash content metrics.json", ""), "99914b", "an empty one counts as unset");
    let output = project.command("ls").env("LARDER_REMOTE", "./no/absent").output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let output = project.command("ls").env("LARDER_HASH", "md4").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: LARDER_HASH: unknown hash scheme `md4`: it is one of blake3, sha256, weasel\n"
    );
}

#[test]
fn global_options_stand_before_and_behind_the_command() {
    let project = Project::new();
    let inside = Path::new("models");
    let before = project.command("-C models --hash sha256 hash content en").output().unwrap();
    let behind = project.command("hash content en --hash sha256 -C models").output().unwrap();
    assert_eq!(before.stdout, behind.stdout);
    assert!(before.status.success(), "{}", Project::show("", &before));
    let there =
        project.command("hash content en --hash sha256").current_dir(project.path().join(inside)).output();
    assert_eq!(there.unwrap().stdout, before.stdout);
}

#[test]
fn a_name_does_not_steer_the_terminal_or_hide() {
    let project = Project::new();
    for (hostile, shown) in [
        ("\u{1b}[2J", "\\u{1b}[2J"),
        ("\u{202e}", "\\u{202e}"),
        ("\u{2066}", "\\u{2066}"),
        ("\u{200b}", "\\u{200b}"),
        ("\u{feff}", "\\u{feff}"),
    ] {
        // U+2028 is white space, which the helper would split at.
        let names = [format!("evil{hostile}"), format!("evil{hostile}\u{2028}x")];
        project.write(&names[0], "x");
        project.write(&names[1], "x");
        let said = |arguments: &[&str]| {
            let output = project.command("").args(arguments).output().unwrap();
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        let [name, other] = names.each_ref().map(String::as_str);
        for arguments in [
            &["push", name, "--progress", "always"][..],
            &["push", other],
            &["ls"],
            &["pull", name],
            &["pull", name, "--to", name, "--progress", "always"],
            &["pull", other],
            &["pull", other, "--command-hash", "z"],
            &["push", "absent", name],
            &["hash", "content", name, other, "--progress", "always"],
            &["push", name, &format!("--{hostile}x")],
            &[name],
            &["ls", "-r", name],
            &["-C", other, "ls"],
        ] {
            let said = said(arguments);
            // clap drops escape sequences from its messages.
            let is_of_clap = said.contains("Usage:");
            assert!(said.contains(shown) || is_of_clap, "{arguments:?}: {said}");
            let is_raw = said.contains('\u{2028}') || (hostile != "\u{1b}[2J" && said.contains(hostile));
            assert!(!is_raw && !said.contains("\u{1b}[2J"), "{arguments:?}: {said:?}");
        }
        // For scripts: a URL is literal, and its key is percent-encoded.
        let found = said(&["find", name]);
        assert!(found.contains("/evil%"), "{found}");
    }
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
    // For a pull, a path on disk is meant.
    let pulled = run("pull ./models/en/ --json");
    assert_eq!(pulled.status.code(), Some(3), "{}", Project::show("", &pulled));
    assert!(!project.path().join("models").exists());
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
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
fn completions_are_for_every_shell_and_the_manual_covers_every_command() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = project.command(&format!("completions {shell}")).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("command-hash"), "{shell}");
    }
    let manual = String::from_utf8(project.command("man").output().unwrap().stdout).unwrap();
    for page in
        ["larder", "larder-push", "larder-hash", "larder-hash-command", "larder-project-push", "larder-man"]
    {
        assert!(manual.contains(&format!(".TH {page} 1")), "{page}");
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

#[test]
fn names_that_no_variable_has_are_refused() {
    let project = Project::new();
    for name in ["BAD NAME", "$HOME", "${HOME}=x", "'X'=1", "A\tB"] {
        for arguments in [&["hash", "command", "-e", name][..], &["hash", "env", name]] {
            let output = project.command("").args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
            assert!(said.contains("is not the name of a variable"), "{said}");
        }
    }
}

#[test]
fn a_project_is_no_remote_of_another() {
    let project = weasel_project();
    fs::create_dir(project.0.path().join("other")).unwrap();
    fs::write(project.0.path().join("other/project.yml"), "commands: []\n").unwrap();
    for command in ["push", "pull", "status", "audit"] {
        let said = project.transcript(&format!("project {command} ../other"));
        assert!(said.contains(&format!("`larder -C ../other project {command}`")), "{said}");
        assert!(said.ends_with("[2]\n"), "{said}");
    }
    assert_eq!(fs::read_dir(project.0.path().join("other")).unwrap().count(), 1, "nothing was uploaded");
}

#[test]
fn bars_are_drawn_only_where_they_are_wanted() {
    let project = Project::new();
    let stderr =
        |arguments: &str| String::from_utf8(project.command(arguments).output().unwrap().stderr).unwrap();
    assert_eq!(stderr("hash content models/en"), "");
    assert!(stderr("hash content models/en --progress always").contains("hashing models/en"));
}

/// Reads from a terminal until it shows what is awaited.
fn watch(terminal: &mut File, screen: &mut vt100::Parser, awaited: impl Fn(&str) -> bool) -> bool {
    let mut buffer = [0; 4096];
    // Linux has an error for the end.
    while let Ok(len @ 1..) = terminal.read(&mut buffer) {
        screen.process(&buffer[..len]);
        if awaited(&screen.screen().contents()) {
            return true;
        }
    }
    false
}

#[test]
fn bars_fit_the_terminal_and_are_gone_when_the_command_is_interrupted() {
    let project = Project::new();
    // It takes long to read, and no space.
    let name = "a-name-that-does-not-fit-into-a-narrow-terminal-as-it-is";
    File::create(project.path().join(name)).unwrap().set_len(64 << 30).unwrap();
    for (arguments, columns, code) in
        [("push", 40, Some(130)), ("push", 100, Some(130)), ("hash content", 60, None)]
    {
        let (mut child, mut terminal) =
            project.start_at_a_terminal(&format!("{arguments} {name}"), "xterm", columns);
        let mut screen = vt100::Parser::new(NonZero::new(24).unwrap(), NonZero::new(columns).unwrap(), 0);
        assert!(
            watch(&mut terminal, &mut screen, |shown| shown.contains("GiB")),
            "{:?}",
            screen.screen().contents()
        );
        let shown = screen.screen().contents();
        assert_eq!(shown.trim_end().lines().count(), 1, "one bar is one line: {shown:?}");
        assert!(shown.starts_with("hashing a-name"), "{shown:?}");
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        watch(&mut terminal, &mut screen, |_| false);
        let left = screen.screen().contents();
        assert!(!left.contains("hashing"), "the bar is left: {left:?}");
        assert_eq!(child.wait().unwrap().code(), code, "{left}");
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
