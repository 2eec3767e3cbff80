//! The journal of a process that died.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_backend::UploadToken;
use larder_hashing::OutputPath;
use larder_tree::STAGING_PREFIX;
use larder_tree::read_open_file;
use rustix::io::Errno;

use super::directory::StateDirectory;
use super::journal::{is_journal_id, owner};
use super::lock::lock_if_dead;
use super::record::{AsideOutput, JournalLine, JournalRecord, Move};
use crate::error::{Error, Result};
use crate::place::lock_path;

/// The largest journal that is read, in bytes. A push of a hundred thousand outputs writes about 40 MB.
const MAX_JOURNAL: u64 = 64 << 20;

/// The journal of a dead process, locked by this one.
#[derive(Debug)]
pub(super) struct DeadJournal {
    directory: Arc<StateDirectory>,
    name: String,
    file: File,
    records: Vec<JournalRecord>,
}

/// The result of opening a file in the journal directory.
pub(super) enum OpenedJournal {
    Dead(DeadJournal),
    /// Its process is alive, or the file was just removed.
    InUse,
    /// It is not a journal of this project, or a newer version wrote it.
    Foreign,
}

/// A placing that was in progress when the process died.
#[derive(Debug, PartialEq)]
pub(super) struct Unsettled<'a> {
    pub(super) placing: u64,
    /// The directories that were created for it, outermost first.
    pub(super) parents: &'a [PathBuf],
    pub(super) moves: &'a [Move],
}

