//! What the file threads do: open files, look at them, and read those that are small.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;

use super::file::{OpenFile, open_error};
use super::walk::Place;
use super::{Body, Contents, EntryKind, TreeEntry, full_path};
use crate::digest::{Digest, Scheme};
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
    pub(super) root: Arc<Path>,
    pub(super) scheme: Scheme,
    pub(super) observer: Arc<dyn Observer>,
    reads: AtomicBool,
    abandoned: AtomicBool,
    budget: Arc<AtomicUsize>,
}

impl Shared {
    pub(super) fn new(root: &Path, options: &HashOptions, contents: Contents) -> Self {
        Self {
            root: root.into(),
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
        TreeEntry { path, kind, size, digest, state: None, body: Body::None }
    }
}

/// A few files to open, one after the other.
pub(super) struct Batch {
    pub(super) files: Vec<(Vec<u8>, Place)>,
    pub(super) shared: Arc<Shared>,
    pub(super) sender: SyncSender<Vec<Outcome>>,
}

/// What became of a file of a batch.
#[expect(clippy::large_enum_variant, reason = "nearly all are entries: a box for each would cost more")]
pub(super) enum Outcome {
    Entry(Result<TreeEntry, HashError>),
    /// It is being hashed on a compute thread.
    Later(Receiver<Result<TreeEntry, HashError>>),
}

/// Bytes of a file that was read.
enum Content {
    /// In the buffer that a batch has for all its tiny files.
    Common(Range<usize>),
    Own(Bytes),
}

thread_local! {
    /// Where a thread reads files whose bytes nobody wants.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Batch {
    /// Opens the files and answers. Never waits for another task.
    pub(super) fn run(self, workers: &Workers) {
        let Self { files, shared, sender } = self;
        let mut outcomes = Vec::with_capacity(files.len());
        let mut common = Vec::new();
        let mut ranges = Vec::new();
        for (path, place) in files {
            if shared.abandoned.load(Ordering::Relaxed) {
                return;
            }
            let outcome = match shared.read(path, &place, &mut common) {
                Ok(Read::Small(entry, content)) => {
                    let body = match content {
                        None => Body::None,
                        Some(Content::Own(bytes)) => Body::Bytes(bytes),
                        Some(Content::Common(range)) => {
                            ranges.push((outcomes.len(), range));
                            Body::None
                        }
                    };
                    Outcome::Entry(Ok(TreeEntry { body, ..entry }))
                }
                Ok(Read::Large(file)) => Shared::hand_over(&shared, file, workers),
                Err(error) => Outcome::Entry(Err(error)),
            };
            let failed = matches!(outcome, Outcome::Entry(Err(_)));
            outcomes.push(outcome);
            if failed {
                break;
            }
        }
        let common = Bytes::from(common);
        for (index, range) in ranges {
            if let Outcome::Entry(Ok(entry)) = &mut outcomes[index] {
                entry.body = Body::Bytes(common.slice(range));
            }
        }
        // Fails where the reader was dropped: then nobody wants to know.
        let _ = sender.send(outcomes);
    }
}

enum Read {
    Small(TreeEntry, Option<Content>),
    Large(OpenFile),
}

impl Shared {
    /// Opens a file, and reads it if it is small.
    fn read(&self, path: Vec<u8>, place: &Place, common: &mut Vec<u8>) -> Result<Read, HashError> {
        if self.observer.is_cancelled() {
            return Err(HashError::Cancelled);
        }
        let mut file = match place.open() {
            Ok(file) => OpenFile::new(file, Arc::clone(&self.root), path, Arc::clone(&self.observer))?,
            Err(error) => return Err(open_error(error, full_path(&self.root, &path))),
        };
        if file.size() > SMALL {
            return Ok(Read::Large(file));
        }
        let digest = |bytes: &[u8]| (self.scheme != Scheme::Weasel).then(|| self.scheme.digest(bytes));
        if !self.reads() {
            let digest = BUFFER.with_borrow_mut(|buffer| {
                buffer.clear();
                file.read_small(buffer)?;
                Ok(digest(buffer))
            })?;
            return Ok(Read::Small(entry(file, digest), None));
        }
        let size = usize::try_from(file.size()).unwrap_or(usize::MAX);
        if size <= TINY {
            let start = common.len();
            file.read_small(common)?;
            let digest = digest(&common[start..]);
            return Ok(Read::Small(entry(file, digest), Some(Content::Common(start..common.len()))));
        }
        let Some(permit) = Permit::take(&self.budget, size) else { return Ok(Read::Large(file)) };
        let mut data = Vec::new();
        file.read_small(&mut data)?;
        let digest = digest(&data);
        let bytes = Bytes::from_owner(Held { data, _permit: permit });
        Ok(Read::Small(entry(file, digest), Some(Content::Own(bytes))))
    }

    /// Passes on a file that is too large to be read here. BLAKE3 hashes one such file on several threads at once, when
    /// its turn comes; other functions hash several at once, each on one thread.
    fn hand_over(shared: &Arc<Self>, file: OpenFile, workers: &Workers) -> Outcome {
        if shared.reads() || shared.scheme == Scheme::Blake3 {
            let kind = EntryKind::File { executable: file.is_executable() };
            let (path, size, state) = (file.relative_path().to_vec(), file.size(), Some(file.state()));
            let body = Body::Open(file);
            return Outcome::Entry(Ok(TreeEntry { path, kind, size, digest: None, state, body }));
        }
        let (sender, later) = sync_channel(1);
        let scheme = shared.scheme;
        workers.spawn_compute(move || {
            let mut file = file;
            let digest = BUFFER.with_borrow_mut(|buffer| file.digest_here(scheme, buffer));
            // As above.
            let _ = sender.send(digest.map(|digest| entry(file, Some(digest))));
        });
        Outcome::Later(later)
    }
}

/// The entry of a file that was read.
fn entry(file: OpenFile, digest: Option<Digest>) -> TreeEntry {
    let kind = EntryKind::File { executable: file.is_executable() };
    let (size, state) = (file.size(), Some(file.state()));
    TreeEntry { path: file.into_relative_path(), kind, size, digest, state, body: Body::None }
}

/// The right to hold bytes of the read-ahead.
struct Permit(usize, Arc<AtomicUsize>);

impl Permit {
    /// The right to hold `size` bytes, if there is room.
    fn take(budget: &Arc<AtomicUsize>, size: usize) -> Option<Self> {
        budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(size))
            .is_ok()
            .then(|| Self(size, Arc::clone(budget)))
    }
}

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
