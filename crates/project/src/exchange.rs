//! A project, a remote, and the keys of the commands: the common part of push, pull and status.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use larder_hashing::{CommandInputs, HashOptions, InvalidOutputPath, OutputPath, Scheme, command_hash};
use larder_storage::{CommandHash, ContentHash, RemoteStorage};

use crate::error::{Error, Result};
use crate::files::{Known, ProjectFiles, holds_a_file};
use crate::lock::FileInfo;
use crate::project::{Project, ProjectCommand};
use crate::report::{OutputOutcome, OutputReport};

/// The number of outputs of a command that are transferred at once.
pub(crate) const AT_ONCE: usize = 4;

/// How to exchange the outputs of a project with a remote.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExchangeOptions {
    /// The names of commands or workflows. All commands if this is empty.
    pub only: Vec<String>,
    /// On a push, upload even outputs that were made from other inputs, and replace existing objects. On a
    /// pull, replace outputs that differ.
    pub force: bool,
    /// Report what would be done, without changing anything.
    pub dry_run: bool,
    /// The minor version (`3.6`) of a spaCy before 3.7, whose keys begin with it.
    pub spacy_version: Option<String>,
}

impl ExchangeOptions {
    /// Checks the minor version of a spaCy whose keys begin with it.
    ///
    /// # Errors
    ///
    /// The version is not one of 3.0 to 3.6. The error is the end of a sentence.
    pub fn parse_spacy_version(text: &str) -> Result<String, &'static str> {
        let is_known = matches!(text.strip_prefix("3."), Some("0" | "1" | "2" | "3" | "4" | "5" | "6"));
        if is_known {
            Ok(text.to_owned())
        } else {
            Err("it is one of 3.0 to 3.6: later versions, and weasel, have keys without a version")
        }
    }
}

/// A project and a remote. The storage must belong to the project's root and use [`Scheme::Weasel`].
pub struct ProjectExchange<'a> {
    pub(crate) project: &'a Project,
    pub(crate) storage: &'a RemoteStorage,
    pub(crate) options: ExchangeOptions,
    pub(crate) commands: Vec<&'a ProjectCommand>,
    pub(crate) files: ProjectFiles<'a>,
}

impl std::fmt::Debug for ProjectExchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProjectExchange")
            .field("project", &self.project.root)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The hash of a command whose dependencies all exist.
pub(crate) struct Keyed {
    pub(crate) deps: Vec<FileInfo>,
    pub(crate) hash: CommandHash,
}

impl<'a> ProjectExchange<'a> {
    /// Joins a project with a remote.
    ///
    /// # Errors
    ///
    /// [`ExchangeOptions::only`] contains a name that matches no command and no workflow.
    pub fn new(project: &'a Project, storage: &'a RemoteStorage, options: ExchangeOptions) -> Result<Self> {
        let commands = project.select(&options.only)?;
        Ok(Self { project, storage, options, commands, files: ProjectFiles::new(project, storage) })
    }

    /// Returns the URLs to which a push would upload the existing outputs. Outputs without a known key are left out.
    pub async fn urls_of_push(&self) -> BTreeSet<String> {
        let mut urls = BTreeSet::new();
        for command in &self.commands {
            let Ok(Some(key)) = self.key(command).await else { continue };
            for output in self.outputs(command).into_iter().filter_map(|(_, output)| output.ok()) {
                if holds_a_file(&output.below(&self.project.root))
                    && let Ok(Known::Hash(content)) = self.files.known(output.as_str()).await
                {
                    urls.extend(self.storage.make_url(&output, &key.hash, &content));
                }
            }
        }
        urls
    }

