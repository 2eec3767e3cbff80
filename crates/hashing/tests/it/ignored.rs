//! `.larderignore` in dependencies.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use larder_hashing::{
    CommandError, CommandHash, CommandInputs, HashError, HashOptions, Scheme, command_hash, content_hash,
};
use larder_tree::{LeftOutReport, TreeError};

use crate::support::Playground;

fn hash(at: &Playground, dependency: &str) -> CommandHash {
    try_hash(at, dependency).unwrap()
}

fn try_hash(at: &Playground, dependency: &str) -> Result<CommandHash, CommandError> {
    command_hash(at.root(), &CommandInputs::new(["c"]).with_deps([dependency]), &HashOptions::default())
}

/// Hashes a dependency. Returns the hash, and the entries that were left out.
fn left_out(at: &Playground, dependency: &str) -> (CommandHash, Vec<String>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut options = HashOptions::default();
    let sink = Arc::clone(&seen);
    options.left_out = Some(LeftOutReport::new(move |left_out| {
        sink.lock().unwrap().push(left_out.path.to_str().unwrap().to_owned());
    }));
    let inputs = CommandInputs::new(["c"]).with_deps([dependency]);
    let hash = command_hash(at.root(), &inputs, &options).unwrap();
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (hash, seen)
}

#[test]
fn a_dependency_hashes_as_if_the_ignored_entries_were_not_there() {
    let at = Playground::new();
    at.file("src/a.py", "a").file("src/sub/b.py", "b");
    let clean = hash(&at, "src");
    at.file("src/__pycache__/a.pyc", "1").file("src/sub/__pycache__/b.pyc", "2").file("src/.DS_Store", "3");
    assert_ne!(hash(&at, "src"), clean, "without a file, nothing is ignored");
    at.file(".larderignore", "# caches\n\n__pycache__/\n.DS_Store\n");
    assert_eq!(
        left_out(&at, "src"),
        (
            clean.clone(),
            ["src/.DS_Store", "src/__pycache__/", "src/sub/__pycache__/"].map(String::from).to_vec()
        )
    );
    // A directory with ignored entries only counts as empty, and so does one that holds nothing.
    at.file("src/gone/__pycache__/c.pyc", "4");
    let with_ignored = hash(&at, "src");
    fs::remove_dir_all(at.path("src/gone/__pycache__")).unwrap();
    assert_eq!(hash(&at, "src"), with_ignored);
    assert_ne!(with_ignored, clean);
}

#[test]
fn an_ignored_directory_is_not_entered_and_an_ignored_special_file_is_no_error() {
    let at = Playground::new();
    at.file("src/a.py", "a");
    let clean = hash(&at, "src");
    at.directory("src/.run").file(".larderignore", ".run/\n*.sock\n");
    let _inside = UnixListener::bind(at.path("src/.run/s")).unwrap();
    let _beside = UnixListener::bind(at.path("src/x.sock")).unwrap();
    // Not even its ignore file is read.
    at.file("src/.run/.larderignore", b"\xff");
    assert_eq!(hash(&at, "src"), clean);
}

#[test]
fn patterns_mean_the_same_as_in_git() {
    let trees = [
        "a.py",
        "b.pyc",
        "build/x",
        "build/keep",
        "d/a.pyc",
        "d/build/y",
        "d/e/f/a.py",
        "d/e/f/b.log",
        "logs/1.log",
        "logs/keep.log",
        "#hash",
        "!bang",
        "sp ace ",
        "dir.d/x",
        "x/dir.d",
        "[b]",
        "b",
        "Build/z",
        "d/e/B.PYC",
        "é/ü",
    ];
    let rules: [&[(&str, &str)]; 16] = [
        &[("", "*.pyc\n!b.pyc\n")],
        &[("", "build\n!build/keep\n")],
        &[("", "build/*\n!build/keep\n")],
        &[("", "/build/\n")],
        &[("", "d/build\n")],
        &[("", "*.log\n"), ("logs/", "!keep.log\n")],
        &[("", "!*.log\n"), ("logs/", "*\n!/keep.log\n")],
        &[("", "**/f\n")],
        &[("", "d/**\n!d/e/\n")],
        &[("", "d/**/*.py\n"), ("d/e/", "!f/a.py\n")],
        &[("", "\\#hash\n\\!bang\n# b\n")],
        &[("", "sp ace\\ \r\nb\r\n")],
        &[("", "dir.d/\n")],
        &[("", "[a-c]\n[[]b]\n")],
        &[("", "\u{feff}/a.py\n?\n")],
        &[("", "*\n!*/\n!*.py\n"), ("d/", "e\n")],
    ];
    for rules in rules {
        let at = Playground::new();
        at.files(trees.map(|path| (path.to_owned(), path)));
        for (directory, text) in rules {
            at.file(format!("{directory}.larderignore"), text);
        }
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .args(arguments)
                .current_dir(at.root())
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .output();
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let computed = hash(&at, ".");
        git(&["init", "-q"]);
        let kept = git(&["ls-files", "-z", "--others", "--exclude-per-directory=.larderignore"]);
        fs::remove_dir_all(at.path(".git")).unwrap();
        // Another tree has only what git keeps. Git knows no empty directories: take them from ours.
        let clean = Playground::new();
        for path in kept.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            let path = Path::new(OsStr::from_bytes(path));
            clean.file(path, fs::read(at.path(path)).unwrap());
        }
        let lines = |at: &Playground| {
            let manifest = manifest(at);
            manifest.lines().filter(|line| !line.starts_with("d ")).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&at), lines(&clean), "{rules:?}");
        assert_eq!(hash(&at, "."), computed);
    }
}

