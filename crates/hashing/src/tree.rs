//! Reads an output in order, on many threads.

mod file;
mod job;
mod segments;
mod walk;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::digest::{Digest, Scheme};
use crate::error::HashError;
use crate::options::HashOptions;
use crate::weasel;
use crate::workers::Workers;

pub use file::{FileState, OpenFile};
use job::{Batch, Outcome, Shared};
use walk::{Place, Rules, Step, Walk};

/// How the names begin under which a pull stages an output beside its destination, where it cannot do so in the
/// project's `.larder`. They are refused in outputs, so that what is half there is never hashed or packed.
pub const STAGING_PREFIX: &[u8] = b".larder-tmp-";

/// One entry of an output.
#[derive(Debug)]
pub struct TreeEntry {
    /// The path relative to the output, with `/` between components: empty for the output itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// The size of a file, or of the target text of a link; 0 for a directory. In bytes.
    pub size: u64,
    /// The digest of a file's bytes or a link's target text. `None` for directories, for files that are handed over
    /// open, and under [`Scheme::Weasel`], which has no digests of single files.
    pub digest: Option<Digest>,
    /// How a file looked when it was read. `None` for all else.
    pub state: Option<FileState>,
    /// The bytes of a file, where they were asked for.
    pub body: Body,
}

/// What an entry of a tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// Whether there is nothing in it.
        is_empty: bool,
    },
    /// A symbolic link.
    Symlink {
        /// The text of the link.
        target: Vec<u8>,
    },
}

/// The bytes of an entry.
#[derive(Debug)]
pub enum Body {
    /// It has none, or they were not asked for.
    None,
    /// All of them.
    Bytes(Bytes),
    /// Too many to be read ahead: they are for the caller to read.
    Open(OpenFile),
}

/// What a [`TreeReader`] does with the bytes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Hashes them: every file comes with its digest and no body (except under [`Scheme::Weasel`], where the bytes
    /// are what is wanted).
    Hash,
    /// Hands them over: small files as bytes with their digest, others open and without one.
    Read,
}

/// An iterator over the entries of an output: depth first, a directory before its children, those by the bytes of
/// their names (under [`Scheme::Weasel`], in Python's order of them).
///
/// Small files are opened and read ahead on the file threads, a bounded number and amount of them; large ones are
/// hashed on the compute threads, or handed over. After an error the iterator is at its end.
///
/// ```
/// use larder_hashing::{Contents, HashOptions, TreeReader};
///
/// # let dir = tempfile::tempdir()?;
/// # std::fs::create_dir(dir.path().join("sub"))?;
/// std::fs::write(dir.path().join("sub/file"), "content")?;
/// let mut paths = Vec::new();
/// for entry in TreeReader::open(dir.path(), &HashOptions::default(), Contents::Hash) {
///     paths.push(String::from_utf8(entry?.path)?);
/// }
/// assert_eq!(paths, ["", "sub", "sub/file"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TreeReader {
    walk: Walk,
    workers: Workers,
    shared: Arc<Shared>,
    max_batch: usize,
    /// What was walked and not yet given out.
    ahead: VecDeque<Slot>,
    /// Files that no thread was asked for yet.
    unasked: Vec<(Vec<u8>, Place)>,
    /// What the threads were asked for, in order.
    asked: VecDeque<Receiver<Vec<Outcome>>>,
    /// The answer that is being given out.
    answered: VecDeque<Outcome>,
    files: usize,
    walked: bool,
}

enum Slot {
    Ready(TreeEntry),
    /// The next file of those that the threads were or will be asked for.
    File,
    Failed(HashError),
}

/// How many entries are read ahead: enough that all file threads are busy, and few enough that four readers at once do not
/// use up the thousand descriptors that a process usually may have.
const AHEAD: usize = 128;

/// How many files a thread is asked for at once, at the most: waking it for each of ten thousand files that are in memory
/// anyway takes a quarter of the time. One at a time at first, so that a few slow ones are opened all at once.
const MAX_BATCH: usize = 8;
const FILES_BEFORE_BATCHES: usize = 16;

impl TreeReader {
    /// Starts to read the output at `path`, which may be a file, a directory, or a link to either.
    pub fn open(path: impl Into<PathBuf>, options: &HashOptions, contents: Contents) -> Self {
        Self::with_rules(path.into(), options, contents, false)
    }

    /// Reads what weasel would: sockets, FIFOs and devices are passed over.
    pub(crate) fn skipping_special(path: PathBuf, options: &HashOptions, contents: Contents) -> Self {
        Self::with_rules(path, options, contents, true)
    }

