//! The details of a run record that come from this process: the commit, the CI job, the user.

use std::env;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use larder_storage::{GitState, RunDetails, RunIdentity};

use crate::context::CommandContext;

/// The time limit for git to report changed files. In a large repository, git reads all files.
const GIT_TIMEOUT: Duration = Duration::from_millis(500);

/// The maximum number of hex digits of a commit hash, which is that of SHA-256.
const MAX_COMMIT: usize = 64;

impl CommandContext {
    /// Returns the details of a run record that do not depend on a command.
    pub(crate) fn run_details(&self) -> RunDetails {
        let mut details = RunDetails::default();
        details.git = git_state(&self.root);
        details.ci_url = ci_url(|name| env::var(name).ok().filter(|value| !value.is_empty()));
        details.identity = self.records_identity().then(identity);
        details
    }
}

/// Asks git for the commit of the project. Returns `None` without git, and outside of a repository.
fn git_state(root: &Path) -> Option<GitState> {
    let commit = ask_git(root, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    let commit = commit.trim();
    let is_hash = commit.len() <= MAX_COMMIT && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let dirty =
        || Some(!ask_git(root, &["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty());
    is_hash.then(|| GitState { commit: commit.to_owned(), dirty: dirty() })
}

/// Runs git, and returns its output. Returns `None` if git fails or takes too long.
fn ask_git(root: &Path, args: &[&str]) -> Option<String> {
    let mut git = Command::new("git")
        // Otherwise the configuration of a repository could start a program here.
        .args(["-c", "core.fsmonitor=false"])
        .args(args)
        .current_dir(root)
        // Git takes no lock, so that it does not disturb other git processes.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut stdout = git.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        sender.send(read.ok().map(|_| text)).ok();
    };
    let reader = thread::Builder::new().name("git".to_owned()).spawn(read);
    let text = reader.ok().and_then(|_| receiver.recv_timeout(GIT_TIMEOUT).ok().flatten());
    if text.is_none() {
        git.kill().ok();
    }
    let status = git.wait().ok()?;
    text.filter(|_| status.success())
}

/// Returns the URL of the CI job, on GitHub Actions and GitLab CI.
fn ci_url(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let github = || {
        let [server, repository, run] =
            ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"].map(&variable);
        Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
    };
    variable("CI_JOB_URL").or_else(github)
}

fn identity() -> RunIdentity {
    let name = |names: [&str; 2]| names.into_iter().find_map(|name| env::var(name).ok()).unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    RunIdentity { user: name(["LOGNAME", "USER"]), host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_ci_job_is_made_of_its_variables() {
        let github = |name: &str| {
            let value = match name {
                "GITHUB_SERVER_URL" => "https://github.com",
                "GITHUB_REPOSITORY" => "team/project",
                "GITHUB_RUN_ID" => "42",
                _ => return None,
            };
            Some(value.to_owned())
        };
        assert_eq!(ci_url(github).as_deref(), Some("https://github.com/team/project/actions/runs/42"));
        let gitlab =
            |name: &str| (name == "CI_JOB_URL").then(|| "https://gitlab.com/t/p/-/jobs/7".to_owned());
        assert_eq!(ci_url(gitlab).as_deref(), Some("https://gitlab.com/t/p/-/jobs/7"));
        assert_eq!(ci_url(|_| None), None);
    }

    #[test]
    fn outside_of_a_repository_there_is_no_commit() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(git_state(dir.path()), None);
    }
}
