//! `larder project`

mod audit;

use std::path::Path;

use larder_project::{
    ExchangeOptions, OVERRIDES_VARIABLE, OutputOutcome, OutputReport, OutputState, OutputStatus, Overrides,
    ProjectExchange,
};

use crate::args::{Cli, Project, ProjectPull, ProjectPush, ProjectStatus, ProjectTarget};
use crate::context::{Context, process_variable};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::document::{ErrorEntry, ProjectOutput};
use crate::output::text::{compressed, duration, printable, size};
use crate::session::Session;

pub(super) fn run(command: &Project, cli: &Cli, output: &mut Output) -> Result<()> {
    match command {
        Project::Push(args) => push(args, cli, output),
        Project::Pull(args) => pull(args, cli, output),
        Project::Status(args) => status(args, cli, output),
        Project::Audit(args) => audit::run(args, cli, output),
    }
}

/// A project, and a remote that is open.
struct Opened {
    project: larder_project::Project,
    session: Session,
}

fn open(target: &ProjectTarget, cli: &Cli, output: &Output) -> Result<Opened> {
    open_for(target.dir.as_deref(), target.remote.as_deref(), &target.only, cli, output)
}

fn open_for(
    dir: Option<&Path>,
    remote: Option<&str>,
    only: &[String],
    cli: &Cli,
    output: &Output,
) -> Result<Opened> {
    check_is_remote(remote, cli)?;
    let context = Context::of_weasel(&cli.global, dir, output.console())?;
    let from_environment = process_variable(OVERRIDES_VARIABLE);
    let arguments = cli.overrides.iter().map(String::as_str);
    let overrides = Overrides::parse(arguments, from_environment.as_deref())?;
    if !overrides.is_empty() {
        output.console().verbose(&format_args!("overrides: {overrides}"));
    }
    let project = larder_project::Project::read(&context.root, &overrides, &process_variable)?;
    for path in &project.idle_overrides {
        output
            .console()
            .warn(&format_args!("the override `{path}` changes nothing: project.yml has no such variable"));
    }
    // What the arguments say is wrong before a remote is looked for.
    project.select(only)?;
    let session = context.open_weasel(&project, remote, output.console()).map_err(|failure| {
        // A bare word is a name. It was meant as a path where no remote has that name and a project does.
        let is_unknown = matches!(failure, Failure::Config(larder_config::Error::UnknownRemote { .. }));
        match remote.filter(|_| is_unknown).and_then(project_at) {
            Some(path) => is_a_project(path, cli),
            None => failure,
        }
    })?;
    Ok(Opened { project, session })
}

/// Refuses a project where a remote is expected: larder would upload into it.
fn check_is_remote(remote: Option<&str>, cli: &Cli) -> Result<()> {
    match remote.filter(|text| text.contains('/') || matches!(*text, "." | "..")).and_then(project_at) {
        Some(path) => Err(is_a_project(path, cli)),
        None => Ok(()),
    }
}

/// The text, if it is the path of a project.
fn project_at(text: &str) -> Option<&str> {
    Path::new(text).join(larder_project::Project::FILE).is_file().then_some(text)
}

fn is_a_project(path: &str, cli: &Cli) -> Failure {
    let command = cli.command.name();
    Failure::Usage(format!(
        "{path} is a project, not a remote: write `larder -C {path} {command}`, or `larder {command} REMOTE {path}`"
    ))
}

fn options(target: &ProjectTarget, force: bool, dry_run: bool) -> ExchangeOptions {
    let mut options = ExchangeOptions::default();
    options.only.clone_from(&target.only);
    options.spacy_version.clone_from(&target.spacy_version);
    options.force = force;
    options.dry_run = dry_run;
    options
}

