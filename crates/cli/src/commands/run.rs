//! `larder run`
//!
//! The steps of a run: hash the inputs, lock the outputs, look here, look in the remote, restore or run the command, publish.

mod check;
mod dependencies;
mod report;
mod say;

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use larder_hashing::OutputPath;
use larder_storage::{
    CancellationToken, CommandRun, Error, ErrorKind, LocalRun, MadeOutputs, PushOptions, RunRequest,
    error_chain,
};

use super::key::Key;
use crate::args::{RunArgs, RunMode};
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::foreground::{EndedCommand, ForegroundCommand};
use crate::output::CommandOutput;
use crate::output::document::TransferEntry;
use crate::session::{RemoteSession, Supervisor};
use dependencies::Inputs;
use report::{Outcome, RunReport};

/// The variable that selects the mode.
const MODE: &str = "LARDER_RUN_MODE";

pub(super) fn run(args: &RunArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    check::report(args, context)?;
    let mut report = RunReport::create(args.report.as_deref())?;
    let outcome = mode(args).and_then(|mode| {
        check::usage(args, mode, output)?;
        match mode {
            RunMode::Off => run_only(args, context, output, &mut report),
            mode => run_recorded(args, mode, context, output, &mut report),
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

fn run_recorded(
    args: &RunArgs,
    mode: RunMode,
    context: &CommandContext,
    output: &mut CommandOutput,
    report: &mut RunReport,
) -> Result<()> {
    let outputs = context.outputs(&args.run.outputs)?;
    let kept = context.outputs(&args.run.keep)?;
    if let Some(unknown) = kept.iter().find(|kept| !outputs.contains(kept)) {
        return Err(Failure::Usage(format!("`{unknown}` is kept and is no output: add `-o {unknown}`")));
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
        };
        steps.all(outputs, kept).await
    })?
}

/// The command with its environment. Everything else is as larder's caller set it.
fn command(args: &RunArgs, key: &Key) -> Command {
    let mut words = args.command.iter();
    // Clap demands at least one word.
    let mut command = Command::new(words.next().map_or_else(Default::default, Clone::clone));
    command.args(words).stdin(Stdio::null());
    for (name, value) in key.environment() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn exit_with(code: u8, output: &mut CommandOutput, report: &mut RunReport) {
    report.set_exit_code(code);
    output.set_exit_of_run(code);
}

/// Reports that the command could not be started, as `env` does.
fn not_started(args: &RunArgs, error: &std::io::Error, output: &mut CommandOutput, report: &mut RunReport) {
    let program = args.command.first().map_or_else(Default::default, |word| word.display().to_string());
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    let source = std::io::Error::new(error.kind(), error.to_string());
    output.console().error(&Failure::StartCommand { program, source }, None);
    report.set_outcome(Outcome::Failed);
    exit_with(code, output, report);
}

/// One run, and what its steps need.
struct Steps<'a> {
    args: &'a RunArgs,
    mode: RunMode,
    context: &'a CommandContext,
    key: &'a Key,
    session: &'a RemoteSession,
    foreground: &'a ForegroundCommand,
    output: &'a mut CommandOutput,
    report: &'a mut RunReport,
    has_told_pause: bool,
}

impl Steps<'_> {
    async fn all(&mut self, outputs: Vec<OutputPath>, kept: Vec<OutputPath>) -> Result<()> {
        // A dependency may be an output that a killed command left half made.
        self.session.storage.recover().await?;
        let inputs =
            Inputs::hash(self.key, self.context, self.session.cancel.clone(), self.output.console()).await?;
        self.report.set_command_hash(&inputs.command_hash);
        let mut request =
            RunRequest::new(inputs.command_hash.clone(), outputs, inputs.details(self.key, self.context));
        request.kept = kept;
        request.dry_run = self.args.dry_run;
        let mut run = self.session.storage.begin_run(request).await?;
        if !self.args.refresh
            && let Some(last) = run.up_to_date().await?
        {
            self.up_to_date(&run, last).await?;
            return self.touch(&run, &inputs);
        }
        let Some(reason) = self.restore(&mut run).await? else { return self.touch(&run, &inputs) };
        self.report.set_reason(&reason);
        if self.args.dry_run {
            self.say(&format!("would run, because {reason}"));
            self.report.set_outcome(Outcome::Miss);
            return Ok(());
        }
        self.say(&format!("running, because {reason}"));
        self.run_command(&mut run, &inputs).await
    }

    /// Makes the outputs newer than the dependencies, so that Make does not ask again.
    fn touch(&self, run: &CommandRun<'_>, inputs: &Inputs) -> Result<()> {
        match inputs.newest().filter(|_| !self.args.dry_run) {
            Some(newest) => Ok(run.touch_if_older(newest)?),
            None => Ok(()),
        }
    }

    fn say(&self, text: &str) {
        self.output.console().note(&format_args!("larder: {text}"));
    }

    /// Returns whether the remote is left alone, because it failed a moment ago. Says so once.
    fn is_remote_paused(&mut self, run: &CommandRun<'_>) -> bool {
        let Some(pause) = run.pause().filter(|_| !self.args.require_remote) else { return false };
        if !self.has_told_pause {
            self.has_told_pause = true;
            self.output.console().warn(&format_args!(
                "leaving the remote alone for {} more: {}",
                say::until(pause.until),
                pause.reason
            ));
        }
        true
    }

    async fn up_to_date(&mut self, run: &CommandRun<'_>, last: LocalRun) -> Result<()> {
        self.report.set_outcome(Outcome::UpToDate);
        self.report.set_saved(&last.record);
        self.say(&say::up_to_date(&last.record));
        exit_with(0, self.output, self.report);
        let is_done = run.is_published(&last) || self.args.dry_run || self.mode != RunMode::ReadWrite;
        if is_done || self.is_remote_paused(run) {
            return Ok(());
        }
        // A remote that hangs would delay the upload for minutes.
        if let Err(error) = run.ask(self.context.run_lookup_timeout()).await {
            return self.remote_failed("publish the outputs", error);
        }
        self.publish(run, &MadeOutputs::from(last)).await
    }

    /// Restores the outputs from the remote. Returns why the command has to run, unless they are restored.
    async fn restore(&mut self, run: &mut CommandRun<'_>) -> Result<Option<String>> {
        let timeout = self.context.run_lookup_timeout();
        if self.args.refresh {
            return Ok(Some("of `--refresh`".to_owned()));
        }
        if self.is_remote_paused(run) {
            return Ok(Some(say::reason(&run.explain(timeout, false).await)));
        }
        let found = match run.find(timeout).await {
            Ok(Ok(found)) => found,
            Ok(Err(no_run)) => {
                let reason = match say::gone(&no_run) {
                    Some(reason) => reason,
                    None => say::reason(&run.explain(timeout, true).await),
                };
                return Ok(Some(reason));
            }
            Err(error) => {
                // The pause begins with this failure, and need not be told in addition.
                self.has_told_pause = true;
                self.remote_failed("look for the outputs", error)?;
                return Ok(Some(say::reason(&run.explain(timeout, false).await)));
            }
        };
        if self.args.dry_run {
            self.say(&say::would_restore(&found));
            self.report.set_outcome(Outcome::Hit);
            exit_with(0, self.output, self.report);
            return Ok(None);
        }
        if found.objects.is_empty() {
            run.note_passed(&found).await?;
            self.say(&say::passed(&found));
        } else {
            match run.restore(&found).await {
                Ok(pulled) => {
                    for pulled in &pulled {
                        self.report.add(TransferEntry::pulled(pulled, false));
                    }
                    self.say(&say::restored(&found, &pulled, &self.session.label));
                    self.say_replaced(run);
                }
                Err(error) => {
                    let reason = match &error {
                        Error::Damaged { .. } => "an object in the remote is damaged",
                        _ => "the outputs could not be restored",
                    };
                    self.remote_failed("restore the outputs", error)?;
                    return Ok(Some(reason.to_owned()));
                }
            }
        }
        self.report.set_outcome(Outcome::Hit);
        self.report.set_saved(&found.run.record);
        exit_with(0, self.output, self.report);
        Ok(None)
    }

    /// Warns of trouble with the remote. Other failures, and trouble of a remote that is required, end the run.
    fn remote_failed(&self, action: &str, error: Error) -> Result<()> {
        let is_of_remote = matches!(
            error.kind(),
            ErrorKind::Remote | ErrorKind::Integrity | ErrorKind::NotFound | ErrorKind::Unsupported
        );
        if self.args.require_remote || !is_of_remote {
            return Err(error.into());
        }
        self.output.console().warn(&format_args!("failed to {action}: {}", error_chain(&error)));
        Ok(())
    }

    async fn run_command(&mut self, run: &mut CommandRun<'_>, inputs: &Inputs) -> Result<()> {
        let provenance = self.context.run_details();
        let details = run.details_mut();
        (details.git, details.ci_url, details.identity) =
            (provenance.git, provenance.ci_url, provenance.identity);
        run.set_aside(self.context.run_lookup_timeout()).await?;
        let ended = self.run_holding_locks(run).await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                self.put_back(run).await?;
                not_started(self.args, &error, self.output, self.report);
                return Ok(());
            }
        };
        self.report.set_outcome(Outcome::Miss);
        exit_with(ended.code(), self.output, self.report);
        if !ended.is_success() {
            self.report.set_outcome(Outcome::Failed);
            self.say(&say::failed(&ended));
            return self.put_back(run).await;
        }
        let made = match self.record(run, inputs, &ended).await {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(()),
            Err(failure) => {
                self.report.set_outcome(Outcome::Failed);
                self.put_back(run).await?;
                return Err(failure);
            }
        };
        if self.mode != RunMode::ReadWrite || self.is_remote_paused(run) {
            return Ok(());
        }
        self.publish(run, &made).await
    }

    /// Runs the command. It inherits the locks, so that they hold even if larder is killed.
    async fn run_holding_locks(&self, run: &CommandRun<'_>) -> std::io::Result<EndedCommand> {
        if self.session.cancel.is_cancelled() {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        run.let_inherit_locks(true)?;
        let ended = self.foreground.run(command(self.args, self.key)).await;
        run.let_inherit_locks(false)?;
        ended
    }

    /// Records the run in the project, unless the command changed its inputs.
    async fn record(
        &self,
        run: &mut CommandRun<'_>,
        inputs: &Inputs,
        ended: &EndedCommand,
    ) -> Result<Option<MadeOutputs>> {
        run.check_made()?;
        let changed =
            inputs.changed(self.context, self.session.cancel.clone(), self.output.console()).await?;
        if let Some(changed) = changed {
            self.output.console().warn(&format_args!(
                "the command changed its input {changed}, or somebody else did, so nothing is recorded or published: name only files that it reads, or add a line to .larderignore"
            ));
            run.leave_unrecorded().await?;
            self.say_replaced(run);
            return Ok(None);
        }
        let made = run.finish(&self.push_options(), ended.started, ended.finished).await?;
        self.say_replaced(run);
        Ok(Some(made))
    }

    /// Says where previous versions are that no run here made. They may be the only copies.
    fn say_replaced(&self, run: &CommandRun<'_>) {
        for path in run.replaced() {
            let path = path.strip_prefix(&self.context.root).unwrap_or(path);
            self.say(&format!(
                "the version that was there, and that no run here made, is in {}",
                path.display()
            ));
        }
    }

    fn push_options(&self) -> PushOptions {
        let mut options = PushOptions::default();
        options.compression = self.context.compression;
        options
    }

    /// Brings the previous outputs back, and says where the products of the command are.
    async fn put_back(&self, run: &mut CommandRun<'_>) -> Result<()> {
        for back in run.put_back().await? {
            if let Some(text) = say::back(&back, &self.context.root) {
                self.say(&text);
            }
        }
        Ok(())
    }

    async fn publish(&mut self, run: &CommandRun<'_>, made: &MadeOutputs) -> Result<()> {
        match run.publish(made, &self.push_options()).await {
            Ok(published) => {
                for pushed in &published.outputs {
                    self.report.add(TransferEntry::pushed(pushed));
                    let note = if self.session.is_embedded { ", kept on this machine only" } else { "" };
                    self.say(&format!("{}{note}", say::published(pushed, &self.session.label)));
                }
                if published.outputs.is_empty() {
                    self.say(&format!("recorded in {}", self.session.label));
                }
                for output in &published.not_deterministic {
                    self.output.console().warn(&format_args!(
                        "{} has other contents of {output} from the same command: the command is not deterministic",
                        self.session.label
                    ));
                }
                Ok(())
            }
            Err(Error::Cancelled) => Err(Error::Cancelled.into()),
            Err(error) if self.args.require_remote => Err(error.into()),
            Err(error) => {
                self.output.console().warn(&format_args!(
                    "failed to publish the outputs: {}; the next run tries again",
                    error_chain(&error)
                ));
                Ok(())
            }
        }
    }
}

/// The duration between the beginning and the end of a recorded command.
fn took(record: &larder_storage::RunRecord) -> Duration {
    super::log::took(record)
}
