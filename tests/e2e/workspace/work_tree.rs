//! A git work tree with a project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_tests::{Larder, Sandbox};

/// Returns the text of a `larder.lock` with pins of these outputs and contents.
pub(crate) fn lock_text(pins: &[(&str, &str)]) -> String {
    let block = |(path, content): &(&str, &str)| {
        format!(
            "\n[[pin]]\npath = \"{path}\"\ncontent = \"{content}\"\ncommand = \"k\"\nbytes = 1\nfiles = 1\n"
        )
    };
    let blocks: Vec<String> = pins.iter().map(block).collect();
    format!("# Written by larder. Commit this file.\nversion = 1\n{}", blocks.concat())
}

/// A git work tree whose top is a project. The case needs git.
#[derive(Debug)]
pub(crate) struct WorkTree<'a> {
    sandbox: &'a Sandbox,
    dir: PathBuf,
}

impl<'a> WorkTree<'a> {
    /// Makes the project of a sandbox a repository. Commits nothing.
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        let tree = Self { sandbox, dir: sandbox.project() };
        tree.git(&["init", "-q", "-b", "main", "."]);
        tree
    }

    /// Clones the repository into a sibling of the project.
    pub(crate) fn cloned(&self, name: &str) -> Self {
        let dir = self.sandbox.root().join(name);
        self.git(&["clone", "-q", ".", dir.to_str().unwrap()]);
        Self { sandbox: self.sandbox, dir }
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }

    /// Writes a file and its parents.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits all files.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// Runs git here, and returns its output. It must succeed.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let (succeeded, text) = self.try_git(args);
        assert!(succeeded, "git {args:?}: {text}");
        text
    }

    /// Runs git here, and returns whether it succeeded, and its output.
    pub(crate) fn try_git(&self, args: &[&str]) -> (bool, String) {
        let settings = ["user.name=Ann", "user.email=ann@example.org", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        git.args(settings.iter().flat_map(|setting| ["-c", *setting])).args(args);
        git.current_dir(&self.dir).env("HOME", self.sandbox.home()).stdin(Stdio::null());
        let output = git.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    }

    /// Creates a call of the binary here.
    pub(crate) fn larder(&self, args: &[&str]) -> Larder {
        self.sandbox.larder([]).args(args).in_dir(&self.dir)
    }
}
