//! The runs of commands in this project: `.larder/runs/<command hash>` has the last one of each command.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use larder_hashing::CommandHash;
use larder_records::RunRecord;
use larder_tree::read_open_file;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::directory::{RUNS, StateDirectory};
use crate::error::{Error, Result};

/// The version of the format.
const FORMAT: u32 = 1;

/// The maximum size of a record here, in bytes. It has all outputs: 100,000 of them take about 30 MB.
const MAX_RECORD: usize = 64 << 20;

/// The maximum size of a file, in bytes: a record, and the names of executable files.
const MAX_FILE: u64 = 128 << 20;

/// The end of the name of a check.
const CHECK: &str = ".check";

/// The number of runs that are kept, about. The oldest are removed.
const MAX_RUNS: usize = 1_000;

/// The last run of a command in this project.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LocalRun {
    /// What it made, and from what.
    pub record: RunRecord,
    /// The remote that has it, if one has it.
    pub published_to: Option<String>,
    /// The outputs that are executable files. Content hashes of files do not cover that.
    pub(crate) executables: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct RunFile {
    format: u32,
    published: bool,
    remote: Option<String>,
    executables: BTreeSet<String>,
    /// The run record, as a remote has it.
    record: Value,
}

impl LocalRun {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let record = self.record.to_bytes_within(MAX_RECORD).map_err(Error::RecordContent)?;
        let file = RunFile {
            format: FORMAT,
            published: self.published_to.is_some(),
            remote: self.published_to.clone(),
            executables: self.executables.clone(),
            record: serde_json::from_slice(&record).unwrap_or(Value::Null),
        };
        Ok(serde_json::to_vec(&file).unwrap_or_default())
    }

    /// Returns `None` for another format. The command then runs again.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let file: RunFile = serde_json::from_slice(bytes).ok()?;
        let record = serde_json::to_vec(&file.record).ok()?;
        let record = RunRecord::from_bytes_within(&record, MAX_RECORD).ok()?;
        (file.format == FORMAT).then_some(Self {
            record,
            published_to: file.remote.filter(|_| file.published),
            executables: file.executables,
        })
    }
}

/// Reads the last run of a command, as a check or not. Returns `None` if there is none, or if its file is damaged.
pub(super) fn read_run(root: &Path, command: &CommandHash, is_check: bool) -> Result<Option<LocalRun>> {
    let Some(directory) = StateDirectory::open(root, &RUNS)? else { return Ok(None) };
    let name = file_name(command, is_check);
    let run = read(&directory, &name).map_err(Error::io("read", directory.path()))?;
    Ok(run.filter(|run| run.record.command_hash == *command))
}

/// Reads the newest runs of all commands, the newest first.
pub(super) fn newest_runs(
    root: &Path,
    limit: usize,
    is_wanted: impl Fn(&LocalRun) -> bool,
) -> Result<Vec<LocalRun>> {
    let Some(directory) = StateDirectory::open(root, &RUNS)? else { return Ok(Vec::new()) };
    let names = by_age(&directory)?;
    let runs = names.iter().rev().filter_map(|name| read(&directory, name).ok().flatten());
    Ok(runs.filter(is_wanted).take(limit).collect())
}

/// Writes the last run of a command.
pub(super) fn write_run(root: &Path, run: &LocalRun) -> Result<()> {
    let directory = StateDirectory::create(root, &RUNS)?;
    let name = file_name(&run.record.command_hash, run.record.outputs.is_empty());
    let bytes = run.to_bytes()?;
    directory.replace(&name, &bytes).map_err(Error::io("write", directory.path().join(&name)))?;
    let names = by_age(&directory)?;
    // They are removed a tenth at a time, so that not every run removes one.
    if names.len() > MAX_RUNS + MAX_RUNS / 10 {
        for old in &names[..names.len() - MAX_RUNS] {
            // A run that stays costs only space.
            directory.remove_file(old).ok();
        }
    }
    Ok(())
}

/// Returns the name of the file of a run. A check and a run with outputs may have the same key.
fn file_name(command: &CommandHash, is_check: bool) -> String {
    if is_check { format!("{command}{CHECK}") } else { command.to_string() }
}

fn read(directory: &StateDirectory, name: &str) -> io::Result<Option<LocalRun>> {
    let Some(file) = directory.open_regular(name)? else { return Ok(None) };
    match read_open_file(&file, MAX_FILE) {
        Ok(bytes) => Ok(LocalRun::from_bytes(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the names of the runs, the oldest first.
fn by_age(directory: &StateDirectory) -> Result<Vec<String>> {
    let names = directory.names()?.into_iter().filter_map(|name| name.into_string().ok());
    let mut dated: Vec<(SystemTime, String)> = names
        .filter(|name| CommandHash::parse(name.strip_suffix(CHECK).unwrap_or(name)).is_ok())
        .filter_map(|name| Some((directory.modified(&name)?, name)))
        .collect();
    dated.sort();
    Ok(dated.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use larder_records::{RunId, RunTime};

    use super::*;

    fn run(command: &str) -> LocalRun {
        let now = RunTime::from_millis(1_800_000_000_000);
        let record = RunRecord::new(RunId::random(), CommandHash::parse(command).unwrap(), now, now);
        LocalRun { record, published_to: None, executables: BTreeSet::from(["run.sh".to_owned()]) }
    }

    #[test]
    fn a_run_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let written = run("one");
        assert_eq!(read_run(dir.path(), &written.record.command_hash, true).unwrap(), None);
        write_run(dir.path(), &written).unwrap();
        assert_eq!(read_run(dir.path(), &written.record.command_hash, true).unwrap(), Some(written.clone()));
        let published = LocalRun { published_to: Some("s3://bucket".to_owned()), ..written };
        write_run(dir.path(), &published).unwrap();
        assert_eq!(newest_runs(dir.path(), 8, |_| true).unwrap(), [published]);
        assert_eq!(fs::read_dir(dir.path().join(".larder/runs")).unwrap().count(), 1);
    }

    #[test]
    fn damaged_and_foreign_files_count_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path(), &run("one")).unwrap();
        let path = |name: &str| dir.path().join(".larder/runs").join(format!("{name}.check"));
        let command = |name: &str| CommandHash::parse(name).unwrap();
        let text = fs::read_to_string(path("one")).unwrap();
        fs::write(path("two"), &text).unwrap();
        assert_eq!(read_run(dir.path(), &command("two"), true).unwrap(), None, "it is of another command");
        for damaged in [&text[..text.len() / 2], "", &text.replace("\"format\":1", "\"format\":2")] {
            fs::write(path("one"), damaged).unwrap();
            assert_eq!(read_run(dir.path(), &command("one"), true).unwrap(), None, "{damaged}");
        }
    }
}