    /// Returns the first missing dependency of a command.
    pub(crate) fn missing_dependency<'c>(&self, command: &'c ProjectCommand) -> Option<&'c str> {
        command.deps.iter().map(String::as_str).find(|dep| !self.files.has(dep))
    }

    /// Hashes a command and its dependencies, which must all exist. Returns `None` if the content of a
    /// dependency is known only after another command is restored.
    pub(crate) async fn key(&self, command: &ProjectCommand) -> Result<Option<Keyed>> {
        let mut known: Vec<(PathBuf, ContentHash)> = Vec::new();
        let mut deps = Vec::new();
        // Weasel sorts absolute paths, which matters if any dependency is absolute.
        let is_any_absolute = command.deps.iter().any(|dep| dep.starts_with('/'));
        for dep in &command.deps {
            let hash = match self.files.known(dep).await? {
                Known::Hash(hash) => hash,
                Known::Later => return Ok(None),
                Known::Absent => {
                    let path = PathBuf::from(dep);
                    return Err(larder_hashing::CommandError::MissingDependency { path }.into());
                }
            };
            let path = if is_any_absolute { self.project.root.join(dep) } else { PathBuf::from(dep) };
            known.push((path, hash.clone()));
            deps.push(FileInfo { path: dep.clone(), hash: Some(hash) });
        }
        let mut inputs = CommandInputs::new(&command.script).with_known_deps(known);
        inputs.spacy_version.clone_from(&self.options.spacy_version);
        let options = HashOptions::new(Scheme::Weasel);
        let hash = command_hash(&self.project.root, &inputs, &options)?;
        Ok(Some(Keyed { deps, hash }))
    }

    /// Returns the outputs of a command, each once.
    pub(crate) fn outputs<'c>(
        &self,
        command: &'c ProjectCommand,
    ) -> Vec<(&'c str, Result<OutputPath, InvalidOutputPath>)> {
        let mut outputs: Vec<(&str, Result<OutputPath, InvalidOutputPath>)> = Vec::new();
        for text in &command.outputs {
            if !outputs.iter().any(|(other, _)| other == text) {
                let checked = OutputPath::check_symlinks(&self.project.root, Path::new(text));
                outputs.push((text, checked.and_then(|()| OutputPath::with_literal_key(text))));
            }
        }
        outputs
    }

    /// Returns the position of an output in the file.
    pub(crate) fn place(&self, report: &OutputReport) -> Option<(usize, usize)> {
        let command = self.commands.iter().position(|command| command.name == report.command)?;
        let output = self.commands[command].outputs.iter().position(|output| *output == report.path)?;
        Some((command, output))
    }

    /// Reports each output of a command as skipped, with the reason.
    pub(crate) fn skip_all(&self, command: &ProjectCommand, reason: &str) -> Vec<OutputReport> {
        let skipped = |(text, _)| {
            OutputReport::new(&command.name, text, OutputOutcome::Skipped { reason: reason.to_owned() })
        };
        self.outputs(command).into_iter().map(skipped).collect()
    }

    /// Reports a failure of a whole command: the first output gets the error.
    pub(crate) fn fail_all(&self, command: &ProjectCommand, error: Error) -> Vec<OutputReport> {
        let mut reports = self.skip_all(command, "its command could not be hashed");
        if let Some(first) = reports.first_mut() {
            first.outcome = OutputOutcome::Failed(error);
        }
        reports
    }
}

/// The reason for outputs that were not tried after a failure of the remote.
pub(crate) const NOT_TRIED: &str = "not tried, after what failed for another output";

pub(crate) fn not_tried(command: &ProjectCommand, path: &str) -> OutputReport {
    OutputReport::new(&command.name, path, OutputOutcome::Skipped { reason: NOT_TRIED.to_owned() })
}

/// Transfers outputs of a command, some at once. `on_done` gets each report in the order of the outputs.
///
/// A failure of the remote as a whole is reported once. The outputs after it are not tried.
pub(crate) async fn transfer_all<'c>(
    command: &ProjectCommand,
    outputs: Vec<(&'c str, Result<OutputPath, InvalidOutputPath>)>,
    transfer: impl AsyncFn(&'c str, OutputPath) -> OutputReport,
    on_done: &mut dyn FnMut(&OutputReport),
) -> Vec<OutputReport> {
    let is_over = AtomicBool::new(false);
    let (is_over, transfer) = (&is_over, &transfer);
    let transfers: Vec<_> = outputs
        .into_iter()
        .map(|(path, output)| async move {
            let output = match output {
                Ok(output) => output,
                Err(error) => {
                    let outcome = OutputOutcome::Invalid { reason: error.to_string() };
                    return OutputReport::new(&command.name, path, outcome);
                }
            };
            if is_over.load(Ordering::Relaxed) {
                return not_tried(command, path);
            }
            let report = transfer(path, output).await;
            let repeats = report.ends_everything() && is_over.swap(true, Ordering::Relaxed);
            if repeats { not_tried(command, path) } else { report }
        })
        .collect();
    let mut transfers = futures::stream::iter(transfers).buffered(AT_ONCE);
    let mut reports = Vec::new();
    while let Some(report) = transfers.next().await {
        on_done(&report);
        reports.push(report);
    }
    reports
}

pub(crate) fn ends_everything(reports: &[OutputReport]) -> bool {
    reports.iter().any(OutputReport::ends_everything)
}
