//! Pulling the outputs of a project.

use std::collections::HashMap;
use std::fs;

use larder_storage::{ErrorKind, FindOptions, OutputPath, PullOptions, RemoteObject};

use crate::error::{Error, Result};
use crate::exchange::{Keyed, NOT_TRIED, ProjectExchange, ends_everything, not_tried, transfer_all};
use crate::files::{Known, holds_a_file};
use crate::lock::{FileInfo, LockEntry, LockFile};
use crate::project::ProjectCommand;
use crate::report::{OutputOutcome, OutputReport};

/// The result of a pull.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PullReport {
    /// The report of each output, in the order of the file.
    pub outputs: Vec<OutputReport>,
    /// Other failures: a directory or the lock could not be written.
    pub failures: Vec<Error>,
}

/// Maps a path to the command that made its content.
type Makers = HashMap<String, String>;

impl<'a> ProjectExchange<'a> {
    /// Restores the outputs of the commands. It repeatedly takes the first remaining command in the file
    /// whose dependencies exist. It ends when no command can be restored. A command is recorded in the lock
    /// if each of its outputs has the content of an object under its key.
    ///
    /// An existing output is kept, and reported if it differs. [`ExchangeOptions::force`](crate::ExchangeOptions::force)
    /// replaces it.
    ///
    /// `on_done` gets each report as soon as it is known. All of them are returned, in the order of the file.
    ///
    /// # Errors
    ///
    /// The lock cannot be read. A failure of one output is in its report.
    pub async fn pull(&self, on_done: &mut dyn FnMut(&OutputReport)) -> Result<PullReport> {
        // A broken lock is reported first, because restored commands could not be recorded in it.
        LockFile::read(&self.project.root)?;
        let mut report = PullReport::default();
        if !self.options.dry_run {
            report.failures = self.files.make_directories();
        }
        let mut makers = Makers::new();
        let mut pending = self.commands.clone();
        while let Some(command) = self.next_command(&mut pending) {
            let known = report.outputs.len();
            if ends_everything(&report.outputs) {
                report.outputs.extend(self.skip_all(command, NOT_TRIED));
            } else {
                match self.key(command).await {
                    Ok(Some(key)) => self.pull_command(command, &key, &mut makers, &mut report).await,
                    Ok(None) => report.outputs.extend(
                        self.skip_all(command, "its dependencies are known only after they are restored"),
                    ),
                    Err(error) => report.outputs.extend(self.fail_all(command, error)),
                }
            }
            report.outputs[known..].iter().for_each(&mut *on_done);
        }
        for command in pending {
            let dep = self.missing_dependency(command).unwrap_or_default();
            let reason = format!("its dependency `{dep}` is missing");
            let skipped = self.skip_all(command, &reason);
            skipped.iter().for_each(&mut *on_done);
            report.outputs.extend(skipped);
        }
        report.outputs.sort_by_cached_key(|output| self.place(output));
        Ok(report)
    }

