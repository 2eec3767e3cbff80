//! Saying why a command has to run.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use larder_records::{Difference, RunRecord};

use super::command_run::CommandRun;
use crate::error::Result;
use crate::records::{RecordKeys, list_records, manifest_of, nearest};
use crate::state::LocalRun;

/// How many of the newest runs here are compared.
const COMPARED: usize = 8;

/// Why a command has to run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissReason {
    /// No earlier run made these outputs, as far as is known.
    First,
    /// The inputs differ from those of the nearest earlier run.
    Inputs(Vec<Difference>),
    /// The last run of this command here made other outputs than those that are there.
    Outputs,
}

impl CommandRun<'_> {
    /// Says why the command has to run: how its inputs differ from those of the nearest earlier run, here or in the remote.
    pub async fn explain(&self, timeout: Duration, ask_remote: bool) -> MissReason {
        explain(self, timeout, ask_remote).await
    }
}

async fn explain(run: &CommandRun<'_>, timeout: Duration, ask_remote: bool) -> MissReason {
    let now = SystemTime::now().into();
    let request = &run.request;
    let mut own = RunRecord::new(larder_records::RunId::random(), request.command_hash.clone(), now, now);
    own.details = request.details.clone();
    // An explanation is not worth a failure.
    if let Ok(Some(_)) = run.context.state.last_run(&request.command_hash, request.outputs.is_empty()) {
        return MissReason::Outputs;
    }
    let differences = match nearest_here(run, &own) {
        Ok(Some(differences)) => Some(differences),
        _ if ask_remote => run.within(timeout, nearest_in_remote(run, &own)).await.ok().flatten(),
        _ => None,
    };
    match differences {
        Some(differences) if !differences.is_empty() => MissReason::Inputs(differences),
        _ => MissReason::First,
    }
}

/// Compares with the nearest run in this project that made the same outputs.
fn nearest_here(run: &CommandRun<'_>, own: &RunRecord) -> Result<Option<Vec<Difference>>> {
    let request = &run.request;
    let is_other = |other: &LocalRun| {
        let outputs = &other.record.outputs;
        other.record.command_hash != request.command_hash
            && match request.outputs.as_slice() {
                [] => outputs.is_empty() && other.record.details.command == own.details.command,
                [first, ..] => outputs.iter().any(|output| output.path.as_str() == first.as_str()),
            }
    };
    let Some(manifest) = manifest_of(own) else { return Ok(None) };
    let others = run.context.state.newest_runs(COMPARED, is_other)?;
    let manifests = others.iter().rev().filter_map(|other| manifest_of(&other.record));
    let nearest = manifests.max_by_key(|other| manifest.common_lines(other));
    Ok(nearest.map(|before| manifest.differences(&before)))
}

/// Compares with the nearest run in the remote that made the first output.
async fn nearest_in_remote(run: &CommandRun<'_>, own: &RunRecord) -> Result<Option<Vec<Difference>>> {
    let Some(first) = run.request.outputs.first() else { return Ok(None) };
    let prefix = RecordKeys::of(first).prefix(None)?;
    let mut records = list_records(run.context, &prefix, None).await?.records;
    records.sort_unstable_by_key(|record| Reverse(record.name.time));
    Ok(nearest(run.context, own, &records).await?.and_then(|nearest| nearest.differences))
}
