//! The journal of a process: a locked file of one JSON record a line.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_backend::UploadToken;
use larder_hashing::STAGING_PREFIX;
use serde::{Deserialize, Serialize};

use super::lock;
use super::placement::Move;
use crate::error::{Error, Result};

/// What a process has open. Later versions may add kinds: a journal with a record that is not known is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// The first record: which file in which project this is. A journal that came here otherwise, in a checkout, an
    /// archive or a copy of the project, says something else, and nothing in it is believed.
    Owner {
        #[serde(with = "path_text")]
        root: PathBuf,
        inode: u64,
    },
    /// A staging directory outside `.larder/tmp`, about to be created.
    Staging {
        #[serde(with = "path_text")]
        path: PathBuf,
    },
    /// Directories above a destination that are about to be created, outermost first.
    Parents {
        #[serde(with = "paths_text")]
        paths: Vec<PathBuf>,
    },
    /// Staged outputs are about to be moved into place, as one unit.
    Placing { moves: Vec<Move> },
    /// All of what was being placed is in place, or all is back.
    Settled,
    /// An upload is open.
    UploadOpened { remote: String, token: String },
    /// The upload is gone.
    UploadClosed { remote: String, token: String },
}

/// How long the end of a command waits for threads that were told to stop: they look after each chunk, and an
/// interrupted command should be gone within two seconds.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The journal of this process, locked while it lives.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    path: PathBuf,
    file: File,
    next_staging: AtomicU64,
    stagings: Mutex<u64>,
    staging_gone: Condvar,
    open_uploads: Mutex<HashSet<(String, String)>>,
    unfinished: AtomicBool,
}

