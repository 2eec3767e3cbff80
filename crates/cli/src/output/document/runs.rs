//! The entries of runs: `larder log` and `larder why`.

use std::collections::BTreeMap;

use larder_storage::{Change, Difference, LoggedRun, OutputPath, RunRecord, RunTime, WhyReport};
use serde::Serialize;

use crate::output::text;

/// A run in the log.
#[derive(Debug, Serialize)]
pub(crate) struct LogEntry {
    run: String,
    time: Option<String>,
    command_hash: String,
    /// The arguments. `null` for a push.
    command: Option<Vec<String>>,
    cwd: String,
    keys: BTreeMap<String, String>,
    env: Vec<String>,
    outputs: Vec<RecordedEntry>,
    seconds: f64,
    incremental: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    git: Option<GitEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ci_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

#[derive(Debug, Serialize)]
struct RecordedEntry {
    path: String,
    content_hash: String,
    /// The size of the object.
    bytes: u64,
    content_bytes: u64,
    files: u64,
}

#[derive(Debug, Serialize)]
struct GitEntry {
    commit: String,
    dirty: Option<bool>,
}

impl LogEntry {
    pub(crate) fn new(run: &LoggedRun) -> Self {
        let RunRecord { id, command_hash, started, finished, outputs, details, .. } = &run.record;
        let outputs = outputs.iter().map(|output| RecordedEntry {
            path: output.path.as_str().to_owned(),
            content_hash: output.content_hash.to_string(),
            bytes: output.object_bytes,
            content_bytes: output.content_bytes,
            files: output.files,
        });
        Self {
            run: id.to_string(),
            time: text::time(run.time.as_system_time()),
            command_hash: command_hash.to_string(),
            command: details.command.clone(),
            cwd: details.cwd.clone(),
            keys: details.keys.clone(),
            env: details.env.clone(),
            outputs: outputs.collect(),
            seconds: seconds_between(*started, *finished),
            incremental: details.incremental,
            git: details.git.clone().map(|git| GitEntry { commit: git.commit, dirty: git.dirty }),
            ci_url: details.ci_url.clone(),
            user: details
                .identity
                .as_ref()
                .map(|identity| identity.user.clone())
                .filter(|user| !user.is_empty()),
            host: details.identity.as_ref().map(|identity| identity.host.clone()),
        }
    }
}

fn seconds_between(started: RunTime, finished: RunTime) -> f64 {
    std::time::Duration::from_millis(finished.as_millis().saturating_sub(started.as_millis())).as_secs_f64()
}

/// The explanation of an output's command hash.
#[derive(Debug, Serialize)]
pub(crate) struct WhyEntry {
    /// `null` for a check, and if no output was named.
    path: Option<String>,
    run: String,
    command_hash: String,
    /// The number of different contents that this command made.
    contents: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<NearestEntry>,
}

#[derive(Debug, Serialize)]
struct NearestEntry {
    run: String,
    command_hash: String,
    /// `null` if one of the two has no manifest.
    differences: Option<Vec<DifferenceEntry>>,
}

#[derive(Debug, Default, Serialize)]
struct DifferenceEntry {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileEntry>,
}

#[derive(Debug, Serialize)]
struct FileEntry {
    path: String,
    change: &'static str,
}

impl WhyEntry {
    pub(crate) fn new(path: Option<&OutputPath>, report: &WhyReport) -> Self {
        Self {
            path: path.map(|path| path.as_str().to_owned()),
            run: report.run.record.id.to_string(),
            command_hash: report.run.record.command_hash.to_string(),
            contents: report.contents,
            nearest: report.nearest.as_ref().map(|nearest| NearestEntry {
                run: nearest.run.record.id.to_string(),
                command_hash: nearest.run.record.command_hash.to_string(),
                differences: nearest
                    .differences
                    .as_ref()
                    .map(|differences| differences.iter().map(difference).collect()),
            }),
        }
    }
}

fn difference(difference: &Difference) -> DifferenceEntry {
    let of_kind = |kind| DifferenceEntry { kind, ..DifferenceEntry::default() };
    match difference.clone() {
        Difference::Site => of_kind("site"),
        Difference::Environment => of_kind("env"),
        Difference::Directory { before, after } => {
            DifferenceEntry { before: Some(before), after: Some(after), ..of_kind("cwd") }
        }
        Difference::Key { name, before, after } => {
            DifferenceEntry { name: Some(name), before, after, ..of_kind("key") }
        }
        Difference::Dependency { path, change, files } => {
            let file = |(path, change): (String, Change)| FileEntry { path, change: change.name() };
            let files = files.into_iter().map(file).collect();
            DifferenceEntry { name: Some(path), change: Some(change.name()), files, ..of_kind("dep") }
        }
        Difference::Arguments { before, after } => {
            let joined = |args: Vec<String>| Some(args.join(" "));
            DifferenceEntry { before: joined(before), after: joined(after), ..of_kind("arg") }
        }
        _ => of_kind("unknown"),
    }
}
