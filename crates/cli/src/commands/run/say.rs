//! The texts of a run, for people.

use std::path::Path;
use std::time::SystemTime;

use larder_storage::{
    BroughtBack, FoundRun, MissReason, NoRun, PullOutcome, Pulled, PushOutcome, Pushed, RunRecord, RunTime,
};

use crate::commands::why;
use crate::foreground::EndedCommand;
use crate::output::text::{age, duration, size};

/// How many outputs are named.
const NAMED: usize = 5;

/// Names outputs in one line.
fn names<'a>(outputs: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = outputs.len().saturating_sub(NAMED);
    let text = outputs.take(NAMED).collect::<Vec<_>>().join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

/// Says when a command ran, and how long it took.
fn history(record: &RunRecord) -> String {
    let ago = age(record.finished.as_system_time(), SystemTime::now());
    format!("{ago} in {}", duration(record.duration()))
}

pub(super) fn up_to_date(record: &RunRecord) -> String {
    if record.outputs.is_empty() {
        return format!("up to date: the check passed {}", history(record));
    }
    let outputs = names(record.outputs.iter().map(|output| output.path.as_str()));
    format!("up to date: {outputs} (made {})", history(record))
}

pub(super) fn passed(found: &FoundRun) -> String {
    format!("the check passed {}", history(&found.run.record))
}

pub(super) fn would_restore(found: &FoundRun) -> String {
    let record = &found.run.record;
    if found.objects.is_empty() {
        return passed(found);
    }
    let outputs = names(record.outputs.iter().map(|output| output.path.as_str()));
    format!("would restore {outputs}, made {}", history(record))
}

pub(super) fn restored(found: &FoundRun, pulled: &[Pulled], remote: &str) -> String {
    let history = history(&found.run.record);
    let restored: Vec<&Pulled> =
        pulled.iter().filter(|pulled| pulled.outcome == PullOutcome::Restored).collect();
    let Some(first) = restored.first() else {
        let outputs = names(pulled.iter().map(|pulled| pulled.output.as_str()));
        return format!("up to date: {outputs} (made {history})");
    };
    let bytes = restored.iter().filter_map(|pulled| pulled.content_bytes).sum();
    let outputs = names(restored.iter().map(|pulled| pulled.output.as_str()));
    let took = duration(first.elapsed);
    format!("restored {outputs} ← {remote}  {} in {took} (made {history})", size(bytes))
}

pub(super) fn published(pushed: &Pushed, remote: &str) -> String {
    match pushed.outcome {
        PushOutcome::AlreadyPresent => format!("already present: {} → {remote}", pushed.output),
        PushOutcome::Uploaded => {
            let size = size(pushed.content_bytes);
            format!("published {} → {remote}  {size} in {}", pushed.output, duration(pushed.elapsed))
        }
    }
}

/// Says why the command runs, after "because".
pub(super) fn reason(reason: &MissReason) -> String {
    let differences = match reason {
        MissReason::Inputs(differences) => differences,
        MissReason::Outputs => return "its outputs are not those of its last run".to_owned(),
        _ => return "this is the first run of this command".to_owned(),
    };
    let Some(first) = differences.first() else { return "its inputs changed".to_owned() };
    let text = why::sentence(first);
    match differences.len() - 1 {
        0 => text,
        1 => format!("{text}, and another input differs"),
        more => format!("{text}, and {more} more inputs differ"),
    }
}

/// Says what is wrong in the remote if it has a record of the command.
pub(super) fn unusable(no_run: &NoRun) -> Option<String> {
    match no_run {
        NoRun::Unusable => Some("the run records of this command cannot be used".to_owned()),
        NoRun::Gone { output } => Some(format!("the object of {output} is gone from the remote")),
        _ => None,
    }
}

pub(super) fn failed(ended: &EndedCommand) -> String {
    if ended.status.success() {
        return "the command was interrupted, so its outputs may not be complete".to_owned();
    }
    match ended.status.code() {
        Some(code) => format!("the command failed with exit code {code}"),
        None => format!("the command was ended by signal {}", ended.code() - 128),
    }
}

/// Says what happened to an output after its command has failed.
pub(super) fn back(back: &BroughtBack, root: &Path) -> Option<String> {
    let failed = back.failed.as_ref().map(|failed| {
        let failed = failed.strip_prefix(root).unwrap_or(failed);
        format!("it left {} in {}", back.output, failed.display())
    });
    let previous = back.has_previous.then(|| format!("the previous version of {} is back", back.output));
    match (failed, previous) {
        (Some(failed), Some(previous)) => Some(format!("{failed}, and {previous}")),
        (one, other) => one.or(other),
    }
}

/// Says how long it is until a moment.
pub(super) fn until(moment: RunTime) -> String {
    let left = moment.as_system_time().duration_since(SystemTime::now()).unwrap_or_default();
    duration(left)
}
