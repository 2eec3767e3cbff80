//! The journal of this process: a locked file that lists what the process has open.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_backend::UploadToken;
use tempfile::TempDir;

use super::directory::{JOURNALS, StateDirectory};
use super::lock::{lock, lock_if_dead};
use super::record::{FORMAT, JournalRecord, RecordWriter};
use super::steps::step;
use crate::error::{Error, Result};

/// The time that a command waits at its end for threads that were told to stop. The threads check after each
/// chunk. An interrupted command should end within two seconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The journal of this process. It is locked for the lifetime of the process.
#[derive(Debug)]
pub(crate) struct ProcessJournal {
    id: String,
    root: PathBuf,
    /// Removed with the journal.
    temporary: Option<TempDir>,
    directory: StateDirectory,
    path: PathBuf,
    writer: Mutex<RecordWriter<File>>,
    next_staging: AtomicU64,
    next_placing: AtomicU64,
    stagings: Mutex<u64>,
    staging_gone: Condvar,
    open_uploads: Mutex<HashSet<(String, String)>>,
    unfinished: AtomicBool,
}

impl ProcessJournal {
    pub(super) fn begin(root: &Path) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let directory = StateDirectory::create(root, &JOURNALS)?;
        loop {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
            let id = format!("{nanos:x}-{:x}-{counter:x}", std::process::id());
            let path = directory.path().join(&id);
            let file = match directory.create_new(&id) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io("create", &path)(error)),
            };
            // Another process may lock the file first. It then treats the journal as dead and removes it, so
            // this begins again.
            if lock_if_dead(&file, &directory, &id).map_err(Error::io("lock", &path))? {
                let owner = owner(&file, root).map_err(Error::io("look at", &path))?;
                let journal = Self {
                    id,
                    root: root.to_owned(),
                    temporary: None,
                    directory,
                    path,
                    writer: Mutex::new(RecordWriter::new(file)),
                    next_staging: AtomicU64::new(0),
                    next_placing: AtomicU64::new(0),
                    stagings: Mutex::new(0),
                    staging_gone: Condvar::new(),
                    open_uploads: Mutex::default(),
                    unfinished: AtomicBool::new(false),
                };
                // If this fails, dropping the journal removes it.
                journal.append(&owner)?;
                return Ok(journal);
            }
        }
    }

    /// Begins a journal in a directory for temporary files. After a crash, no later command finds it.
    pub(super) fn begin_elsewhere() -> Result<Self> {
        let temporary = tempfile::Builder::new().prefix("larder-").tempdir();
        let temporary = temporary.map_err(Error::io("create a directory in", std::env::temp_dir()))?;
        StateDirectory::ensure(temporary.path())?;
        let mut journal = Self::begin(temporary.path())?;
        journal.temporary = Some(temporary);
        Ok(journal)
    }

    /// Returns the directory whose `.larder` has the journal. That is the root of the project, if it can be written.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a name for a staging directory that contains the id of this journal.
    pub(super) fn staging_name(&self) -> String {
        format!("{}.{}", self.id, self.next_staging.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a number for the records of one placing. Several placings may run at once.
    pub(super) fn next_placing(&self) -> u64 {
        self.next_placing.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a new staging directory until [`Self::staging_gone`] is called.
    pub(super) fn staging_made(&self) {
        *lock(&self.stagings) += 1;
    }

    pub(super) fn staging_gone(&self) {
        *lock(&self.stagings) -= 1;
        self.staging_gone.notify_all();
    }

    /// Waits briefly for the threads of abandoned transfers to stop and remove their stagings. The next
    /// command removes the remaining stagings.
    pub(super) fn wait_for_stagings(&self) {
        let waited =
            self.staging_gone.wait_timeout_while(lock(&self.stagings), CLOSE_TIMEOUT, |left| *left > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Flushes the records to the disk.
    pub(super) fn sync(&self) -> Result<()> {
        lock(&self.writer).get_ref().sync_data().map_err(Error::io("write", &self.path))
    }

    pub(super) fn append(&self, record: &JournalRecord) -> Result<()> {
        step();
        lock(&self.writer).append(record).map_err(Error::io("write", &self.path))
    }

    pub(super) fn upload_opened(&self, remote: &str, token: &UploadToken) -> Result<()> {
        let (remote, token) = (remote.to_owned(), token.as_str().to_owned());
        lock(&self.open_uploads).insert((remote.clone(), token.clone()));
        self.append(&JournalRecord::UploadOpened { remote, token })
    }

    pub(super) fn upload_closed(&self, remote: &str, token: &UploadToken) {
        let (remote, token) = (remote.to_owned(), token.as_str().to_owned());
        lock(&self.open_uploads).remove(&(remote.clone(), token.clone()));
        // If this fails, a later sweep aborts an upload that is gone, which succeeds.
        self.append(&JournalRecord::UploadClosed { remote, token }).ok();
    }

    /// Keeps the journal and its stagings, because the next command must complete a placing.
    pub(super) fn leave_unfinished(&self) {
        self.unfinished.store(true, Ordering::Release);
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire)
    }

    /// Removes the journal if nothing in it is open. This does not wait for a drop, because the process may
    /// end before the last thread drops the journal.
    pub(super) fn end(&self) {
        let is_idle = *lock(&self.stagings) == 0 && lock(&self.open_uploads).is_empty();
        if is_idle && !self.is_unfinished() {
            // If this fails, the next command finds a dead journal with nothing open.
            self.directory.remove_file(&self.id).ok();
        }
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for ProcessJournal {
    fn drop(&mut self) {
        self.end();
        if self.is_unfinished()
            && let Some(temporary) = self.temporary.take()
        {
            // It has a previous version that could not be put back.
            let _ = temporary.keep();
        }
    }
}

/// Returns whether a journal can have this name: see [`ProcessJournal::begin`].
pub(super) fn is_journal_id(name: &str) -> bool {
    let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.split('-').count() == 3 && name.split('-').all(is_hex)
}

/// Returns the first record of an open journal of the project.
pub(super) fn owner(file: &File, root: &Path) -> io::Result<JournalRecord> {
    Ok(JournalRecord::Owner { format: FORMAT, root: root.canonicalize()?, inode: file.metadata()?.ino() })
}
