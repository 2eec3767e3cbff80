//! Looking for a run in the remote that made all outputs.

use std::cmp::Reverse;
use std::time::Duration;

use larder_backend::error_chain;
use larder_hashing::OutputPath;
use larder_records::RecordName;

use super::command_run::CommandRun;
use super::request::RunRequest;
use crate::context::StorageContext;
use crate::error::{ErrorKind, Result};
use crate::find::{OutputMatches, RecordExtent};
use crate::options::FindOptions;
use crate::outcome::RemoteObject;
use crate::pull::{common_runs, matches_of_all, runs_of_command};
use crate::records::{LoggedRun, RecordKeys, RecordRef, first_page, list_records, read_run, warn_mismatch};

/// How many records of one command are read until one can be used.
const MAX_READ: usize = 8;

/// A run in the remote that made all outputs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundRun {
    /// The run, and when it was recorded.
    pub run: LoggedRun,
    /// The object of each output, in the order of the outputs.
    pub objects: Vec<RemoteObject>,
}

/// Why the remote has no run to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRun {
    /// No run of this command made all outputs.
    NoRecord,
    /// This command is recorded, and none of the records can be used.
    Unusable,
    /// A run is recorded, and the object of an output is gone.
    Gone {
        /// The output.
        output: OutputPath,
    },
}

impl CommandRun<'_> {
    /// Looks for a run in the remote that made all outputs. After a failure, the runs of this project leave the remote alone
    /// for a minute.
    ///
    /// # Errors
    ///
    /// The remote fails, or does not answer in time.
    pub async fn find(&self, timeout: Duration) -> Result<Result<FoundRun, NoRun>> {
        let found = self.within(timeout, find(self.context, &self.request)).await;
        let remote = self.context.backend.to_string();
        match &found {
            _ if self.request.dry_run => {}
            // A pause saves only time.
            Err(error) if error.kind() != ErrorKind::Cancelled => {
                self.context.state.begin_pause(&remote, &error_chain(error)).ok();
            }
            Ok(_) if self.pause().is_some() => {
                self.context.state.end_pause().ok();
            }
            _ => {}
        }
        found
    }

    /// Waits until the remote answers. Unlike after [`CommandRun::find`], a failure begins no pause.
    ///
    /// # Errors
    ///
    /// The remote fails, or does not answer in time.
    pub async fn ask(&self, timeout: Duration) -> Result<()> {
        self.within(timeout, find(self.context, &self.request)).await.map(drop)
    }
}

async fn find(context: &StorageContext, request: &RunRequest) -> Result<Result<FoundRun, NoRun>> {
    if request.outputs.is_empty() {
        find_check(context, request).await
    } else {
        find_outputs(context, request).await
    }
}

async fn find_outputs(context: &StorageContext, request: &RunRequest) -> Result<Result<FoundRun, NoRun>> {
    let find = FindOptions { command_hash: Some(request.command_hash.clone()), content_hash: None };
    let mut found = matches_of_all(context, &request.outputs, &find, RecordExtent::Newest).await?;
    let mut runs = runs_of_command(&found);
    if runs.is_empty() && found.iter().any(|matches| matches.is_truncated) {
        found = matches_of_all(context, &request.outputs, &find, RecordExtent::All).await?;
        runs = runs_of_command(&found);
    }
    // Names in the listings may be those of a later version.
    let mut is_unusable = found.iter().any(|matches| matches.has_foreign_records);
    for objects in runs.into_iter().take(MAX_READ) {
        let (Some(newest), Some(matches)) = (objects.first(), found.first()) else { break };
        let named = matches.records.iter().find(|record| {
            record.name.content_hash == newest.content_hash
                && Some(record.name.time.as_system_time()) == newest.recorded
        });
        let Some(record) = named else { continue };
        let Some(run) = read_run(context, record).await? else {
            is_unusable = true;
            continue;
        };
        if names_them(&run, &request.outputs, &objects) {
            return Ok(Ok(FoundRun { run, objects }));
        }
        warn_mismatch(context, &record.key);
        is_unusable = true;
    }
    match absent(&request.outputs, &found) {
        NoRun::NoRecord if is_unusable => Ok(Err(NoRun::Unusable)),
        absent => Ok(Err(absent)),
    }
}

/// Returns whether the record names the objects, as far as it lists them: a record lists a part of many outputs.
fn names_them(run: &LoggedRun, outputs: &[OutputPath], objects: &[RemoteObject]) -> bool {
    let listed = |output: &OutputPath| run.record.output(output);
    let is_first_listed = outputs.first().is_some_and(|first| listed(first).is_some());
    let mut pairs = outputs.iter().zip(objects);
    is_first_listed
        && pairs.all(|(output, object)| {
            listed(output).is_none_or(|listed| listed.content_hash == object.content_hash)
        })
}

fn absent(outputs: &[OutputPath], found: &[OutputMatches]) -> NoRun {
    if common_runs(found).is_empty() {
        return NoRun::NoRecord;
    }
    let is_gone = |matches: &OutputMatches| {
        let has = |record: &RecordRef| {
            matches.objects.iter().any(|object| object.content_hash == record.name.content_hash)
        };
        !matches.records.iter().any(has)
    };
    let gone = outputs.iter().zip(found).find(|(_, matches)| is_gone(matches));
    gone.map_or(NoRun::NoRecord, |(output, _)| NoRun::Gone { output: output.clone() })
}

/// Looks for the newest record of a check.
async fn find_check(context: &StorageContext, request: &RunRequest) -> Result<Result<FoundRun, NoRun>> {
    let prefix = RecordKeys::of_checks().prefix(Some(&request.command_hash))?;
    let listing = list_records(context, &prefix, first_page(context)).await?;
    let is_unusable = listing.has_foreign || !listing.records.is_empty();
    let mut records = listing.records;
    records.retain(|record| record.name.content_hash == RecordName::no_content());
    records.sort_unstable_by_key(|record| Reverse(record.name.time));
    for record in records.iter().take(MAX_READ) {
        if let Some(run) = read_run(context, record).await? {
            return Ok(Ok(FoundRun { run, objects: Vec::new() }));
        }
    }
    Ok(Err(if is_unusable { NoRun::Unusable } else { NoRun::NoRecord }))
}
