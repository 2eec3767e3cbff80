//! What the file threads do: open one file, look at it, and read it if it is small.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;

use super::file::{OpenFile, open_error};
use super::walk::Place;
use super::{Body, Contents, EntryKind, TreeEntry};
use crate::digest::Scheme;
use crate::error::HashError;
use crate::options::HashOptions;
use crate::workers::{Observer, Workers};

/// Up to this size, in bytes, a file is read in one go by the thread that opened it.
const SMALL: u64 = 1 << 20;

/// Up to this size, in bytes, files do not count against [`READ_AHEAD`]: as many as are ever in flight are few
/// megabytes together.
const TINY: usize = 32 << 10;

/// How many bytes of files that are larger than [`TINY`] are held at the most, read but not yet used up by the caller.
/// Files beyond are handed over open.
const READ_AHEAD: usize = 16 << 20;

/// What a reader shares with its jobs.
pub(super) struct Shared {
    pub(super) scheme: Scheme,
    pub(super) observer: Arc<dyn Observer>,
    reads: AtomicBool,
    abandoned: AtomicBool,
    budget: Arc<AtomicUsize>,
}

impl Shared {
    pub(super) fn new(options: &HashOptions, contents: Contents) -> Self {
        Self {
            scheme: options.scheme,
            observer: Arc::clone(&options.observer),
            reads: AtomicBool::new(contents == Contents::Read || options.scheme == Scheme::Weasel),
            abandoned: AtomicBool::new(false),
            budget: Arc::new(AtomicUsize::new(READ_AHEAD)),
        }
    }

    /// Whether the bytes of files are wanted.
    pub(super) fn reads(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }

    pub(super) fn stop_reading(&self) {
        self.reads.store(self.scheme == Scheme::Weasel, Ordering::Relaxed);
    }

    /// Nobody waits for the jobs any more.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(super) fn entry_without_body(&self, path: Vec<u8>, kind: EntryKind) -> TreeEntry {
        let (size, digest) = match &kind {
            EntryKind::Symlink { target } => {
                (target.len() as u64, (self.scheme != Scheme::Weasel).then(|| self.scheme.digest(target)))
            }
            _ => (0, None),
        };
        TreeEntry { path, kind, size, digest, body: Body::None }
    }
}

/// One file to open.
pub(super) struct Job {
    pub(super) path: Vec<u8>,
    /// The path for messages.
    pub(super) shown: PathBuf,
    pub(super) place: Place,
    pub(super) shared: Arc<Shared>,
    pub(super) sender: SyncSender<Result<TreeEntry, HashError>>,
}

thread_local! {
    /// Where a thread reads files whose bytes nobody wants.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Job {
    /// Opens the file and answers. Never waits for another job.
    pub(super) fn run(self, workers: &Workers) {
        if self.shared.abandoned.load(Ordering::Relaxed) {
            return;
        }
        if self.shared.observer.is_cancelled() {
            self.answer(Err(HashError::Cancelled));
            return;
        }
        match self.open() {
            Err(error) => self.answer(Err(error)),
            Ok(file) if file.size() <= SMALL => {
                let entry = self.read_small(file);
                self.answer(entry);
            }
            // BLAKE3 hashes one large file on all threads at once; other functions hash several at once, each on one.
            Ok(file) if !self.shared.reads() && self.shared.scheme != Scheme::Blake3 => {
                workers.spawn_compute(move || {
                    let entry = self.digest(file);
                    self.answer(entry);
                });
            }
            Ok(file) => {
                let entry = self.entry(&file, None, Body::None);
                self.answer(Ok(TreeEntry { body: Body::Open(file), ..entry }));
            }
        }
    }

    fn open(&self) -> Result<OpenFile, HashError> {
        let file = self.place.open().map_err(|error| open_error(error, self.shown.clone()))?;
        OpenFile::new(file, self.shown.clone(), Arc::clone(&self.shared.observer))?
            .ok_or_else(|| HashError::Changed { path: self.shown.clone() })
    }

    fn read_small(&self, mut file: OpenFile) -> Result<TreeEntry, HashError> {
        let scheme = self.shared.scheme;
        if !self.shared.reads() {
            return BUFFER.with_borrow_mut(|buffer| {
                buffer.clear();
                file.read_small(buffer)?;
                Ok(self.entry(&file, Some(scheme.digest(buffer)), Body::None))
            });
        }
        let Some(permit) = self.permit(file.size()) else {
            let entry = self.entry(&file, None, Body::None);
            return Ok(TreeEntry { body: Body::Open(file), ..entry });
        };
        let mut data = Vec::new();
        file.read_small(&mut data)?;
        let digest = (scheme != Scheme::Weasel).then(|| scheme.digest(&data));
        let bytes =
            if permit.0 == 0 { Bytes::from(data) } else { Bytes::from_owner(Held { data, _permit: permit }) };
        Ok(self.entry(&file, digest, Body::Bytes(bytes)))
    }

    fn digest(&self, file: OpenFile) -> Result<TreeEntry, HashError> {
        let entry = self.entry(&file, None, Body::None);
        let digest = BUFFER.with_borrow_mut(|buffer| file.digest_here(self.shared.scheme, buffer))?;
        Ok(TreeEntry { digest: Some(digest), ..entry })
    }

    fn entry(&self, file: &OpenFile, digest: Option<crate::digest::Digest>, body: Body) -> TreeEntry {
        let kind = EntryKind::File { executable: file.is_executable() };
        TreeEntry { path: self.path.clone(), kind, size: file.size(), digest, body }
    }

    fn answer(&self, entry: Result<TreeEntry, HashError>) {
        // Fails where the reader was dropped: then nobody wants to know.
        let _ = self.sender.send(entry);
    }

    /// The right to hold a file of `size` bytes, if there is room.
    fn permit(&self, size: u64) -> Option<Permit> {
        let size = usize::try_from(size).ok()?;
        let budget = &self.shared.budget;
        let taken = if size <= TINY { 0 } else { size };
        budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(taken))
            .is_ok()
            .then(|| Permit(taken, Arc::clone(budget)))
    }
}

/// Bytes of the read-ahead that are in use.
struct Permit(usize, Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.1.fetch_add(self.0, Ordering::Relaxed);
    }
}

struct Held {
    data: Vec<u8>,
    _permit: Permit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