fn push(args: &ProjectPush, cli: &Cli, output: &mut Output) -> Result<()> {
    output.set_dry_run(args.dry_run);
    let Opened { project, session } = open(&args.target, cli, output)?;
    let options = options(&args.target, args.force, args.dry_run);
    let exchange = ProjectExchange::new(&project, &session.storage, options)?;
    let reports = session.run_saying(output, async |output| {
        exchange.push(&mut |report| say(report, args.dry_run, &session, output)).await
    })??;
    let count = |is_meant: fn(&OutputOutcome) -> bool| {
        reports.iter().filter(|report| is_meant(&report.outcome)).count()
    };
    let changed = count(|outcome| matches!(outcome, OutputOutcome::Refused { .. }));
    let invalid = count(|outcome| matches!(outcome, OutputOutcome::Invalid { .. }));
    finish(reports, &args.target, args.strict, output);
    if changed + invalid > 0 {
        output.fail(Failure::Refused { changed, invalid });
    }
    Ok(())
}

fn pull(args: &ProjectPull, cli: &Cli, output: &mut Output) -> Result<()> {
    output.set_dry_run(args.dry_run);
    let Opened { project, session } = open(&args.target, cli, output)?;
    let options = options(&args.target, args.force, args.dry_run);
    let exchange = ProjectExchange::new(&project, &session.storage, options)?;
    let report = session.run_saying(output, async |output| {
        exchange.pull(&mut |report| say(report, args.dry_run, &session, output)).await
    })??;
    finish(report.outputs, &args.target, args.strict, output);
    for error in report.failures {
        output.fail(error);
    }
    Ok(())
}

fn finish(reports: Vec<OutputReport>, target: &ProjectTarget, is_strict: bool, output: &mut Output) {
    if reports.is_empty() {
        say_nothing_to_do(target, output);
    }
    let incomplete = reports.iter().filter(|report| report.outcome.is_incomplete()).count();
    for report in reports {
        record(report, output);
    }
    if is_strict && incomplete > 0 {
        output.fail(Failure::Incomplete { count: incomplete });
    }
}

fn say_nothing_to_do(target: &ProjectTarget, output: &mut Output) {
    let names: Vec<String> = target.only.iter().map(|name| format!("`{name}`")).collect();
    let commands = match names.as_slice() {
        [] => "no command of the project has outputs".to_owned(),
        [name] => format!("{name} has no outputs"),
        _ => format!("{} have no outputs", names.join(", ")),
    };
    output.summary(&printable(&format!("nothing to do: {commands}")));
}

/// Says what was done with an output, as soon as it is done.
fn say(report: &OutputReport, dry_run: bool, session: &Session, output: &mut Output) {
    let OutputReport { command, path, outcome, .. } = report;
    let url = report.url.as_deref().unwrap_or_default();
    let place = session.place(url, output);
    let sizes = report.content_bytes.map_or_else(String::new, |bytes| format!("  {}", size(bytes)));
    let archive = report.bytes.map_or_else(String::new, |bytes| output.console().archive_size(bytes));
    let sizes = format!("{sizes}{archive}");
    let took = report.elapsed.map_or_else(String::new, |elapsed| format!(" in {}", duration(elapsed)));
    let not_recorded = match report.recorded {
        Some(false) => ", not recorded in project.lock",
        _ => "",
    };
    let line = match outcome {
        OutputOutcome::Uploaded if dry_run => format!("would upload {path} → {place}{sizes}{not_recorded}"),
        OutputOutcome::Uploaded => {
            output.count("uploaded", report.content_bytes);
            format!("uploaded {path} → {place}{sizes}{took}{not_recorded}")
        }
        OutputOutcome::AlreadyPresent => {
            output.count("already present", None);
            format!("already present: {path} → {place}{not_recorded}")
        }
        OutputOutcome::Restored if dry_run => {
            let archive = report.bytes.map_or_else(String::new, compressed);
            format!("would restore {path} ← {place}  {archive}")
        }
        OutputOutcome::Restored => {
            output.count("restored", report.content_bytes);
            format!("restored {path} ← {place}{sizes}{took}{not_recorded}")
        }
        OutputOutcome::UpToDate => {
            output.count("up to date", None);
            format!("up to date: {path} = {place}{not_recorded}")
        }
        OutputOutcome::Kept => {
            output.count("kept", None);
            output.console().warn(&format_args!(
                "kept {path} of `{command}`, which is stale: it differs from {url}; `--force` replaces it"
            ));
            return;
        }
        OutputOutcome::NotFound => format!("not on the remote: {path} of `{command}`"),
        OutputOutcome::MadeBy { command: maker } => {
            format!("kept {path} of `{command}`: it is what `{maker}` made")
        }
        OutputOutcome::Skipped { reason } => format!("skipped {path} of `{command}`: {reason}"),
        OutputOutcome::Refused { reason } | OutputOutcome::Invalid { reason } => {
            output.console().warn(&format_args!("refused {path} of `{command}`: {reason}"));
            return;
        }
        OutputOutcome::Failed(_) => format!("failed: {path} of `{command}`"),
        _ => String::new(),
    };
    output.summary(&printable(&line));
}

