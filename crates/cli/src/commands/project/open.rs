//! Opens a project and its remote.

use std::path::Path;

use larder_project::{OVERRIDES_VARIABLE, Overrides, Project};

use crate::args::{Cli, ProjectTarget};
use crate::context::{CommandContext, process_variable};
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::session::RemoteSession;

/// A project and its open remote.
pub(super) struct Opened {
    pub(super) project: Project,
    pub(super) session: RemoteSession,
}

pub(super) fn open(target: &ProjectTarget, cli: &Cli, output: &CommandOutput) -> Result<Opened> {
    open_for(target.dir.as_deref(), target.remote.as_deref(), &target.only, cli, output)
}

pub(super) fn open_for(
    dir: Option<&Path>,
    remote: Option<&str>,
    only: &[String],
    cli: &Cli,
    output: &CommandOutput,
) -> Result<Opened> {
    check_is_remote(remote, cli)?;
    let context = CommandContext::of_weasel(&cli.global, dir, output.console())?;
    let from_environment = process_variable(OVERRIDES_VARIABLE);
    let arguments = cli.overrides.iter().map(String::as_str);
    let overrides = Overrides::parse(arguments, from_environment.as_deref())?;
    if !overrides.is_empty() {
        output.console().verbose(&format_args!("overrides: {overrides}"));
    }
    let project = Project::read(&context.root, &overrides, &process_variable).map_err(|error| {
        let is_missing = matches!(error, larder_project::Error::NoProject { .. });
        match remote.filter(|_| is_missing).and_then(project_at) {
            Some(path) => is_a_project(path, cli),
            None => error.into(),
        }
    })?;
    for path in &project.idle_overrides {
        output
            .console()
            .warn(&format_args!("the override `{path}` changes nothing: project.yml has no such variable"));
    }
    // Wrong arguments are reported before errors of the remote.
    project.select(only)?;
    let session = context.open_weasel(&project, remote, output.console()).map_err(|failure| {
        // A bare word is the name of a remote. If no remote has this name but a project directory does, the
        // user meant the path.
        let is_unknown = matches!(failure, Failure::Config(larder_config::Error::UnknownRemote { .. }));
        match remote.filter(|_| is_unknown).and_then(project_at) {
            Some(path) => is_a_project(path, cli),
            None => failure,
        }
    })?;
    Ok(Opened { project, session })
}

/// Refuses the path of a project as a remote, because larder would upload into the project.
fn check_is_remote(remote: Option<&str>, cli: &Cli) -> Result<()> {
    match remote.filter(|text| text.contains('/') || matches!(*text, "." | "..")).and_then(project_at) {
        Some(path) => Err(is_a_project(path, cli)),
        None => Ok(()),
    }
}

/// Returns the text if it is the path of a project.
fn project_at(text: &str) -> Option<&str> {
    Path::new(text).join(Project::FILE).is_file().then_some(text)
}

fn is_a_project(path: &str, cli: &Cli) -> Failure {
    let command = cli.command.name();
    Failure::Usage(format!(
        "{path} is a project, not a remote: for its outputs write `larder {command} REMOTE {path}`, or `larder -C {path} {command}`"
    ))
}
