//! The report of a run: one JSON document in a file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder_storage::{CommandHash, RunRecord};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{ErrorEntry, TransferEntry};

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// The outputs were restored from the remote, or the check had passed.
    Hit,
    /// The command ran.
    Miss,
    /// The outputs were there.
    UpToDate,
    /// The command failed, or larder did.
    #[default]
    Failed,
}

/// The report of a run. It is an interface, as the document of `--json`.
#[derive(Debug)]
pub(super) struct RunReport {
    file: Option<(PathBuf, File)>,
    begun: Instant,
    outcome: Outcome,
    command_hash: Option<CommandHash>,
    reason: Option<String>,
    exit_code: Option<u8>,
    saved: Option<Duration>,
    results: Vec<TransferEntry>,
}

#[derive(Serialize)]
struct ReportDocument<'a> {
    schema: u32,
    outcome: Outcome,
    command_hash: Option<&'a str>,
    /// Why the command ran.
    reason: Option<&'a str>,
    exit_code: u8,
    /// How long the run took.
    seconds: f64,
    /// How long the command took when it ran, if it did not run now.
    saved_seconds: Option<f64>,
    results: &'a [TransferEntry],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorEntry>,
}

impl RunReport {
    /// Creates the file at once, because a wrong path should not be noticed after hours.
    pub(super) fn create(path: Option<&Path>) -> Result<Self> {
        let file = path
            .map(|path| match File::create(path) {
                Ok(file) => Ok((path.to_owned(), file)),
                Err(source) => Err(Failure::Report { path: path.to_owned(), source }),
            })
            .transpose()?;
        Ok(Self {
            file,
            begun: Instant::now(),
            outcome: Outcome::default(),
            command_hash: None,
            reason: None,
            exit_code: None,
            saved: None,
            results: Vec::new(),
        })
    }

    pub(super) fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    pub(super) fn set_command_hash(&mut self, hash: &CommandHash) {
        self.command_hash = Some(hash.clone());
    }

    pub(super) fn set_reason(&mut self, reason: &str) {
        self.reason = Some(reason.to_owned());
    }

    pub(super) fn set_exit_code(&mut self, code: u8) {
        self.exit_code = Some(code);
    }

    pub(super) fn set_saved(&mut self, record: &RunRecord) {
        self.saved = Some(record.duration());
    }

    pub(super) fn add(&mut self, entry: TransferEntry) {
        self.results.push(entry);
    }

    /// Writes the document, if it was asked for.
    pub(super) fn write(&mut self, output: &CommandOutput, failure: Option<&Failure>) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let document = ReportDocument {
            schema: 1,
            outcome: if failure.is_some() || output.is_stopped() { Outcome::Failed } else { self.outcome },
            command_hash: self.command_hash.as_ref().map(CommandHash::as_str),
            reason: self.reason.as_deref(),
            exit_code: output.exit_after(failure).code(),
            seconds: self.begun.elapsed().as_secs_f64(),
            saved_seconds: self.saved.map(|saved| saved.as_secs_f64()),
            results: &self.results,
            error: failure.map(|failure| ErrorEntry::new(failure.kind(), failure)),
        };
        let write = || {
            let mut text = serde_json::to_vec(&document)?;
            text.push(b'\n');
            file.write_all(&text)
        };
        let mut write = write;
        write().map_err(|source| Failure::Report { path: path.clone(), source })
    }
}
