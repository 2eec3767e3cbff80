//! Explaining a run by the nearest other one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use futures::TryStreamExt as _;
use larder_hashing::{CommandHash, OutputPath};
use larder_records::{CommandManifest, Difference, RunRecord};

use super::keys::{RecordKeys, RecordRef};
use super::listing::list_records;
use super::read::{LoggedRun, read_run};
use crate::context::StorageContext;
use crate::error::Result;
use crate::find::list_matches;
use crate::options::FindOptions;
use crate::tasks::few_at_once;

/// How many of the newest commands are compared.
const COMPARED: usize = 8;

/// A run, and what differs from the nearest other run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhyReport {
    /// The run.
    pub run: LoggedRun,
    /// The nearest run of another command, if there is one.
    pub nearest: Option<NearestRun>,
    /// How many different contents of the output the run's command made.
    pub contents: u64,
}

/// The nearest run of another command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearestRun {
    /// The run.
    pub run: LoggedRun,
    /// What differs. `None` if one of the two records has no manifest of its command, as that of a push.
    pub differences: Option<Vec<Difference>>,
}

/// See [`crate::RemoteStorage::why`].
pub(crate) async fn why(
    context: &StorageContext,
    output: &OutputPath,
    command: Option<&CommandHash>,
) -> Result<WhyReport> {
    context.recover().await?;
    let mut records = list_records(context, &RecordKeys::of(output).prefix(None)?, None).await?.records;
    records.sort_unstable_by_key(|record| Reverse(record.name.time));
    let options = FindOptions { command_hash: command.cloned(), content_hash: None };
    let is_wanted = |record: &&RecordRef| command.is_none_or(|command| record.command_hash == *command);
    let mut found = None;
    for record in records.iter().filter(is_wanted) {
        found = read_run(context, record).await?;
        if found.is_some() {
            break;
        }
    }
    let run = found.ok_or_else(|| context.not_found(output, &options))?;
    report(context, Some(output), run, &records).await
}

/// Compares a run with the nearest one among the records.
async fn report(
    context: &StorageContext,
    output: Option<&OutputPath>,
    run: LoggedRun,
    records: &[RecordRef],
) -> Result<WhyReport> {
    let nearest = nearest(context, &run.record, records).await?;
    let contents = match output {
        Some(output) => {
            let command_hash = Some(run.record.command_hash.clone());
            let objects =
                list_matches(context, output, &FindOptions { command_hash, content_hash: None }).await?;
            objects.iter().map(|object| &object.content_hash).collect::<HashSet<_>>().len()
        }
        None => 0,
    };
    Ok(WhyReport { contents: contents as u64, run, nearest })
}

/// See [`crate::RemoteStorage::why_here`].
pub(crate) async fn why_here(context: &StorageContext, record: &RunRecord) -> Result<WhyReport> {
    context.recover().await?;
    let output = record.outputs.first().map(|output| &output.path);
    let keys = output.map_or_else(RecordKeys::of_checks, RecordKeys::of);
    let mut records = list_records(context, &keys.prefix(None)?, None).await?.records;
    records.sort_unstable_by_key(|record| Reverse(record.name.time));
    let run = LoggedRun { time: record.finished, record: record.clone() };
    report(context, output, run, &records).await
}

/// Finds the run that shares the most inputs, among the newest runs of other commands. `records` has the newest first.
pub(crate) async fn nearest(
    context: &StorageContext,
    record: &RunRecord,
    records: &[RecordRef],
) -> Result<Option<NearestRun>> {
    let mut commands = BTreeSet::from([&record.command_hash]);
    let newest_of_each = records.iter().filter(|record| commands.insert(&record.command_hash)).take(COMPARED);
    let others: Vec<Option<LoggedRun>> =
        few_at_once(newest_of_each.map(|record| read_run(context, record))).try_collect().await?;
    let manifest = manifest_of(record);
    let nearest = others.into_iter().flatten().rev().max_by_key(|other| {
        manifest_of(&other.record).zip(manifest.as_ref()).map(|(other, own)| own.common_lines(&other))
    });
    Ok(nearest.map(|run| {
        let before = manifest_of(&run.record);
        let differences = manifest.as_ref().zip(before).map(|(own, before)| own.differences(&before));
        NearestRun { run, differences }
    }))
}

/// Reads the manifest of a record's command, with the trees that it has.
pub(crate) fn manifest_of(record: &RunRecord) -> Option<CommandManifest> {
    let mut manifest = CommandManifest::parse(record.details.manifest.as_deref()?)?;
    for dependency in &record.details.dependencies {
        if let Some(tree) = &dependency.manifest {
            manifest.add_tree(dependency.name.clone(), tree.clone());
        }
    }
    Some(manifest)
}
