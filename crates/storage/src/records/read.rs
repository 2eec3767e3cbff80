//! Reading records.

use std::collections::{BTreeMap, HashMap};

use futures::TryStreamExt as _;
use larder_backend::{BackendExt as _, ErrorKind as BackendErrorKind, GetOptions, Key};
use larder_hashing::{CommandHash, OutputPath};
use larder_records::{InvalidRecord, MAX_BYTES, RunId, RunRecord, RunTime};

use super::keys::{RecordKeys, RecordRef, all_records};
use super::listing::{each_record, warn_foreign};
use crate::context::StorageContext;
use crate::error::Result;
use crate::tasks::few_at_once;

/// A run in the log of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRun {
    /// When it was recorded.
    pub time: RunTime,
    /// What it made, and from what.
    pub record: RunRecord,
}

/// Reads a run. Returns `None` if its record is gone, or is not a record that this version reads; then it warns once.
pub(crate) async fn read_run(context: &StorageContext, record: &RecordRef) -> Result<Option<LoggedRun>> {
    let Some(read) = read_record(context, &record.key).await? else { return Ok(None) };
    if read.id != record.name.run || read.command_hash != record.command_hash {
        warn_mismatch(context, &record.key);
        return Ok(None);
    }
    Ok(Some(LoggedRun { time: record.name.time, record: read }))
}

/// Warns about a record whose name and content disagree, once per storage.
pub(crate) fn warn_mismatch(context: &StorageContext, key: &Key) {
    warn_foreign(context, key, &"its content does not belong to its name");
}

async fn read_record(context: &StorageContext, key: &Key) -> Result<Option<RunRecord>> {
    let read = context.backend.get_bytes(key, GetOptions::default(), MAX_BYTES);
    match context.or_cancelled(read).await? {
        Ok(bytes) => match RunRecord::from_bytes(&bytes) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                warn_foreign(context, key, &error);
                Ok(None)
            }
        },
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) if error.kind() == BackendErrorKind::InvalidInput => {
            warn_foreign(context, key, &InvalidRecord::TooLarge);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The newest runs of a listing, with one record of each: all records of a run have the same content.
struct NewestRuns {
    runs: BTreeMap<(RunTime, RunId), RecordRef>,
    /// The time of each of these runs.
    times: HashMap<RunId, RunTime>,
    limit: usize,
}

impl NewestRuns {
    fn add(&mut self, record: RecordRef) {
        let (time, id) = (record.name.time, record.name.run);
        // The records of one run differ in time if one of its outputs had a later record than the machine's clock.
        if let Some(known) = self.times.get(&id).copied() {
            if known >= time {
                return;
            }
            self.runs.remove(&(known, id));
        }
        self.times.insert(id, time);
        self.runs.insert((time, id), record);
        if self.runs.len() > self.limit
            && let Some(((_, oldest), _)) = self.runs.pop_first()
        {
            self.times.remove(&oldest);
        }
    }
}

/// See [`crate::RemoteStorage::log`].
pub(crate) async fn log(
    context: &StorageContext,
    output: Option<&OutputPath>,
    command: Option<&CommandHash>,
    limit: usize,
) -> Result<Vec<LoggedRun>> {
    context.recover().await?;
    let prefix = match output {
        Some(output) => RecordKeys::of(output).prefix(command)?,
        None => all_records()?,
    };
    let mut newest = NewestRuns { runs: BTreeMap::new(), times: HashMap::new(), limit };
    each_record(context, &prefix, None, |record| {
        if command.is_none_or(|command| record.command_hash == *command) {
            newest.add(record);
        }
    })
    .await?;
    let read = newest.runs.values().rev().map(|record| read_run(context, record));
    let logged: Vec<Option<LoggedRun>> = few_at_once(read).try_collect().await?;
    Ok(logged.into_iter().flatten().collect())
}
