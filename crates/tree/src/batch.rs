//! The tasks of the file threads: open files, and read the small ones.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use rustix::fs::{FileType, Mode};

use crate::digester::{FileDigester, ReadMode};
use crate::entry::{EntryBody, EntryKind, TreeEntry};
use crate::error::TreeError;
use crate::file::{FileState, OpenFile};
use crate::observer::Observer;
use crate::opening::{full_path, open_error};
use crate::stat_cache::CachedFile;
use crate::walk::FileLocation;
use crate::workers::Workers;

/// A file up to this size, in bytes, is read whole by the thread that opened it.
const SMALL: u64 = 1 << 20;

/// A file up to this size, in bytes, is read whole even if only its digest is wanted. Larger files are hashed
/// in parts, because each file thread keeps its buffer.
const HASHED_AT_ONCE: u64 = 128 << 10;

/// Files up to this size, in bytes, do not count against [`READ_AHEAD`]. All of them in flight together take
/// a few megabytes.
const TINY: usize = 32 << 10;

/// The maximum number of bytes held ahead of the caller for files larger than [`TINY`]. Beyond it, files are
/// returned open.
const READ_AHEAD: usize = 16 << 20;

/// The state that a reader shares with its batches.
pub(crate) struct ReadContext<D> {
    pub(crate) root: Arc<Path>,
    pub(crate) digester: D,
    pub(crate) observer: Arc<dyn Observer>,
    reads: AtomicBool,
    abandoned: AtomicBool,
    budget: Arc<AtomicUsize>,
}

impl<D: FileDigester> ReadContext<D> {
    pub(crate) fn new(root: &Path, observer: Arc<dyn Observer>, digester: D, mode: ReadMode) -> Self {
        Self {
            root: root.into(),
            digester,
            observer,
            reads: AtomicBool::new(mode == ReadMode::Bytes),
            abandoned: AtomicBool::new(false),
            budget: Arc::new(AtomicUsize::new(READ_AHEAD)),
        }
    }

    /// Returns whether the bytes of files are wanted.
    pub(crate) fn reads(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn stop_reading(&self) {
        self.reads.store(false, Ordering::Relaxed);
    }

    /// Records that nobody waits for the batches any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn entry_without_body(&self, path: Vec<u8>, kind: EntryKind) -> TreeEntry<D::Digest> {
        let (size, digest) = match &kind {
            EntryKind::Symlink { target } => (target.len() as u64, self.digester.digest(target)),
            _ => (0, None),
        };
        TreeEntry { path, kind, size, digest, state: None, is_remembered: false, body: EntryBody::None }
    }
}

/// A file to open, unless the cache knows it.
pub(crate) struct BatchFile {
    pub(crate) path: Vec<u8>,
    pub(crate) location: FileLocation,
    pub(crate) known: Option<CachedFile>,
}

/// A few files to open, one after the other.
pub(crate) struct FileBatch<D: FileDigester> {
    pub(crate) files: Vec<BatchFile>,
    pub(crate) context: Arc<ReadContext<D>>,
    pub(crate) sender: SyncSender<Vec<BatchedFile<D::Digest>>>,
}

/// The result for one file of a batch.
#[expect(clippy::large_enum_variant, reason = "almost all are entries")]
pub(crate) enum BatchedFile<D> {
    Entry(Result<TreeEntry<D>, TreeError>),
    /// A compute thread is hashing it.
    Later(Receiver<Result<TreeEntry<D>, TreeError>>),
}

/// The bytes of a small file.
enum SmallContent {
    /// A range of the buffer that a batch uses for all its tiny files.
    Common(Range<usize>),
    Own(Bytes),
}

thread_local! {
    /// The buffer for files up to [`HASHED_AT_ONCE`] whose bytes are only hashed.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<D: FileDigester> FileBatch<D> {
    /// Opens the files and sends the results. Never waits for another task.
    pub(crate) fn run(self, workers: &Workers) {
        let Self { files, context, sender } = self;
        let mut outcomes = Vec::with_capacity(files.len());
        let mut common = Vec::new();
        let mut ranges = Vec::new();
        for BatchFile { path, location, known } in files {
            if context.abandoned.load(Ordering::Relaxed) {
                return;
            }
            if let Some(known) = known.and_then(|known| known.recognize::<D>(&location)) {
                outcomes.push(BatchedFile::Entry(Ok(known.into_entry(path))));
                continue;
            }
            let outcome = match context.read(path, &location, &mut common) {
                Ok(OpenedFile::Small(entry, content)) => {
                    let body = match content {
                        None => EntryBody::None,
                        Some(SmallContent::Own(bytes)) => EntryBody::Bytes(bytes),
                        Some(SmallContent::Common(range)) => {
                            ranges.push((outcomes.len(), range));
                            EntryBody::None
                        }
                    };
                    BatchedFile::Entry(Ok(TreeEntry { body, ..entry }))
                }
                Ok(OpenedFile::Large(file)) => context.hand_over(file, workers),
                Err(error) => BatchedFile::Entry(Err(error)),
            };
            let failed = matches!(outcome, BatchedFile::Entry(Err(_)));
            outcomes.push(outcome);
            if failed {
                break;
            }
        }
        let common = Bytes::from(common);
        for (index, range) in ranges {
            if let BatchedFile::Entry(Ok(entry)) = &mut outcomes[index] {
                entry.body = EntryBody::Bytes(common.slice(range));
            }
        }
        // This fails if the reader was dropped and nobody waits for the result.
        let _ = sender.send(outcomes);
    }
}

enum OpenedFile<D> {
    Small(TreeEntry<D>, Option<SmallContent>),
    Large(OpenFile),
}

