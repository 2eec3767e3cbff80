//! A project whose step is a shell script, and its clones.

use std::fs;
use std::path::{Path, PathBuf};

use larder_tests::{Fifo, Larder, Run, Sandbox, Tree, files_below, wait_for};
use serde_json::Value;

/// The step of a new checkout. It counts its calls beside the project, where no hash sees them.
pub(crate) const TRAIN: &str = "echo x >> ../trained\ncat corpus/a corpus/b > models/en\n";
/// The content of `models/en` after [`TRAIN`].
pub(crate) const TRAINED: &str = "a1\nb1\n";

/// The output of [`TRAIN`], and of most other steps.
pub(crate) const MODEL: &str = "models/en";

/// The calls that send signals.
pub(crate) const KILLS: &str = "kill,tkill,tgkill,rt_sigqueueinfo,rt_tgsigqueueinfo,pidfd_send_signal";

/// A clone of the project. The script `step.sh` and the directory `corpus` are the dependencies of its step.
#[derive(Debug)]
pub(crate) struct Checkout<'a> {
    sandbox: &'a Sandbox,
    dir: PathBuf,
}

impl<'a> Checkout<'a> {
    /// Fills the project of a sandbox.
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        Self::with_step(sandbox, TRAIN)
    }

    /// Fills the project of a sandbox, with another script.
    pub(crate) fn with_step(sandbox: &'a Sandbox, script: &str) -> Self {
        let checkout = Self { sandbox, dir: sandbox.project() };
        checkout.write("corpus/a", "a1\n");
        checkout.write("corpus/b", "b1\n");
        checkout.write("step.sh", script);
        checkout
    }

    /// Clones the versioned files into a directory beside the project.
    pub(crate) fn clone_to(&self, name: &str) -> Self {
        let clone = Self { sandbox: self.sandbox, dir: self.sandbox.root().join(name) };
        fs::create_dir(&clone.dir).unwrap();
        for file in ["larder.toml", "step.sh"] {
            fs::copy(self.path(file), clone.path(file)).unwrap();
        }
        Tree::read(&self.path("corpus")).write(&clone.path("corpus"));
        clone
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

    /// Returns the text of a file, or nothing where there is none.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// Removes a file or a directory.
    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Creates a call of the binary here.
    pub(crate) fn larder(&self, args: &[&str]) -> Larder {
        self.sandbox.larder([]).args(args).in_dir(&self.dir)
    }

    /// Creates a `larder run` of the step with these options, which name the outputs too.
    pub(crate) fn step(&self, options: &[&str]) -> Larder {
        self.larder(&["run", "-d", "step.sh", "-d", "corpus"]).args(options).args(["--", "sh", "step.sh"])
    }

    /// Creates a `larder run` of the step whose output is [`MODEL`].
    pub(crate) fn train(&self, options: &[&str]) -> Larder {
        self.step(&[&["-o", MODEL], options].concat())
    }

    /// Runs the step whose output is [`MODEL`], and returns the document of `--report` too.
    pub(crate) fn report(&self, options: &[&str]) -> (Run, Value) {
        let file = self.sandbox.root().join("report.json");
        let _ = fs::remove_file(&file);
        let run = self.train(&[options, &["--report", "../report.json"]].concat()).run();
        let text = fs::read(&file).unwrap_or_else(|error| panic!("no report: {error}: {run}"));
        let report = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("no JSON: {error}: {run}"));
        (run, report)
    }

    /// Traces system calls of the binary and its children. The case needs strace.
    pub(crate) fn traced(&self, larder: Larder, calls: &str) -> Larder {
        let calls = format!("trace={calls}");
        let strace = ["strace", "-D", "-f", "-q", "-o", self.trace_file().to_str().unwrap(), "-e", &calls]
            .map(str::to_owned);
        larder.through(strace)
    }

    /// Returns the traced calls up to the exit of a process, or of this one, with this code.
    pub(crate) fn trace(&self, id: Option<u32>, code: i32) -> Vec<String> {
        let id = id.map(|id| format!("{id} ")).unwrap_or_default();
        let exit = format!("+++ exited with {code} +++");
        // The tracer ends after the process.
        let text = || fs::read_to_string(self.trace_file()).unwrap();
        let has_ended = || text().lines().any(|line| line.starts_with(&id) && line.ends_with(&exit));
        wait_for("the end of the trace", has_ended);
        let calls = text();
        let calls = calls.lines().filter(|line| !line.contains("+++ ") && !line.contains("--- "));
        calls.map(str::to_owned).collect()
    }

    fn trace_file(&self) -> PathBuf {
        self.beside("trace")
    }

    /// How often a step wrote a line to `../trained`.
    pub(crate) fn trained(&self) -> usize {
        self.lines("trained").len()
    }

    /// Returns the lines of a file beside the project.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.beside(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns a path beside the project.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.sandbox.root().join(name)
    }

    /// Creates the pipe at which [`WAIT`] waits.
    pub(crate) fn gate(&self) -> Fifo {
        Fifo::new(&self.beside("gate"))
    }

    /// Whether a step waits.
    pub(crate) fn is_ready(&self) -> bool {
        self.beside("ready").exists()
    }

    /// Returns the keys of all run records.
    pub(crate) fn records(&self) -> Vec<String> {
        let mut records = files_below(&self.sandbox.remote());
        records.retain(|key| key.starts_with(".larder/1/runs/"));
        records
    }

    /// Returns everything in the remote.
    pub(crate) fn remote(&self) -> Option<Tree> {
        Tree::read_if_exists(&self.sandbox.remote())
    }
}