impl Session {
    pub(super) fn begin(dir: &Path) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        loop {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
            let id = format!("{nanos:x}-{:x}-{counter:x}", std::process::id());
            let path = dir.join(&id);
            let file = match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io("create", &path)(error)),
            };
            // A sweeper that locked the file before us takes it for a dead one's and removes it: begin again.
            if lock_if_dead(&file, &path).map_err(Error::io("lock", &path))? {
                let owner = owner(&file, &path).map_err(Error::io("look at", &path))?;
                let session = Self {
                    id,
                    path,
                    file,
                    next_staging: AtomicU64::new(0),
                    stagings: Mutex::default(),
                    staging_gone: Condvar::new(),
                    open_uploads: Mutex::default(),
                    unfinished: AtomicBool::new(false),
                };
                session.append(&owner)?;
                return Ok(session);
            }
        }
    }

    /// A name for a staging directory that tells whose it is.
    pub(super) fn staging_name(&self) -> String {
        format!("{}.{}", self.id, self.next_staging.fetch_add(1, Ordering::Relaxed))
    }

    /// A staging directory exists, until [`Self::staging_gone`].
    pub(super) fn staging_made(&self) {
        *lock(&self.stagings) += 1;
    }

    pub(super) fn staging_gone(&self) {
        *lock(&self.stagings) -= 1;
        self.staging_gone.notify_all();
    }

    /// Waits a little for the threads of abandoned transfers to stop and remove their stagings. What stays is swept by
    /// the next command.
    pub(super) fn wait_for_stagings(&self) {
        let waited =
            self.staging_gone.wait_timeout_while(lock(&self.stagings), CLOSE_TIMEOUT, |left| *left > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes what was appended outlive a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io("write", &self.path))
    }

    pub(super) fn append(&self, record: &Record) -> Result<()> {
        let mut line =
            serde_json::to_vec(record).map_err(io::Error::from).map_err(Error::io("write", &self.path))?;
        line.push(b'\n');
        (&self.file).write_all(&line).map_err(Error::io("write", &self.path))
    }

    pub(super) fn upload_opened(&self, remote: &str, token: &UploadToken) -> Result<()> {
        let (remote, token) = (remote.to_owned(), token.as_str().to_owned());
        lock(&self.open_uploads).insert((remote.clone(), token.clone()));
        self.append(&Record::UploadOpened { remote, token })
    }

    pub(super) fn upload_closed(&self, remote: &str, token: &UploadToken) {
        let (remote, token) = (remote.to_owned(), token.as_str().to_owned());
        lock(&self.open_uploads).remove(&(remote.clone(), token.clone()));
        // Should the note fail, a later sweep finds nothing to abort, which is a success.
        self.append(&Record::UploadClosed { remote, token }).ok();
    }

    /// Something in this journal has to be completed by the next command: the journal and its stagings stay.
    pub(super) fn leave_unfinished(&self) {
        self.unfinished.store(true, Ordering::Release);
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Acquire)
    }

    /// Removes the journal, if nothing in it is open. The last thread that holds the session may not come to drop it
    /// before the process ends.
    pub(super) fn end(&self) {
        let is_idle = *lock(&self.stagings) == 0 && lock(&self.open_uploads).is_empty();
        if is_idle && !self.is_unfinished() {
            // A file that stays is found to be dead and empty by the next command.
            fs::remove_file(&self.path).ok();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// The journal of a dead process, locked by this one.
#[derive(Debug)]
pub(super) struct DeadJournal {
    path: PathBuf,
    file: File,
    records: Vec<Record>,
}

/// What a file in the journal directory turned out to be.
pub(super) enum Opened {
    Dead(DeadJournal),
    /// Its process lives, or it has just gone.
    InUse,
    /// It holds what this version does not know.
    Unknown,
}

impl DeadJournal {
    pub(super) fn open(path: &Path) -> Result<Opened> {
        let opened =
            OpenOptions::new().read(true).write(true).open(path).or_else(|error| match error.kind() {
                // Another user's, or on a file system that is read-only by now: a lock needs no more than reading, and
                // removing it is up to the directory.
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => File::open(path),
                _ => Err(error),
            });
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::InUse),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        if !lock_if_dead(&file, path).map_err(Error::io("lock", path))? {
            return Ok(Opened::InUse);
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(Error::io("read", path))?;
        let mut records = Vec::new();
        // What follows the last line break was being written when the process died: it has not happened.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            match serde_json::from_str(line) {
                Ok(record) => records.push(record),
                Err(_) => return Ok(Opened::Unknown),
            }
        }
        let expected = owner(&file, path).map_err(Error::io("look at", path))?;
        if records.first().is_some_and(|first| *first != expected) {
            return Ok(Opened::Unknown);
        }
        Ok(Opened::Dead(Self { path: path.to_owned(), file, records }))
    }

    /// The records since the last one that settled everything, and all staging directories.
    pub(super) fn unsettled(&self) -> &[Record] {
        let settled = self.records.iter().rposition(|record| matches!(record, Record::Settled));
        &self.records[settled.map_or(0, |index| index + 1)..]
    }

    pub(super) fn outside_stagings(&self) -> impl Iterator<Item = &Path> {
        let id = self.path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let begins = [STAGING_PREFIX, id, b"."].concat();
        self.records.iter().filter_map(move |record| match record {
            Record::Staging { path } => {
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
                Record::UploadOpened { remote, token } => open.push((remote.as_str(), token.as_str())),
                Record::UploadClosed { remote, token } => {
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

    /// Whether uploads to other remotes are left, so that the journal has to stay.
    pub(super) fn forget_uploads(&mut self, of_remote: &str) -> bool {
        let others = self.open_uploads().into_iter().filter(|(remote, _)| *remote != of_remote);
        let left =
            others.map(|(remote, token)| Record::UploadOpened { remote: remote.into(), token: token.into() });
        let left: Vec<Record> = left.collect();
        if left.is_empty() {
            self.remove();
            return false;
        }
        // The first record stays: it says that the journal is genuine.
        self.records.truncate(1);
        self.records.extend(left);
        // Where this fails, what is gone is aborted once more, which is a success.
        self.rewrite().ok();
        true
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        for record in &self.records {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)
    }

    pub(super) fn remove(&self) {
        // A file that stays is found to be dead again by the next command.
        fs::remove_file(&self.path).ok();
    }
}

/// The first record of the journal at `path`, in `<root>/.larder/journal`.
fn owner(file: &File, path: &Path) -> io::Result<Record> {
    let root = path.ancestors().nth(3).unwrap_or(Path::new("/")).canonicalize()?;
    Ok(Record::Owner { root, inode: file.metadata()?.ino() })
}

/// Locks the journal at `path`, unless another process has it, or has just removed it.
fn lock_if_dead(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let locked = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Paths in JSON: their bytes, percent-encoded where they are not plain text.
pub(super) mod path_text {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Besides these, all that is not ASCII is encoded too.
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

    pub(in crate::state) fn encode(path: &Path) -> String {
        percent_encode(path.as_os_str().as_bytes(), ENCODED).to_string()
    }

    pub(in crate::state) fn decode(text: &str) -> PathBuf {
        OsString::from_vec(percent_decode_str(text).collect()).into()
    }

    pub(in crate::state) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(path))
    }

    pub(in crate::state) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
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
    use super::*;

    /// A project's directory of journals.
    fn journals(project: &tempfile::TempDir) -> PathBuf {
        project.path().join(".larder/journal")
    }

    #[test]
    fn a_living_journal_is_left_alone_and_a_dead_one_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::begin(&journals(&dir)).unwrap();
        let path = session.path.clone();
        let name = [STAGING_PREFIX, session.staging_name().as_bytes(), b"\xff %41\n"].concat();
        let strange = Path::new("/x").join(OsStr::from_bytes(&name));
        session.append(&Record::Staging { path: strange.clone() }).unwrap();
        assert!(matches!(DeadJournal::open(&path).unwrap(), Opened::InUse));

        session.leave_unfinished();
        drop(session);
        let Opened::Dead(dead) = DeadJournal::open(&path).unwrap() else { panic!("its process is gone") };
        assert_eq!(dead.outside_stagings().collect::<Vec<_>>(), [strange]);
    }

    #[test]
    fn a_journal_ends_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        drop(Session::begin(&journals(&dir)).unwrap());
        assert_eq!(fs::read_dir(journals(&dir)).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_record_has_not_happened_and_an_unknown_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::begin(&journals(&dir)).unwrap();
        let path = session.path.clone();
        session.leave_unfinished();
        drop(session);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"record\":\"settled\"}\n{\"record\":\"stag").unwrap();
        assert!(matches!(DeadJournal::open(&path).unwrap(), Opened::Dead(dead) if dead.records.len() == 2));
        file.write_all(b"\n{\"record\":\"from a later version\"}\n").unwrap();
        assert!(matches!(DeadJournal::open(&path).unwrap(), Opened::Unknown));
    }

    #[test]
    fn a_journal_that_was_not_written_here_is_not_believed() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let session = Session::begin(&journals(&dir)).unwrap();
        let path = session.path.clone();
        session.leave_unfinished();
        drop(session);
        fs::create_dir_all(journals(&copy)).unwrap();
        let copied = journals(&copy).join(path.file_name().unwrap());
        fs::copy(&path, &copied).unwrap();
        assert!(matches!(DeadJournal::open(&copied).unwrap(), Opened::Unknown));
        // Nor one that says nothing of where it was written.
        fs::write(&path, "{\"record\":\"staging\",\"path\":\"/home\"}\n").unwrap();
        assert!(matches!(DeadJournal::open(&path).unwrap(), Opened::Unknown));
    }

    #[test]
    fn uploads_of_dead_processes_are_kept_until_their_remote_has_been_swept() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::begin(&journals(&dir)).unwrap();
        let path = session.path.clone();
        let token = UploadToken::new;
        session.upload_opened("s3://a", &token("1")).unwrap();
        session.upload_opened("s3://a", &token("2")).unwrap();
        session.upload_opened("s3://b", &token("3")).unwrap();
        session.upload_closed("s3://a", &token("1"));
        drop(session);

        let Opened::Dead(mut dead) = DeadJournal::open(&path).unwrap() else { panic!("its process is gone") };
        assert_eq!(dead.uploads("s3://a"), [token("2")]);
        assert!(dead.forget_uploads("s3://a"));
        drop(dead);
        let Opened::Dead(mut dead) = DeadJournal::open(&path).unwrap() else { panic!("nobody holds it") };
        assert_eq!((dead.uploads("s3://a"), dead.uploads("s3://b")), (vec![], vec![token("3")]));
        assert!(!dead.forget_uploads("s3://b"));
        assert!(!path.exists());
    }
}
