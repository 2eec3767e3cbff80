//! `larder run`
//!
//! The steps of a run: hash the inputs, lock the outputs, look here, look in the remote, restore or run the command, publish.

mod check;
mod command;
mod dependencies;
mod report;
mod say;
mod steps;

use std::env;

use larder_storage::CancellationToken;

use super::key::Key;
use super::workspace::{check_pins, pin_outputs};
use crate::args::{RunArgs, RunMode};
use crate::context::CommandContext;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::foreground::ForegroundCommand;
use crate::output::CommandOutput;
use crate::session::Supervisor;
use command::{command, exit_with, not_started};
use report::{Outcome, RunReport};
use steps::Steps;

/// The variable that selects the mode.
const MODE: &str = "LARDER_RUN_MODE";

pub(super) fn run(args: &RunArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    check::report(args, context)?;
    let mut report = RunReport::create(args.report.as_deref())?;
    let outcome = mode(args).and_then(|mode| {
        check::usage(args, mode, output)?;
        match mode {
            RunMode::Off => run_only(args, context, output, &mut report),
            mode => run_recorded(args, mode, context, output, &mut report)
                .and_then(|is_published| pin(args, is_published, context, output)),
        }
    });
    report.write(output, outcome.as_ref().err())?;
    outcome
}

fn mode(args: &RunArgs) -> Result<RunMode> {
    use clap::ValueEnum as _;
    if let Some(mode) = args.mode {
        return Ok(mode);
    }
    match env::var_os(MODE).filter(|mode| !mode.is_empty()) {
        None => Ok(RunMode::ReadWrite),
        Some(text) => text.to_str().and_then(|text| RunMode::from_str(text, false).ok()).ok_or_else(|| {
            Failure::Usage(format!(
                "{MODE} is `{}`: it must be `read-write`, `read-only` or `off`",
                text.display()
            ))
        }),
    }
}

/// Pins the outputs, if the remote has them.
fn pin(
    args: &RunArgs,
    is_published: bool,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let has_failed = !matches!(output.exit_after(None), Exit::Done | Exit::OfRun(0));
    if !args.pin || args.dry_run || has_failed {
        return Ok(());
    }
    if !is_published {
        output.console().note(&"larder: the outputs are not pinned, because they are not published");
        return Ok(());
    }
    pin_outputs(&context.outputs(&args.run.outputs)?, true, context, output)
}

/// Runs the command, and nothing else.
fn run_only(
    args: &RunArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
    report: &mut RunReport,
) -> Result<()> {
    let key = Key::new(&args.key, &args.command, context, output.console())?;
    let foreground = ForegroundCommand::default();
    let supervisor = Supervisor::new(CancellationToken::new()).with_foreground(&foreground);
    report.set_reason("the mode is `off`");
    if args.dry_run {
        output.console().note(&"larder: would run, because the mode is `off`");
        report.set_outcome(Outcome::Miss);
        return Ok(());
    }
    // The command may rely on them, as it can in the other modes.
    for output in context.outputs(&args.run.outputs)? {
        if let Some(parent) = output.below(&context.root).parent() {
            std::fs::create_dir_all(parent)
                .map_err(|source| Failure::CreateParent { path: parent.to_owned(), source })?;
        }
    }
    let ended = supervisor.run(output, async |_| foreground.run(command(args, &key)).await)?;
    match ended {
        Ok(ended) => {
            report.set_outcome(if ended.is_success() { Outcome::Miss } else { Outcome::Failed });
            exit_with(ended.code(), output, report);
        }
        Err(error) => not_started(args, &error, output, report),
    }
    Ok(())
}

/// Returns whether the remote has the outputs in the end.
fn run_recorded(
    args: &RunArgs,
    mode: RunMode,
    context: &CommandContext,
    output: &mut CommandOutput,
    report: &mut RunReport,
) -> Result<bool> {
    let outputs = context.outputs(&args.run.outputs)?;
    let kept = context.outputs(&args.run.keep)?;
    if let Some(unknown) = kept.iter().find(|kept| !outputs.contains(kept)) {
        return Err(Failure::Usage(format!("`{unknown}` is kept and is no output: add `-o {unknown}`")));
    }
    if args.pin {
        check_pins(&outputs, context)?;
    }
    let key = Key::new(&args.key, &args.command, context, output.console())?.of_run(args.run.portable)?;
    check::apart(&outputs, &key, context)?;
    check::secrets(args, env::vars_os().chain(key.given()))?;
    check::warn(args, &outputs, &key, context, output);
    let session = context.open(output.console())?;
    let foreground = ForegroundCommand::default();
    session.run_command(output, &foreground, async |output| {
        let mut steps = Steps {
            args,
            mode,
            context,
            key: &key,
            session: &session,
            foreground: &foreground,
            output,
            report,
            has_told_pause: false,
            is_published: false,
        };
        steps.all(outputs, kept).await?;
        Ok(steps.is_published)
    })?
}
