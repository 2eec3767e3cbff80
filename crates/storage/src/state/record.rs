//! The records of a journal, one per line: a checksum, a space, and the record as JSON.
//!
//! A full disk or a crash can leave an incomplete line. Its checksum is wrong, and readers skip only that
//! line.

use std::io;
use std::path::PathBuf;

use larder_hashing::Scheme;
use serde::{Deserialize, Serialize};

use super::identity::FileIdentity;

/// The version of the format. The first record of a journal names it.
pub(super) const FORMAT: u32 = 2;

/// The number of hex digits of the record's digest that form the checksum.
const CHECKSUM_DIGITS: usize = 16;

/// Something that a process has open. Later versions may add kinds. A journal with an unknown record is not
/// touched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum JournalRecord {
    /// The first record, which identifies the journal file and its project. A journal that came with a
    /// checkout or an archive names another file, and is ignored.
    Owner {
        format: u32,
        #[serde(with = "path_text")]
        root: PathBuf,
        inode: u64,
    },
    /// A staging directory outside `.larder/tmp` is about to be created.
    Staging {
        #[serde(with = "path_text")]
        path: PathBuf,
    },
    /// Parent directories of the destinations of a placing are about to be created, outermost first.
    Parents {
        placing: u64,
        #[serde(with = "paths_text")]
        paths: Vec<PathBuf>,
    },
    /// Staged outputs are about to be moved into place, as one unit.
    Placing { placing: u64, moves: Vec<Move> },
    /// A command is about to make outputs. Their previous versions are about to be moved aside.
    Aside { placing: u64, outputs: Vec<AsideOutput> },
    /// All outputs of this placing are in place, or all previous versions were moved back.
    Settled { placing: u64 },
    /// An upload is open.
    UploadOpened { remote: String, token: String },
    /// The upload was committed or aborted.
    UploadClosed { remote: String, token: String },
}

/// A move of a staged output to its destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    #[serde(with = "path_text")]
    pub(super) staged: PathBuf,
    #[serde(with = "path_text")]
    pub(super) destination: PathBuf,
    #[serde(with = "path_text")]
    pub(super) backup: PathBuf,
    /// Distinguishes the staged output from the previous one after an exchange.
    pub(super) new: FileIdentity,
    /// The version at the destination that is to be replaced.
    pub(super) previous: Option<FileIdentity>,
}

/// An output that a command makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AsideOutput {
    /// The path of the output, relative to the project root.
    pub(super) output: String,
    #[serde(with = "path_text")]
    pub(super) destination: PathBuf,
    /// Where the previous version is. Empty if there is none.
    #[serde(with = "path_text")]
    pub(super) aside: PathBuf,
    /// The previous version.
    pub(super) previous: Option<FileIdentity>,
}

/// A line of a journal.
#[derive(Debug, PartialEq)]
pub(super) enum JournalLine {
    Record(JournalRecord),
    /// It is incomplete or damaged.
    Torn,
    /// A newer version wrote it.
    Unknown,
}

impl JournalRecord {
    /// Returns the line of the record, with its line break.
    pub(super) fn to_line(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut line = checksum(&json).into_bytes();
        line.push(b' ');
        line.extend_from_slice(&json);
        line.push(b'\n');
        Ok(line)
    }
}

impl JournalLine {
    /// Reads a line without its line break.
    pub(super) fn parse(line: &[u8]) -> Self {
        let Some((sum, json)) = line.split_at_checked(CHECKSUM_DIGITS) else { return Self::Torn };
        let Some(json) = json.strip_prefix(b" ") else { return Self::Torn };
        if checksum(json).as_bytes() != sum {
            return Self::Torn;
        }
        serde_json::from_slice(json).map_or(Self::Unknown, Self::Record)
    }
}

fn checksum(json: &[u8]) -> String {
    let mut digest = Scheme::Blake3.digest(json).to_string();
    digest.truncate(CHECKSUM_DIGITS);
    digest
}

/// Appends records to a journal.
#[derive(Debug)]
pub(super) struct RecordWriter<W> {
    out: W,
    /// Whether the last line may be incomplete.
    is_torn: bool,
}

impl<W: io::Write> RecordWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, is_torn: false }
    }

    /// Appends a record. After a failure, the next record begins on a new line.
    pub(super) fn append(&mut self, record: &JournalRecord) -> io::Result<()> {
        let mut line = record.to_line()?;
        if self.is_torn {
            line.insert(0, b'\n');
        }
        self.is_torn = true;
        self.out.write_all(&line)?;
        self.is_torn = false;
        Ok(())
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.out
    }
}

/// Serializes paths in JSON. Bytes that are not plain text are percent-encoded.
mod path_text {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Bytes outside ASCII are encoded as well.
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

    pub(super) fn encode(path: &Path) -> String {
        percent_encode(path.as_os_str().as_bytes(), ENCODED).to_string()
    }

    pub(super) fn decode(text: &str) -> PathBuf {
        OsString::from_vec(percent_decode_str(text).collect()).into()
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(path))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(decode(&String::deserialize(deserializer)?))
    }
}

mod paths_text {
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::path_text;

    pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(|path| path_text::encode(path)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<String>::deserialize(deserializer)?.iter().map(|text| path_text::decode(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn read(text: &[u8]) -> Vec<JournalLine> {
        text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').map(JournalLine::parse).collect()
    }

    #[test]
    fn records_survive_strange_paths() {
        let path = PathBuf::from(OsStr::from_bytes(b"/x/\xff %41\n"));
        let record = JournalRecord::Staging { path };
        assert_eq!(read(&record.to_line().unwrap()), [JournalLine::Record(record)]);
    }

    /// Writes half of the third line, and then reports a full disk for one call.
    struct FullDisk {
        written: Vec<u8>,
        calls: u32,
    }

    impl io::Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            let taken = match self.calls {
                3 => bytes.len() / 2,
                4 => return Err(io::ErrorKind::StorageFull.into()),
                _ => bytes.len(),
            };
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_torn_line_loses_itself_only() {
        let mut writer = RecordWriter::new(FullDisk { written: Vec::new(), calls: 0 });
        let outcomes: Vec<bool> =
            (0..5).map(|placing| writer.append(&JournalRecord::Settled { placing }).is_ok()).collect();
        assert_eq!(outcomes, [true, true, false, true, true]);
        let settled = |placing| JournalLine::Record(JournalRecord::Settled { placing });
        let expected = [settled(0), settled(1), JournalLine::Torn, settled(3), settled(4)];
        assert_eq!(read(&writer.get_ref().written), expected);
    }

    #[test]
    fn damaged_lines_are_torn_and_those_of_later_versions_unknown() {
        let mut line = JournalRecord::Settled { placing: 1 }.to_line().unwrap();
        line.pop();
        for len in 0..line.len() {
            assert_eq!(JournalLine::parse(&line[..len]), JournalLine::Torn);
        }
        let json = b"{\"record\":\"from a later version\"}";
        let later = [checksum(json).as_bytes(), b" ", json].concat();
        assert_eq!(JournalLine::parse(&later), JournalLine::Unknown);
    }
}