    /// Takes the first command whose dependencies exist.
    pub(crate) fn next_command(&self, pending: &mut Vec<&'a ProjectCommand>) -> Option<&'a ProjectCommand> {
        pending.retain(|command| !command.outputs.is_empty());
        let place = pending.iter().position(|command| self.missing_dependency(command).is_none())?;
        Some(pending.remove(place))
    }

    async fn pull_command(
        &self,
        command: &ProjectCommand,
        key: &Keyed,
        makers: &mut Makers,
        report: &mut PullReport,
    ) {
        let mut reports = Vec::new();
        let levels = levels(self.outputs(command));
        let is_flat = levels.len() == 1;
        for level in levels {
            let makers = &*makers;
            if ends_everything(&reports) {
                reports.extend(level.into_iter().map(|(text, _)| not_tried(command, text)));
                continue;
            }
            let pull =
                async |text, output: OutputPath| self.pull_output(command, text, &output, key, makers).await;
            // Each report says whether the command is recorded. That is known only at the end, so nothing is
            // reported before.
            reports.extend(transfer_all(command, level, pull, &mut |_| ()).await);
        }
        if reports.iter().any(|report| matches!(report.outcome, OutputOutcome::Restored)) {
            self.files.changed();
        }
        for report in reports.iter().filter(|report| report.verified == Some(true)) {
            // If one output is inside another, restoring one may change the other. Both are read again.
            if let (true, Some(hash)) = (is_flat, &report.content_hash) {
                self.files.learn(&report.path, hash.clone());
            }
        }
        for report in &reports {
            if let (true, Ok(output)) = (is_of_remote(report), OutputPath::new(&report.path)) {
                makers.entry(output.as_str().to_owned()).or_insert_with(|| command.name.clone());
                if let (true, Some(hash)) = (self.options.dry_run, &report.content_hash) {
                    self.files.assume(&output, hash.clone());
                }
            }
        }
        let recorded = if self.options.dry_run || !reports.iter().all(is_of_remote) {
            Ok(false)
        } else {
            self.record(command, key, &reports).await
        };
        match recorded {
            Ok(recorded) if !self.options.dry_run => {
                if recorded {
                    for report in &mut reports {
                        report.recorded = Some(true);
                    }
                } else {
                    self.say_what_was_recorded(command, key, &mut reports);
                }
            }
            Ok(_) => {}
            Err(error) => report.failures.push(error),
        }
        report.outputs.extend(reports);
    }

    /// Reports which outputs an earlier run or pull recorded.
    fn say_what_was_recorded(&self, command: &ProjectCommand, key: &Keyed, reports: &mut [OutputReport]) {
        let lock = LockFile::read(&self.project.root).ok();
        let entry = lock.as_ref().and_then(|lock| lock.entry(&command.name));
        let entry = entry.filter(|entry| entry.difference(command, &key.deps).is_none());
        for report in reports {
            let hash = report.content_hash.as_ref().filter(|_| is_of_remote(report));
            let is_recorded = |(entry, hash): (LockEntry<'_>, _)| entry.has_output(&report.path, hash);
            report.recorded = Some(entry.zip(hash).is_some_and(is_recorded));
        }
    }

    /// Records the command in the lock, unless restoring one output has changed another.
    async fn record(&self, command: &ProjectCommand, key: &Keyed, reports: &[OutputReport]) -> Result<bool> {
        for report in reports {
            let now = self.files.known(&report.path).await?;
            if Some(now) != report.content_hash.clone().map(Known::Hash) {
                return Ok(false);
            }
        }
        let mut outs: Vec<FileInfo> = Vec::new();
        for path in command.outputs.iter().chain(&command.outputs_no_cache) {
            outs.push(self.files.info(path).await?);
        }
        // The lock is read again, because another process may have changed it.
        LockFile::update(&self.project.root, |lock| lock.record(command, &key.deps, &outs))?;
        Ok(true)
    }

    async fn pull_output(
        &self,
        command: &ProjectCommand,
        text: &str,
        output: &OutputPath,
        key: &Keyed,
        makers: &Makers,
    ) -> OutputReport {
        let report = |outcome| OutputReport {
            command_hash: Some(key.hash.clone()),
            ..OutputReport::new(&command.name, text, outcome)
        };
        match self.try_pull(command, text, output, key, makers).await {
            Ok(done) => done,
            Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {
                report(OutputOutcome::NotFound)
            }
            Err(error) => report(OutputOutcome::Failed(error)),
        }
    }

    async fn try_pull(
        &self,
        command: &ProjectCommand,
        text: &str,
        output: &OutputPath,
        key: &Keyed,
        makers: &Makers,
    ) -> Result<OutputReport> {
        let path = output.below(&self.project.root);
        let mut options = PullOptions::default();
        options.command_hash = Some(key.hash.clone());
        options.dry_run = self.options.dry_run;
        let maker = makers.get(output.as_str());
        if holds_a_file(&path) || (maker.is_some() && self.options.dry_run) {
            let found = self.find_same(output, key).await?;
            if let ContentMatch::Same(object) = found {
                let report = OutputReport::of_object(&command.name, text, OutputOutcome::UpToDate, object);
                return Ok(OutputReport { verified: Some(true), ..report });
            }
            if let Some(maker) = maker {
                let outcome = OutputOutcome::MadeBy { command: maker.clone() };
                return Ok(OutputReport {
                    command_hash: Some(key.hash.clone()),
                    ..OutputReport::new(&command.name, text, outcome)
                });
            }
            let newest = self.find_newest(output, key).await?;
            if !self.options.force {
                return Ok(OutputReport::of_object(&command.name, text, OutputOutcome::Kept, newest));
            }
            options.force = true;
        } else {
            // A directory without files, or a dangling link, counts as missing and is replaced.
            options.force = fs::symlink_metadata(&path).is_ok();
        }
        let pulled = self.storage.pull(std::slice::from_ref(output), &options).await?;
        let pulled = pulled.into_iter().next().ok_or_else(|| Error::Write {
            path,
            source: std::io::Error::other("the storage reports nothing"),
        })?;
        Ok(OutputReport::of_pull(&command.name, text, pulled, self.options.dry_run))
    }

    /// Looks for an object with the current content of the output, or with its assumed content in a dry run.
    pub(crate) async fn find_same(&self, output: &OutputPath, key: &Keyed) -> Result<ContentMatch> {
        let content = match self.files.known(output.as_str()).await? {
            Known::Hash(content) => content,
            Known::Absent | Known::Later => return Ok(ContentMatch::Other),
        };
        let mut options = FindOptions::default();
        options.command_hash = Some(key.hash.clone());
        options.content_hash = Some(content);
        match self.storage.find(output, &options).await {
            Ok(found) => Ok(ContentMatch::Same(found.newest)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(ContentMatch::Other),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn find_newest(&self, output: &OutputPath, key: &Keyed) -> Result<RemoteObject> {
        let mut options = FindOptions::default();
        options.command_hash = Some(key.hash.clone());
        Ok(self.storage.find(output, &options).await?.newest)
    }
}

/// The result of looking for the content of an output in a remote.
pub(crate) enum ContentMatch {
    /// An object has this content.
    Same(RemoteObject),
    /// No object has this content.
    Other,
}

/// Returns whether the output has the content of the remote's object now.
fn is_of_remote(report: &OutputReport) -> bool {
    matches!(report.outcome, OutputOutcome::Restored | OutputOutcome::UpToDate)
}

type NamedOutput<'c, E> = (&'c str, Result<OutputPath, E>);

/// Splits outputs into groups that are restored one after the other. An output inside another one, or with
/// the same path, comes in a later group.
fn levels<E>(outputs: Vec<NamedOutput<'_, E>>) -> Vec<Vec<NamedOutput<'_, E>>> {
    let paths: Vec<Option<String>> = outputs
        .iter()
        .map(|(_, output)| output.as_ref().ok().map(|output| output.as_str().to_owned()))
        .collect();
    let mut levels: Vec<Vec<NamedOutput<'_, E>>> = Vec::new();
    for (index, output) in outputs.into_iter().enumerate() {
        let level = match &output.1 {
            Ok(path) => (paths.iter().enumerate())
                .filter(|(other_index, other)| {
                    let Some(other) = other else { return false };
                    let rest = path.as_str().strip_prefix(other.as_str());
                    rest.is_some_and(|rest| {
                        rest.starts_with('/') || (rest.is_empty() && *other_index < index)
                    })
                })
                .count(),
            Err(_) => 0,
        };
        while levels.len() <= level {
            levels.push(Vec::new());
        }
        levels[level].push(output);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_outputs_come_before_inner_ones() {
        let texts = ["m/best/x", "a", "m/best", "m", "m/", "/absolute"];
        let outputs = texts.iter().map(|text| (*text, OutputPath::with_literal_key(text))).collect();
        let levels: Vec<Vec<&str>> = levels(outputs)
            .into_iter()
            .map(|level| level.into_iter().map(|(text, _)| text).collect())
            .collect();
        let place = |text: &str| levels.iter().position(|level| level.contains(&text)).unwrap();
        assert_eq!((place("a"), place("m"), place("/absolute")), (0, 0, 0));
        assert!(
            place("m") < place("m/") && place("m/") <= place("m/best") && place("m/best") < place("m/best/x")
        );
    }
}
