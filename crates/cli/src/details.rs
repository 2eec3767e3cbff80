//! The details of a run record that come from this process: the commit, the CI job, the user.

use std::env;
use std::path::Path;

use larder_pins::Git;
use larder_storage::{GitState, RunDetails, RunIdentity};

use crate::context::CommandContext;

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
    let git = Git::at(root);
    let commit = git.head()?;
    Some(GitState { commit, dirty: git.is_dirty() })
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
