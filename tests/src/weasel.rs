//! The real weasel, in its own Python environment.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::sandbox::Sandbox;

/// A sandbox's project as a weasel project.
#[derive(Debug)]
pub struct WeaselProject<'a> {
    sandbox: &'a Sandbox,
    python: PathBuf,
}

impl<'a> WeaselProject<'a> {
    /// Writes a `project.yml` with one command `train`, and the remote `default` at the sandbox's remote.
    pub fn new(sandbox: &'a Sandbox, deps: &[&str], outputs: &[&str], script: &[&str]) -> Self {
        let project = serde_json::json!({
            "title": "interchange",
            "remotes": { "default": sandbox.remote().to_str().unwrap() },
            "commands": [{ "name": "train", "script": script, "deps": deps, "outputs": outputs }],
        });
        Self::of(sandbox, &project)
    }

    /// Writes this `project.yml`.
    pub fn of(sandbox: &'a Sandbox, project: &serde_json::Value) -> Self {
        let python = std::env::var_os("LARDER_WEASEL_PYTHON").expect("the case needs `Need::Weasel`").into();
        // JSON is valid YAML, so that nothing needs quotes.
        fs::write(sandbox.path("project.yml"), project.to_string()).unwrap();
        Self { sandbox, python }
    }

    /// Runs `weasel COMMAND default` in the project, and returns its output.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        self.weasel(&[command, "default", "."])
    }

    /// Runs weasel with these arguments in the project, and returns its output.
    #[track_caller]
    pub fn weasel(&self, args: &[&str]) -> String {
        let output = Command::new(&self.python)
            .args(["-m", "weasel"])
            .args(args)
            .current_dir(self.sandbox.project())
            .env("HOME", self.sandbox.home())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "weasel {args:?} failed: {said}");
        said
    }
}
