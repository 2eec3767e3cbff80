//! The steps of a run, in their order.

use std::path::PathBuf;

use larder_hashing::OutputPath;
use larder_storage::{
    CommandRun, Error, ErrorKind, LocalRun, MadeOutputs, OutputChanges, PushOptions, RunRequest, error_chain,
};

use super::command::{command, exit_with, not_started};
use super::dependencies::Inputs;
use super::report::{Outcome, RunReport};
use super::say;
use crate::args::{RunArgs, RunMode};
use crate::commands::key::Key;
use crate::context::CommandContext;
use crate::failure::Result;
use crate::foreground::{EndedCommand, ForegroundCommand};
use crate::output::CommandOutput;
use crate::output::document::TransferEntry;
use crate::session::RemoteSession;

/// One run, and what its steps need.
pub(super) struct Steps<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) mode: RunMode,
    pub(super) context: &'a CommandContext,
    pub(super) key: &'a Key,
    pub(super) session: &'a RemoteSession,
    pub(super) foreground: &'a ForegroundCommand,
    pub(super) output: &'a mut CommandOutput,
    pub(super) report: &'a mut RunReport,
    pub(super) has_told_pause: bool,
    /// Whether the remote has the outputs in the end.
    pub(super) is_published: bool,
}

impl Steps<'_> {
    pub(super) async fn all(&mut self, outputs: Vec<OutputPath>, kept: Vec<OutputPath>) -> Result<()> {
        // A dependency may be an output that a killed command left half made.
        self.session.storage.recover().await?;
        let before = self.session.storage.changes_of_outputs(self.dependencies()).await?;
        let inputs =
            Inputs::hash(self.key, self.context, self.session.cancel.clone(), self.output.console()).await?;
        inputs.warn(self.output.console());
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
        self.run_command(&mut run, &inputs, &before).await
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
        self.is_published = run.is_published(&last);
        let is_done = self.is_published || self.args.dry_run || self.mode != RunMode::ReadWrite;
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
                let reason = match say::unusable(&no_run) {
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
        self.is_published = true;
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

    async fn run_command(
        &mut self,
        run: &mut CommandRun<'_>,
        inputs: &Inputs,
        before: &OutputChanges,
    ) -> Result<()> {
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
        let made = match self.record(run, inputs, before, &ended).await {
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
        before: &OutputChanges,
        ended: &EndedCommand,
    ) -> Result<Option<MadeOutputs>> {
        run.check_made()?;
        if let Some(reason) = self.changed_input(inputs, before).await? {
            self.output.console().warn(&format_args!("nothing is recorded or published, because {reason}"));
            run.leave_unrecorded().await?;
            self.say_replaced(run);
            return Ok(None);
        }
        let made = run.finish(&self.push_options(), ended.started, ended.finished).await?;
        self.say_replaced(run);
        Ok(Some(made))
    }

    /// Returns which input was changed while the command ran, as a sentence that says what to do.
    async fn changed_input(&self, inputs: &Inputs, before: &OutputChanges) -> Result<Option<String>> {
        let changed =
            inputs.changed(self.context, self.session.cancel.clone(), self.output.console()).await?;
        if let Some(changed) = changed {
            return Ok(Some(format!(
                "the command changed its input {changed}, or somebody else did: name only files that it reads, or add a line to .larderignore"
            )));
        }
        let now = self.session.storage.changes_of_outputs(self.dependencies()).await?;
        Ok(now.differ_from(before).then(|| {
            "another larder command made one of its inputs again in the meantime: run it again".to_owned()
        }))
    }

    fn dependencies(&self) -> Vec<PathBuf> {
        self.key.inputs.deps.iter().map(|dep| self.context.root.join(dep)).collect()
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
                self.is_published = true;
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
