//! The keys of run records: `.larder/1/runs/<encoded output path>/<command hash>/<name of the record>`.

use std::time::{Duration, SystemTime};

use larder_backend::{InvalidKey, Key, ObjectMeta, Prefix};
use larder_hashing::{CommandHash, OutputPath};
use larder_records::{RecordName, RunTime};

use crate::error::Result;

/// The prefix of all records.
const RUNS: &str = ".larder/1/runs";

/// How far the time of a record may be ahead of both clocks, the remote's and this machine's.
pub(super) const MAX_AHEAD: Duration = Duration::from_hours(24);

/// The keys of the records of one output.
#[derive(Clone, Debug)]
pub(crate) struct RecordKeys {
    parent: String,
}

/// A record in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordRef {
    pub(crate) key: Key,
    pub(crate) command_hash: CommandHash,
    pub(crate) name: RecordName,
}

impl RecordKeys {
    /// The keys of the records of an output.
    pub(crate) fn of(output: &OutputPath) -> Self {
        Self { parent: format!("{RUNS}/{}", output.encoded()) }
    }

    /// The keys of the records of checks: of runs without outputs. No encoded path begins with `%n`.
    pub(crate) fn of_checks() -> Self {
        Self { parent: format!("{RUNS}/%none") }
    }

    /// The key of one record. An error means that the key is too long.
    pub(crate) fn key(&self, command: &CommandHash, name: &RecordName) -> Result<Key, InvalidKey> {
        Key::parse(format!("{}/{command}/{name}", self.parent))
    }

    /// The prefix of all records of the output, or of those of one command.
    pub(crate) fn prefix(&self, command: Option<&CommandHash>) -> Result<Prefix, InvalidKey> {
        Prefix::parse(match command {
            Some(command) => format!("{}/{command}", self.parent),
            None => self.parent.clone(),
        })
    }
}

/// The prefix of the records of all outputs.
pub(crate) fn all_records() -> Result<Prefix, InvalidKey> {
    Prefix::parse(RUNS)
}

impl RecordRef {
    /// Reads an item of a listing of records. The error says why it is not one.
    pub(crate) fn read(meta: &ObjectMeta, now: SystemTime) -> Result<Self, &'static str> {
        let segments: Vec<&str> = meta.key.segments().collect();
        let [_, _, _, _, command, name] = segments.as_slice() else {
            return Err("it is not below <output>/<command hash>/");
        };
        let command_hash = CommandHash::parse(*command).map_err(|_| "it is not below a command hash")?;
        let name: RecordName = name.parse().map_err(|_| "its name is not that of a run record")?;
        if meta.size == 0 {
            return Err("it is empty");
        }
        // The time of a file may be so late that no later one can be computed. A `RunTime` has a maximum.
        let latest = RunTime::from(now.max(meta.last_modified)).later_by(MAX_AHEAD);
        if name.time > latest {
            return Err("its time is more than a day in the future");
        }
        Ok(Self { key: meta.key.clone(), command_hash, name })
    }
}

#[cfg(test)]
mod tests {
    use larder_records::RunId;

    use super::*;

    fn read(key: &str, published: SystemTime, now: SystemTime) -> Result<RecordRef, &'static str> {
        RecordRef::read(&ObjectMeta::new(Key::parse(key).unwrap(), 1, published), now)
    }

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let now = SystemTime::now();
        let name =
            RecordName { time: now.into(), run: RunId::random(), content_hash: RecordName::no_content() };
        let command = CommandHash::parse("nightly").unwrap();
        let output = OutputPath::new("models/en").unwrap();
        let keys = RecordKeys::of(&output);
        let key = keys.key(&command, &name).unwrap();
        assert!(key.below(&keys.prefix(Some(&command)).unwrap()).is_some());
        assert!(key.below(&keys.prefix(None).unwrap()).is_some());
        let found = read(key.as_str(), now, now).unwrap();
        assert_eq!(found, RecordRef { key, command_hash: command, name });
    }

    #[test]
    fn a_time_may_be_ahead_of_one_clock_but_not_of_both() {
        let hours = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3_600);
        let name = RecordName {
            time: hours(1_000).into(),
            run: RunId::random(),
            content_hash: RecordName::no_content(),
        };
        let key = format!(".larder/1/runs/m/c/{name}");
        assert!(read(&key, hours(1_000), hours(0)).is_ok());
        assert!(read(&key, hours(0), hours(1_000)).is_ok());
        assert!(read(&key, hours(976), hours(976)).is_ok());
        assert!(read(&key, hours(975), hours(975)).is_err());
        let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX.unsigned_abs());
        assert!(read(&key, latest, hours(0)).is_ok(), "a file system may have such times");
    }

    #[test]
    fn foreign_keys_are_refused() {
        let now = SystemTime::now();
        for key in [
            ".larder/1/runs/m",
            ".larder/1/runs/m/c/deeper/8200000000000.00000000deadbeef.h.json",
            ".larder/1/runs/m/a.b/8200000000000.00000000deadbeef.h.json",
            ".larder/1/runs/m/c/.DS_Store",
        ] {
            assert!(read(key, now, now).is_err(), "{key}");
        }
    }
}