impl<D: FileDigester> ReadContext<D> {
    /// Opens a file, and reads it if it is small.
    fn read(
        &self,
        path: Vec<u8>,
        location: &FileLocation,
        common: &mut Vec<u8>,
    ) -> Result<OpenedFile<D::Digest>, TreeError> {
        if self.observer.is_cancelled() {
            return Err(TreeError::Cancelled);
        }
        let mut file = match location.open() {
            Ok(file) => OpenFile::new(file, Arc::clone(&self.root), path, Arc::clone(&self.observer))?,
            Err(error) => return Err(open_error(error, full_path(&self.root, &path))),
        };
        if file.size() > SMALL {
            return Ok(OpenedFile::Large(file));
        }
        if !self.reads() && file.size() > HASHED_AT_ONCE {
            return Ok(OpenedFile::Small(hashed_entry(&self.digester, file)?, None));
        }
        if !self.reads() {
            let digest = BUFFER.with_borrow_mut(|buffer| {
                buffer.clear();
                file.read_small(buffer)?;
                Ok(self.digester.digest(buffer))
            })?;
            return Ok(OpenedFile::Small(entry(file, digest), None));
        }
        let size = usize::try_from(file.size()).unwrap_or(usize::MAX);
        if size <= TINY {
            let start = common.len();
            file.read_small(common)?;
            let digest = self.digester.digest(&common[start..]);
            return Ok(OpenedFile::Small(
                entry(file, digest),
                Some(SmallContent::Common(start..common.len())),
            ));
        }
        let Some(permit) = ReadAheadPermit::take(&self.budget, size) else {
            return Ok(OpenedFile::Large(file));
        };
        let mut data = Vec::new();
        file.read_small(&mut data)?;
        let digest = self.digester.digest(&data);
        let bytes = Bytes::from_owner(BudgetedBytes { data, _permit: permit });
        Ok(OpenedFile::Small(entry(file, digest), Some(SmallContent::Own(bytes))))
    }

    /// Handles a file that is too large for a file thread. A parallel digester later hashes it on several
    /// threads. Otherwise several such files are hashed at once, each on one thread.
    fn hand_over(self: &Arc<Self>, file: OpenFile, workers: &Workers) -> BatchedFile<D::Digest> {
        if self.reads() || self.digester.is_parallel() {
            let kind = EntryKind::File { executable: file.is_executable() };
            let (path, size, state) = (file.relative_path().to_vec(), file.size(), Some(file.state()));
            let body = EntryBody::Open(file);
            return BatchedFile::Entry(Ok(TreeEntry {
                path,
                kind,
                size,
                digest: None,
                state,
                is_remembered: false,
                body,
            }));
        }
        let (sender, later) = sync_channel(1);
        let digester = self.digester.clone();
        workers.spawn_compute(move || {
            // Fails if the reader was dropped.
            let _ = sender.send(hashed_entry(&digester, file));
        });
        BatchedFile::Later(later)
    }
}

impl CachedFile {
    /// Looks at the file, and returns it if it is still in the state that the cache knows.
    fn recognize<D: FileDigester>(&self, location: &FileLocation) -> Option<RecognizedFile<D::Digest>> {
        let status = location.status().ok()?;
        let state = FileState::of_status(&status);
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || !self.matches(&state) {
            return None;
        }
        let executable = Mode::from_raw_mode(status.st_mode).contains(Mode::XUSR);
        Some(RecognizedFile { executable, state, digest: D::digest_of_bytes(self.digest)? })
    }
}

/// A file that was not opened, because the cache knows it.
struct RecognizedFile<D> {
    executable: bool,
    state: FileState,
    digest: D,
}

impl<D> RecognizedFile<D> {
    fn into_entry(self, path: Vec<u8>) -> TreeEntry<D> {
        TreeEntry {
            path,
            kind: EntryKind::File { executable: self.executable },
            size: self.state.size,
            digest: Some(self.digest),
            state: Some(self.state),
            is_remembered: true,
            body: EntryBody::None,
        }
    }
}

/// Hashes a file on this thread.
fn hashed_entry<D: FileDigester>(digester: &D, file: OpenFile) -> Result<TreeEntry<D::Digest>, TreeError> {
    let kind = EntryKind::File { executable: file.is_executable() };
    let (path, size, state) = (file.relative_path().to_vec(), file.size(), Some(file.state()));
    let digest = digester.digest_file(file, None)?;
    Ok(TreeEntry { path, kind, size, digest, state, is_remembered: false, body: EntryBody::None })
}

/// Returns the entry of a file that was read.
fn entry<D>(file: OpenFile, digest: Option<D>) -> TreeEntry<D> {
    let kind = EntryKind::File { executable: file.is_executable() };
    let (size, state) = (file.size(), Some(file.state()));
    TreeEntry {
        path: file.into_relative_path(),
        kind,
        size,
        digest,
        state,
        is_remembered: false,
        body: EntryBody::None,
    }
}

/// The right to hold bytes of the read-ahead. Dropping it returns the bytes to the budget.
struct ReadAheadPermit(usize, Arc<AtomicUsize>);

impl ReadAheadPermit {
    /// Takes the right to hold `size` bytes, if the budget allows it.
    fn take(budget: &Arc<AtomicUsize>, size: usize) -> Option<Self> {
        budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(size))
            .is_ok()
            .then(|| Self(size, Arc::clone(budget)))
    }
}

impl Drop for ReadAheadPermit {
    fn drop(&mut self) {
        self.1.fetch_add(self.0, Ordering::Relaxed);
    }
}

struct BudgetedBytes {
    data: Vec<u8>,
    _permit: ReadAheadPermit,
}

impl AsRef<[u8]> for BudgetedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
