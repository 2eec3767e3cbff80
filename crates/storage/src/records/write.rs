//! Writing records.

use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use larder_backend::{ErrorKind as BackendErrorKind, Key, PutMode, PutOptions};
use larder_hashing::{CommandHash, Scheme};
use larder_records::{InvalidRecord, RecordName, RecordedOutput, RunDetails, RunId, RunRecord, RunTime};

use super::keys::{MAX_AHEAD, RecordKeys};
use super::listing::{first_page, list_records};
use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::outcome::Pushed;
use crate::report::Warning;

/// How many records are written at once. A record is a small object, and its upload waits for the server.
const WRITES_AT_ONCE: usize = 16;

/// How many outputs a record lists. Every output has a record, so with all outputs in each of them the records of a run
/// would grow with the square of their number: 500 outputs had 64 MB.
const MAX_LISTED: usize = 100;

/// Records that a push published outputs. Returns the run, unless nothing is recorded.
///
/// Nothing is recorded under weasel's scheme, because weasel knows no records.
pub(crate) async fn record_push(
    context: &StorageContext,
    command: &CommandHash,
    pushed: Vec<Pushed>,
    details: &RunDetails,
    started: SystemTime,
) -> Result<Option<RunId>> {
    if pushed.is_empty() || context.options.scheme == Scheme::Weasel {
        return Ok(None);
    }
    let (started, finished) = (started.into(), SystemTime::now().into());
    let mut run = RunRecord::new(RunId::random(), command.clone(), started, finished);
    run.details = details.clone();
    record_outputs(context, &run, pushed).await?;
    Ok(Some(run.id))
}

/// Records that a run published outputs: one record per output. Each lists at most [`MAX_LISTED`] outputs, and all have
/// the id of the run. The outputs of `run` do not matter.
///
/// # Errors
///
/// [`Error::Record`].
pub(crate) async fn record_outputs(
    context: &StorageContext,
    run: &RunRecord,
    mut pushed: Vec<Pushed>,
) -> Result<()> {
    pushed.sort_unstable_by(|a, b| a.output.cmp(&b.output));
    let write = async {
        for part in pushed.chunks(MAX_LISTED) {
            write_part(context, run, part).await?;
        }
        Ok(())
    };
    match write.await {
        Ok(()) => Ok(()),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(error) => Err(Error::Record {
            published: pushed.iter().map(|pushed| pushed.output.clone()).collect(),
            source: Box::new(error),
        }),
    }
}

/// Records a check: a run without outputs that succeeded.
pub(crate) async fn record_check(context: &StorageContext, run: &RunRecord) -> Result<()> {
    let keys = RecordKeys::of_checks();
    let prefix = keys.prefix(Some(&run.command_hash))?;
    let listing = list_records(context, &prefix, first_page(context)).await?;
    let newest = listing.records.iter().map(|record| record.name.time).max();
    let time = time_after(newest);
    let name = RecordName { time, run: run.id, content_hash: RecordName::no_content() };
    let bytes = run.to_bytes().map_err(Error::RecordContent)?;
    put_record(context, keys.key(&run.command_hash, &name)?, time, bytes.into()).await
}

/// Returns the time of a new record. A later push is later, whatever the clocks say.
fn time_after(newest: Option<RunTime>) -> RunTime {
    let now = RunTime::from(SystemTime::now());
    newest.map_or(now, |newest| newest.next().max(now))
}

/// Writes the records of some outputs of a run, all with the same bytes.
async fn write_part(context: &StorageContext, run: &RunRecord, pushed: &[Pushed]) -> Result<()> {
    let mut record = run.clone();
    record.outputs = pushed.iter().map(recorded).collect();
    let bytes = match record.to_bytes() {
        Ok(bytes) => Bytes::from(bytes),
        Err(InvalidRecord::TooLarge) if pushed.len() > 1 => {
            let (first, rest) = pushed.split_at(pushed.len() / 2);
            Box::pin(write_part(context, run, first)).await?;
            return Box::pin(write_part(context, run, rest)).await;
        }
        Err(error) => return Err(Error::RecordContent(error)),
    };
    let mut keys = Vec::new();
    for pushed in pushed {
        let time = time_after(pushed.newest_record);
        let name = RecordName { time, run: run.id, content_hash: pushed.content_hash.clone() };
        match RecordKeys::of(&pushed.output).key(&run.command_hash, &name) {
            Ok(key) => keys.push((key, time)),
            Err(_) => context.warn_once(&Warning::NotRecorded { output: pushed.output.clone() }),
        }
    }
    let writes: Vec<_> =
        keys.into_iter().map(|(key, time)| put_record(context, key, time, bytes.clone())).collect();
    stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

fn recorded(pushed: &Pushed) -> RecordedOutput {
    RecordedOutput {
        path: pushed.output.clone(),
        content_hash: pushed.content_hash.clone(),
        object_bytes: pushed.bytes,
        content_bytes: pushed.content_bytes,
        files: pushed.files,
        executable: pushed.executable,
    }
}

async fn put_record(context: &StorageContext, key: Key, time: RunTime, bytes: Bytes) -> Result<()> {
    let options = PutOptions::new(PutMode::CreateOnly)
        .with_size_hint(bytes.len() as u64)
        .with_journal(context.upload_journal());
    let mut upload = context.or_cancelled(context.backend.begin_put(&key, options)).await??;
    if let Err(error) = context.or_cancelled(upload.write(bytes)).await.and_then(|written| Ok(written?)) {
        // The caller gets the first error. A later sweep removes what the abort leaves behind.
        upload.abort().await.ok();
        return Err(error);
    }
    match context.or_cancelled(upload.commit()).await? {
        Ok(meta) => {
            if time > RunTime::from(meta.last_modified).later_by(MAX_AHEAD) {
                context.warn_once(&Warning::ClockAhead { remote: context.backend.to_string() });
            }
            Ok(())
        }
        // The id of the run is in the name, so this is the record itself: an earlier answer was lost.
        Err(error) if error.kind() == BackendErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}