    fn with_rules(path: PathBuf, options: &HashOptions, contents: Contents, skip_special: bool) -> Self {
        let order: fn(&[u8], &[u8]) -> Ordering = match options.scheme {
            Scheme::Weasel => weasel::compare_names,
            Scheme::Blake3 | Scheme::Sha256 => Ord::cmp,
        };
        let rules = Rules { order, dereference: options.dereference, skip_special, limits: options.limits };
        let shared = Arc::new(Shared::new(&path, options, contents));
        // Two batches for each thread: one that it works on, and the next.
        let max_batch = AHEAD / options.workers.file_threads() / 2;
        Self {
            walk: Walk::new(path, rules),
            workers: options.workers.clone(),
            shared,
            max_batch: max_batch.clamp(1, MAX_BATCH),
            ahead: VecDeque::new(),
            unasked: Vec::new(),
            asked: VecDeque::new(),
            answered: VecDeque::new(),
            files: 0,
            walked: false,
        }
    }

    /// From here on only hashes, where it handed bytes over before. Files that are being read already may still come
    /// with their bytes.
    pub fn stop_reading(&self) {
        self.shared.stop_reading();
    }

    /// Opens what a link of this output points at, wherever that is, if it is a regular file: under
    /// [`Scheme::Weasel`] its bytes are hashed in the place of the link. `None` for anything else.
    ///
    /// # Errors
    ///
    /// [`HashError::Io`], where the link can be followed but the file not opened.
    pub fn open_target(&self, link: &TreeEntry) -> Result<Option<OpenFile>, HashError> {
        let path = full_path(self.walk.root(), &link.path);
        match rustix::fs::stat(&path) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
                let (root, observer) = (Arc::clone(&self.shared.root), Arc::clone(&self.shared.observer));
                OpenFile::open(root, link.path.clone(), observer).map(Some)
            }
            // A file of another kind, a link that points at nothing, or at itself.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(HashError::Io { operation: "follow the link", path, source: error.into() }),
        }
    }

    /// Walks on until enough is under way.
    fn fill(&mut self) {
        while !self.walked && self.ahead.len() < AHEAD {
            let slot = match self.walk.next() {
                _ if self.shared.observer.is_cancelled() => Slot::Failed(HashError::Cancelled),
                Err(error) => Slot::Failed(error),
                Ok(None) => {
                    self.walked = true;
                    break;
                }
                Ok(Some(Step::Entry { path, kind })) => {
                    Slot::Ready(self.shared.entry_without_body(path, kind))
                }
                Ok(Some(Step::File { path, place })) => {
                    self.files += 1;
                    self.unasked.push((path, place));
                    if self.unasked.len() >= (self.files / FILES_BEFORE_BATCHES).clamp(1, self.max_batch) {
                        self.ask();
                    }
                    Slot::File
                }
            };
            self.walked = matches!(slot, Slot::Failed(_));
            self.ahead.push_back(slot);
        }
        // No more will come, or not before the caller is served.
        if self.walked || self.asked.is_empty() {
            self.ask();
        }
    }

    /// Asks a thread for the files that none was asked for yet.
    fn ask(&mut self) {
        if self.unasked.is_empty() {
            return;
        }
        let (sender, answer) = sync_channel(1);
        let batch =
            Batch { files: std::mem::take(&mut self.unasked), shared: Arc::clone(&self.shared), sender };
        let workers = self.workers.clone();
        self.workers.spawn_file(move || batch.run(&workers));
        self.asked.push_back(answer);
    }

    /// The next file that the threads were asked for.
    fn next_file(&mut self) -> Result<TreeEntry, HashError> {
        // A thread that panicked drops its end of the channel.
        let lost = |_| HashError::Worker { path: self.walk.root().to_owned() };
        if self.answered.is_empty()
            && let Some(answer) = self.asked.pop_front()
        {
            self.answered = answer.recv().map_err(lost)?.into();
        }
        match self.answered.pop_front() {
            Some(Outcome::Entry(entry)) => entry,
            Some(Outcome::Later(entry)) => entry.recv().map_err(lost)?,
            None => Err(HashError::Worker { path: self.walk.root().to_owned() }),
        }
    }

    fn resolve(&mut self, slot: Slot) -> Result<TreeEntry, HashError> {
        let mut entry = match slot {
            Slot::Ready(entry) => entry,
            Slot::Failed(error) => return Err(error),
            Slot::File => self.next_file()?,
        };
        if self.shared.reads() {
            return Ok(entry);
        }
        entry.body = match entry.body {
            Body::Open(file) if entry.digest.is_none() => {
                entry.digest = Some(file.digest(self.shared.scheme, &self.workers)?);
                Body::None
            }
            body => body,
        };
        Ok(entry)
    }
}

impl Iterator for TreeReader {
    type Item = Result<TreeEntry, HashError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        let slot = self.ahead.pop_front()?;
        let entry = self.resolve(slot);
        if entry.is_err() {
            self.walked = true;
            self.ahead.clear();
            self.shared.abandon();
        }
        Some(entry)
    }
}

impl Drop for TreeReader {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for TreeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeReader").field("root", &self.walk.root()).finish_non_exhaustive()
    }
}

fn full_path(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}
