//! `larder project`

mod audit;
mod open;

use larder_project::{
    ExchangeOptions, OutputOutcome, OutputReport, OutputState, OutputStatus, ProjectExchange,
};

use crate::args::{Cli, ProjectPull, ProjectPush, ProjectStatus, ProjectSubcommand, ProjectTarget};
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{ErrorEntry, ProjectOutput};
use crate::output::text::{compressed, duration, printable, size};
use crate::session::RemoteSession;
use open::{Opened, open};

pub(super) fn run(command: &ProjectSubcommand, cli: &Cli, output: &mut CommandOutput) -> Result<()> {
    match command {
        ProjectSubcommand::Push(args) => push(args, cli, output),
        ProjectSubcommand::Pull(args) => pull(args, cli, output),
        ProjectSubcommand::Status(args) => status(args, cli, output),
        ProjectSubcommand::Audit(args) => audit::run(args, cli, output),
    }
}

fn options(target: &ProjectTarget, force: bool, dry_run: bool) -> ExchangeOptions {
    let mut options = ExchangeOptions::default();
    options.only.clone_from(&target.only);
    options.spacy_version.clone_from(&target.spacy_version);
    options.force = force;
    options.dry_run = dry_run;
    options
}

fn push(args: &ProjectPush, cli: &Cli, output: &mut CommandOutput) -> Result<()> {
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

fn pull(args: &ProjectPull, cli: &Cli, output: &mut CommandOutput) -> Result<()> {
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

fn finish(reports: Vec<OutputReport>, target: &ProjectTarget, is_strict: bool, output: &mut CommandOutput) {
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

fn say_nothing_to_do(target: &ProjectTarget, output: &mut CommandOutput) {
    let names: Vec<String> = target.only.iter().map(|name| format!("`{name}`")).collect();
    let commands = match names.as_slice() {
        [] => "no command of the project has outputs".to_owned(),
        [name] => format!("{name} has no outputs"),
        _ => format!("{} have no outputs", names.join(", ")),
    };
    output.summary(&printable(&format!("nothing to do: {commands}")));
}

/// Prints the outcome of an output as soon as it is known.
fn say(report: &OutputReport, dry_run: bool, session: &RemoteSession, output: &mut CommandOutput) {
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
                "kept {path} of `{command}`: it is stale, because it differs from {url}; `--force` replaces it"
            ));
            return;
        }
        OutputOutcome::NotFound => format!("not on the remote: {path} of `{command}`"),
        OutputOutcome::MadeBy { command: maker } => {
            format!("kept {path} of `{command}`: it equals the output of `{maker}`")
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

/// Adds a report to the document, and its error to the failures.
fn record(report: OutputReport, output: &mut CommandOutput) {
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

fn status(args: &ProjectStatus, cli: &Cli, output: &mut CommandOutput) -> Result<()> {
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

fn say_status(status: OutputStatus, output: &mut CommandOutput) {
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
        OutputState::NotPushed => "not pushed: in project.lock, and not on the remote".to_owned(),
        OutputState::NotRecorded if status.url.is_some() => {
            "not recorded: equals the remote's, and is not in project.lock; `larder project pull` records it when all \
             outputs of the command are there"
                .to_owned()
        }
        OutputState::NotRecorded => "not recorded: project.lock does not have it".to_owned(),
        OutputState::Changed { reason } => {
            entry.reason = Some(reason.clone());
            format!("changed: {reason}")
        }
        OutputState::Stale => "stale: it differs from the remote's".to_owned(),
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