impl DeadJournal {
    pub(super) fn open(directory: &Arc<StateDirectory>, root: &Path, name: &OsStr) -> Result<OpenedJournal> {
        let Some(name) = name.to_str().filter(|name| is_journal_id(name)) else {
            return Ok(OpenedJournal::Foreign);
        };
        let path = directory.path().join(name);
        let file = match directory.open_regular_to_write(name) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Errno::ACCESS | Errno::PERM | Errno::LOOP) => return Ok(OpenedJournal::Foreign),
            Err(Errno::NOENT) => return Ok(OpenedJournal::InUse),
            Err(error) => return Err(Error::io("open", &path)(error.into())),
        };
        if !lock_if_dead(&file, directory, name).map_err(Error::io("lock", &path))? {
            return Ok(OpenedJournal::InUse);
        }
        let text = match read_open_file(&file, MAX_JOURNAL) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Ok(OpenedJournal::Foreign),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let expected = owner(&file, root).map_err(Error::io("look at", &path))?;
        let Some(records) = read_records(&text, &expected) else { return Ok(OpenedJournal::Foreign) };
        Ok(OpenedJournal::Dead(Self {
            directory: Arc::clone(directory),
            name: name.to_owned(),
            file,
            records,
        }))
    }

    pub(super) fn id(&self) -> &str {
        &self.name
    }

    /// Returns the placings that were not settled, in the order of their beginning.
    pub(super) fn unsettled(&self) -> Vec<Unsettled<'_>> {
        let settled: HashSet<u64> = self.records.iter().filter_map(JournalRecord::as_settled).collect();
        let mut found: Vec<Unsettled<'_>> = Vec::new();
        let mut indices: HashMap<u64, usize> = HashMap::new();
        for record in &self.records {
            let (placing, new_parents, new_moves) = match record {
                JournalRecord::Parents { placing, paths } => (*placing, paths.as_slice(), &[][..]),
                JournalRecord::Placing { placing, moves } => (*placing, &[][..], moves.as_slice()),
                _ => continue,
            };
            if settled.contains(&placing) {
                continue;
            }
            let index = *indices.entry(placing).or_insert_with(|| {
                found.push(Unsettled { placing, parents: &[], moves: &[] });
                found.len() - 1
            });
            if !new_parents.is_empty() {
                found[index].parents = new_parents;
            }
            if !new_moves.is_empty() {
                found[index].moves = new_moves;
            }
        }
        found
    }

    /// Returns the outputs of each command that was running, or whose end was not settled.
    pub(super) fn unsettled_commands(&self) -> Vec<&[AsideOutput]> {
        let settled: HashSet<u64> = self.records.iter().filter_map(JournalRecord::as_settled).collect();
        let unsettled = self.records.iter().filter_map(|record| match record {
            JournalRecord::Aside { placing, outputs } if !settled.contains(placing) => {
                Some(outputs.as_slice())
            }
            _ => None,
        });
        unsettled.collect()
    }

    /// Returns the paths by which the outputs of these commands are locked.
    pub(super) fn locks_of_commands(&self, root: &Path) -> Vec<OutputPath> {
        let outputs = self.unsettled_commands().into_iter().flatten();
        // The journal is larder's own, and names outputs.
        let outputs = outputs.filter_map(|output| OutputPath::new(&output.output).ok());
        outputs.map(|output| lock_path(root, &output)).collect()
    }

    pub(super) fn outside_stagings(&self) -> impl Iterator<Item = &Path> {
        let begins = [STAGING_PREFIX, self.name.as_bytes(), b"."].concat();
        self.records.iter().filter_map(move |record| match record {
            JournalRecord::Staging { path } => {
                let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
                name.starts_with(&begins).then_some(path.as_path())
            }
            _ => None,
        })
    }

    fn open_uploads(&self) -> Vec<(&str, &str)> {
        let mut open = Vec::new();
        for record in &self.records {
            match record {
                JournalRecord::UploadOpened { remote, token } => open.push((remote.as_str(), token.as_str())),
                JournalRecord::UploadClosed { remote, token } => {
                    open.retain(|upload| *upload != (remote.as_str(), token.as_str()));
                }
                _ => {}
            }
        }
        open
    }

    pub(super) fn has_uploads(&self) -> bool {
        !self.open_uploads().is_empty()
    }

    pub(super) fn uploads(&self, of_remote: &str) -> Vec<UploadToken> {
        let of_remote = self.open_uploads().into_iter().filter(|(remote, _)| *remote == of_remote);
        of_remote.map(|(_, token)| UploadToken::new(token)).collect()
    }

    /// Forgets the uploads to a remote. Returns whether the journal must stay because it has uploads to other
    /// remotes.
    pub(super) fn forget_uploads(&mut self, of_remote: &str) -> bool {
        let others = self.open_uploads().into_iter().filter(|(remote, _)| *remote != of_remote);
        let left: Vec<JournalRecord> = others
            .map(|(remote, token)| JournalRecord::UploadOpened { remote: remote.into(), token: token.into() })
            .collect();
        if left.is_empty() {
            self.remove();
            return false;
        }
        // The first record stays: it proves that the journal is genuine.
        self.records.truncate(1);
        self.records.extend(left);
        // If this fails, the next command aborts the uploads again, which succeeds.
        self.rewrite().ok();
        true
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        for record in &self.records {
            text.extend(record.to_line()?);
        }
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)
    }

    pub(super) fn remove(&self) {
        // If this fails, the next command finds the same dead journal.
        self.directory.remove_file(&self.name).ok();
    }
}

impl JournalRecord {
    fn as_settled(&self) -> Option<u64> {
        if let Self::Settled { placing } = self { Some(*placing) } else { None }
    }
}

/// Reads the records of a journal. Returns `None` if it belongs to another project or has another format.
fn read_records(text: &[u8], owner: &JournalRecord) -> Option<Vec<JournalRecord>> {
    let mut lines = text.split(|byte| *byte == b'\n');
    // Text after the last line break is an incomplete record, because the process died while writing it.
    lines.next_back();
    let mut records = Vec::new();
    for line in lines {
        match JournalLine::parse(line) {
            JournalLine::Record(record) if records.is_empty() && record != *owner => return None,
            JournalLine::Record(record) => records.push(record),
            // The first line must be intact, because it holds the first record.
            JournalLine::Torn if records.is_empty() => return None,
            JournalLine::Torn => {}
            JournalLine::Unknown => return None,
        }
    }
    Some(records)
}

#[cfg(test)]
mod tests;