/// Returns the entries that are hashed, one per line.
fn manifest(at: &Playground) -> String {
    use larder_tree::{EntryKind, IgnoreRules, TreeOptions, TreeReader};
    let rules = IgnoreRules::read(".larderignore", at.root(), Path::new("")).unwrap();
    let mut text = String::new();
    for entry in TreeReader::open(at.root(), &TreeOptions::default().with_ignore(rules)) {
        let entry = entry.unwrap();
        let letter = match entry.kind {
            EntryKind::Directory { .. } => "d",
            _ => "f",
        };
        writeln!(text, "{letter} {}", String::from_utf8_lossy(&entry.path)).unwrap();
    }
    text
}

#[test]
fn files_above_a_dependency_apply_to_it_and_its_name_is_never_ignored() {
    let at = Playground::new();
    at.file("a/b/src/x.py", "x").file("a/b/src/build/y", "y").file("a/b/one.log", "z");
    let (whole, file) = (hash(&at, "a/b/src/x.py"), hash(&at, "a/b/one.log"));
    fs::create_dir(at.path("other")).unwrap();
    at.file("a/.larderignore", "/b/src/build\n*.log\nsrc/\n").file("other/.larderignore", "*\n");
    assert_eq!(left_out(&at, "a/b/src").1, ["a/b/src/build/"]);
    assert_eq!(left_out(&at, "./a/../a/b/src/").1, ["a/b/src/build/"]);
    assert_eq!(hash(&at, "a/b/src/x.py"), whole);
    assert_eq!(hash(&at, "a/b/one.log"), file, "a file that is named is read");
    assert_eq!(left_out(&at, "a").1, ["a/b/one.log", "a/b/src/"]);
}

#[test]
fn nothing_is_ignored_outside_of_the_project_in_outputs_and_under_weasel() {
    let at = Playground::new();
    at.file("p/src/a.py", "a").file("p/src/b.log", "b").file("lib/a.py", "a").file("lib/b.log", "b");
    let project = at.path("p");
    let hash = |dependency: &str, scheme| {
        let inputs = CommandInputs::new(["c"]).with_deps([dependency]);
        command_hash(&project, &inputs, &HashOptions::new(scheme)).unwrap()
    };
    let outside = hash("../lib", Scheme::Blake3);
    let weasel = hash("src", Scheme::Weasel);
    let output = content_hash(&at.path("p/src"), &HashOptions::default()).unwrap();
    let inside = hash("src", Scheme::Blake3);
    at.file(".larderignore", "*\n").file("p/.larderignore", "*.log\n");
    assert_eq!(hash("../lib", Scheme::Blake3), outside);
    assert_eq!(hash("src", Scheme::Weasel), weasel);
    assert_eq!(content_hash(&at.path("p/src"), &HashOptions::default()).unwrap(), output);
    assert_ne!(hash("src", Scheme::Blake3), inside);
}

#[test]
fn an_ignore_file_that_cannot_be_trusted_is_refused() {
    let refused = |prepare: &dyn Fn(&Playground, &str), text: &str| {
        for file in [".larderignore", "src/.larderignore", "src/sub/.larderignore"] {
            let at = Playground::new();
            at.file("src/sub/a", "a");
            prepare(&at, file);
            match try_hash(&at, "src") {
                Err(CommandError::Dependency {
                    source: HashError::Tree(TreeError::IgnoreFile { path, source }),
                    ..
                }) => {
                    assert_eq!(path, at.path(file));
                    assert!(source.to_string().contains(text), "{source}");
                }
                other => panic!("{file}: {other:?}"),
            }
        }
    };
    refused(&|at, file| _ = at.link(file, "/etc/hostname"), "it is a symlink");
    refused(&|at, file| _ = at.directory(file), "it is a directory");
    refused(&|at, file| drop(UnixListener::bind(at.path(file)).unwrap()), "it is not a regular file");
    refused(&|at, file| _ = at.fifo(file), "it is not a regular file");
    refused(&|at, file| _ = at.file(file, b"caf\xe9\n"), "not valid UTF-8");
    refused(&|at, file| _ = at.file(file, "*.pyc\na[\n"), "line 2: ");
    refused(&|at, file| _ = at.file(file, "#".repeat((256 << 10) + 1)), "larger than 262144 bytes");
}