/// Takes a report into the document, and its error into the exit code.
fn record(report: OutputReport, output: &mut Output) {
    let mut entry = ProjectOutput {
        outcome: report.outcome.name(),
        command: report.command,
        path: report.path,
        url: report.url,
        command_hash: report.command_hash.as_ref().map(ToString::to_string),
        content_hash: report.content_hash.as_ref().map(ToString::to_string),
        verified: report.verified,
        recorded: report.recorded,
        bytes: report.bytes,
        ..ProjectOutput::default()
    };
    match report.outcome {
        OutputOutcome::MadeBy { command } => entry.made_by = Some(command),
        OutputOutcome::Skipped { reason }
        | OutputOutcome::Refused { reason }
        | OutputOutcome::Invalid { reason } => {
            entry.reason = Some(reason);
        }
        OutputOutcome::Failed(error) => {
            let failure = Failure::from(error);
            entry.error = Some(ErrorEntry::new(failure.kind(), &failure));
            output.fail(failure);
        }
        _ => {}
    }
    output.entry(entry);
}

fn status(args: &ProjectStatus, cli: &Cli, output: &mut Output) -> Result<()> {
    let Opened { project, session } = open(&args.target, cli, output)?;
    let exchange = ProjectExchange::new(&project, &session.storage, options(&args.target, false, false))?;
    let states = session.run(output, exchange.status())??;
    let behind = states.iter().filter(|status| !status.state.is_up_to_date()).count();
    if states.is_empty() {
        say_nothing_to_do(&args.target, output);
    }
    for status in states {
        say_status(status, output);
    }
    if args.strict && behind > 0 {
        output.fail(Failure::Incomplete { count: behind });
    }
    Ok(())
}

fn say_status(status: OutputStatus, output: &mut Output) {
    let OutputStatus { command, path, state, .. } = &status;
    let mut entry = ProjectOutput {
        command: command.clone(),
        path: path.clone(),
        url: status.url.clone(),
        command_hash: status.command_hash.as_ref().map(ToString::to_string),
        content_hash: status.content_hash.as_ref().map(ToString::to_string),
        state: state.name(),
        recorded: status.recorded,
        ..ProjectOutput::default()
    };
    let words = match state {
        OutputState::UpToDate => "up to date".to_owned(),
        OutputState::NotPushed => "not pushed: recorded, and not on the remote".to_owned(),
        OutputState::NotRecorded if status.url.is_some() => {
            "not recorded: as on the remote, and not in project.lock; `larder project pull` records it when all outputs \
             of the command are there"
                .to_owned()
        }
        OutputState::NotRecorded => "not recorded: project.lock does not say that this was made".to_owned(),
        OutputState::Changed { reason } => {
            entry.reason = Some(reason.clone());
            format!("changed: {reason}")
        }
        OutputState::Stale => "stale: the remote has another".to_owned(),
        OutputState::MadeBy { command: maker } => {
            entry.made_by = Some(maker.clone());
            format!("made by `{maker}`")
        }
        OutputState::Available => "missing here, available on the remote".to_owned(),
        OutputState::Missing => "missing, here and on the remote".to_owned(),
        OutputState::Waiting { reason } | OutputState::Refused { reason } => {
            entry.reason = Some(reason.clone());
            reason.clone()
        }
        OutputState::Failed(error) => format!("not known: {error}"),
        _ => String::new(),
    };
    output.line(&printable(&format!("{command}  {path}  {words}")));
    if let OutputState::Failed(error) = status.state {
        let failure = Failure::from(error);
        entry.error = Some(ErrorEntry::new(failure.kind(), &failure));
        output.fail(failure);
    }
    output.entry(entry);
}
