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
use crate::output::text::{compressed, printable};
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
    let session = context.open_weasel(&project, remote, output.console())?;
    Ok(Opened { project, session })
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
    let reports = session.run(output, exchange.push())??;
    let count = |is_meant: fn(&OutputOutcome) -> bool| {
        reports.iter().filter(|report| is_meant(&report.outcome)).count()
    };
    let changed = count(|outcome| matches!(outcome, OutputOutcome::Refused { .. }));
    let invalid = count(|outcome| matches!(outcome, OutputOutcome::Invalid { .. }));
    finish(reports, &args.target, args.dry_run, args.strict, output);
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
    let report = session.run(output, exchange.pull())??;
    finish(report.outputs, &args.target, args.dry_run, args.strict, output);
    for error in report.failures {
        output.fail(error);
    }
    Ok(())
}

fn finish(
    reports: Vec<OutputReport>,
    target: &ProjectTarget,
    dry_run: bool,
    is_strict: bool,
    output: &mut Output,
) {
    if reports.is_empty() {
        say_nothing_to_do(target, output);
    }
    let incomplete = reports.iter().filter(|report| report.outcome.is_incomplete()).count();
    for report in reports {
        say(report, dry_run, output);
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

fn say(report: OutputReport, dry_run: bool, output: &mut Output) {
    let OutputReport { command, path, outcome, .. } = &report;
    let mut entry = ProjectOutput {
        command: command.clone(),
        path: path.clone(),
        url: report.url.clone(),
        command_hash: report.command_hash.as_ref().map(ToString::to_string),
        content_hash: report.content_hash.as_ref().map(ToString::to_string),
        outcome: outcome.name(),
        verified: report.verified,
        recorded: report.recorded,
        bytes: report.bytes,
        ..ProjectOutput::default()
    };
    let url = report.url.as_deref().unwrap_or_default();
    let size = report.bytes.map_or_else(String::new, |bytes| format!(" ({})", compressed(bytes)));
    let not_recorded = match report.recorded {
        Some(false) => ", not recorded in project.lock",
        _ => "",
    };
    let line = match outcome {
        OutputOutcome::Uploaded if dry_run => format!("would upload {path} → {url}{not_recorded}"),
        OutputOutcome::Uploaded => format!("uploaded {path} → {url}{size}{not_recorded}"),
        OutputOutcome::AlreadyPresent => format!("already present: {path} → {url}{not_recorded}"),
        OutputOutcome::Restored if dry_run => format!("would restore {path} ← {url}{size}"),
        OutputOutcome::Restored => format!("restored {path} ← {url}{size}{not_recorded}"),
        OutputOutcome::UpToDate => format!("up to date: {path} = {url}{not_recorded}"),
        OutputOutcome::Kept => {
            output.console().warn(&format_args!(
                "kept {path} of `{command}`, which is stale: it differs from {url}; `--force` replaces it"
            ));
            output.entry(entry);
            return;
        }
        OutputOutcome::NotFound => format!("not on the remote: {path} of `{command}`"),
        OutputOutcome::MadeBy { command: maker } => {
            entry.made_by = Some(maker.clone());
            format!("kept {path} of `{command}`: it is what `{maker}` made")
        }
        OutputOutcome::Skipped { reason } => {
            entry.reason = Some(reason.clone());
            format!("skipped {path} of `{command}`: {reason}")
        }
        OutputOutcome::Refused { reason } | OutputOutcome::Invalid { reason } => {
            entry.reason = Some(reason.clone());
            output.console().warn(&format_args!("refused {path} of `{command}`: {reason}"));
            output.entry(entry);
            return;
        }
        OutputOutcome::Failed(_) => format!("failed: {path} of `{command}`"),
        _ => String::new(),
    };
    output.summary(&printable(&line));
    if let OutputOutcome::Failed(error) = report.outcome {
        let failure = Failure::from(error);
        entry.error = Some(ErrorEntry::new(failure.kind(), &failure));
        output.fail(failure);
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
