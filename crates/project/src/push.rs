//! Pushing the outputs of a project.

use larder_storage::{OutputPath, PushOptions};

use crate::error::{Error, Result};
use crate::exchange::{Keyed, NOT_TRIED, ProjectExchange, ends_everything, transfer_all};
use crate::files::{exists, holds_a_file};
use crate::lock::{LockEntry, LockFile};
use crate::project::ProjectCommand;
use crate::report::{OutputOutcome, OutputReport};

impl ProjectExchange<'_> {
    /// Pushes the outputs of the commands in the order of the file, each under its command's current hash.
    ///
    /// If the lock records another script or other dependencies, the output is refused, unless
    /// [`ExchangeOptions::force`](crate::ExchangeOptions::force) is set. Commands with a missing dependency and outputs
    /// without a file are skipped. A failure of one output does not stop the others. A failure of the remote does.
    ///
    /// `on_done` gets each report as soon as it is known. All of them are returned, in the order of the file.
    ///
    /// # Errors
    ///
    /// The lock cannot be read. A failure of one output is in its report.
    pub async fn push(&self, on_done: &mut dyn FnMut(&OutputReport)) -> Result<Vec<OutputReport>> {
        let lock = LockFile::read(&self.project.root)?;
        let mut reports = Vec::new();
        for command in &self.commands {
            let done = if ends_everything(&reports) {
                let skipped = self.skip_all(command, NOT_TRIED);
                skipped.iter().for_each(&mut *on_done);
                skipped
            } else {
                self.push_command(command, &lock, on_done).await
            };
            reports.extend(done);
        }
        Ok(reports)
    }

    async fn push_command(
        &self,
        command: &ProjectCommand,
        lock: &LockFile,
        on_done: &mut dyn FnMut(&OutputReport),
    ) -> Vec<OutputReport> {
        let key = match self.key_to_push(command).await {
            Ok(key) => key,
            Err(reports) => {
                reports.iter().for_each(on_done);
                return reports;
            }
        };
        let entry = lock.entry(&command.name);
        let difference = entry.and_then(|entry| entry.difference(command, &key.deps));
        let difference = difference.as_deref();
        transfer_all(
            command,
            self.outputs(command),
            async |text, output| self.push_output(command, text, &output, &key, entry, difference).await,
            on_done,
        )
        .await
    }

    /// Returns the key of a command, or reports that say why it has no key.
    async fn key_to_push(&self, command: &ProjectCommand) -> Result<Keyed, Vec<OutputReport>> {
        if command.outputs.is_empty() {
            return Err(Vec::new());
        }
        if let Some(dep) = self.missing_dependency(command) {
            return Err(self.skip_all(command, &format!("its dependency `{dep}` is missing")));
        }
        match self.key(command).await {
            Ok(Some(key)) => Ok(key),
            Ok(None) => Err(self.skip_all(command, "its dependencies are not restored")),
            Err(error) => Err(self.fail_all(command, error)),
        }
    }

    async fn push_output(
        &self,
        command: &ProjectCommand,
        text: &str,
        output: &OutputPath,
        key: &Keyed,
        entry: Option<LockEntry<'_>>,
        difference: Option<&str>,
    ) -> OutputReport {
        let report = |outcome| OutputReport {
            command_hash: Some(key.hash.clone()),
            ..OutputReport::new(&command.name, text, outcome)
        };
        let path = output.below(&self.project.root);
        if !holds_a_file(&path) {
            let reason = if exists(&path) { "there is no file in it" } else { "it does not exist" };
            return report(OutputOutcome::Skipped { reason: reason.to_owned() });
        }
        if let (Some(difference), false) = (difference, self.options.force) {
            return report(OutputOutcome::Refused { reason: difference.to_owned() });
        }
        let mut options = PushOptions::default();
        options.force = self.options.force;
        options.dry_run = self.options.dry_run;
        match self.storage.push(output, &key.hash, &options).await {
            Ok(pushed) => {
                let is_recorded = difference.is_none()
                    && entry.is_some_and(|entry| entry.has_output(text, &pushed.content_hash));
                OutputReport {
                    recorded: Some(is_recorded),
                    ..OutputReport::of_push(&command.name, text, pushed)
                }
            }
            Err(error) => report(OutputOutcome::Failed(Error::from(error))),
        }
    }
}
