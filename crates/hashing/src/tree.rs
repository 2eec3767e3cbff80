//! Reads an output in order, on many threads.

mod file;
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

use crate::digest::{Digest, DigestHasher, Scheme};
use crate::error::HashError;
use crate::options::HashOptions;
use crate::weasel;
use crate::workers::Workers;

pub use file::OpenFile;
use job::{Job, Shared};
use walk::{Rules, Step, Walk};

mod job;

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
    window: usize,
    ahead: VecDeque<Slot>,
    walked: bool,
}

/// An entry that is there, or being read.
enum Slot {
    Ready(TreeEntry),
    Pending { path: Vec<u8>, file: Receiver<Result<TreeEntry, HashError>> },
    Failed(HashError),
}

/// How many entries are read ahead for each file thread, and their bounds: enough that no thread waits while the
/// caller is busy with one entry.
const AHEAD_PER_THREAD: usize = 4;
const MIN_AHEAD: usize = 64;
const MAX_AHEAD: usize = 256;

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
        let window = options.workers.file_threads() * AHEAD_PER_THREAD;
        Self {
            walk: Walk::new(path, rules),
            workers: options.workers.clone(),
            shared: Arc::new(Shared::new(options, contents)),
            window: window.clamp(MIN_AHEAD, MAX_AHEAD),
            ahead: VecDeque::new(),
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
        let path = self.full_path(&link.path);
        match rustix::fs::stat(&path) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
                OpenFile::open(path, Arc::clone(&self.shared.observer))
            }
            // A file of another kind, a link that points at nothing, or at itself.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(HashError::Io { operation: "follow the link", path, source: error.into() }),
        }
    }

    fn full_path(&self, path: &[u8]) -> PathBuf {
        full_path(self.walk.root(), path)
    }

    /// Walks on until enough is under way.
    fn fill(&mut self) {
        while !self.walked && self.ahead.len() < self.window {
            let slot = match self.walk.next() {
                _ if self.shared.observer.is_cancelled() => Slot::Failed(HashError::Cancelled),
                Err(error) => Slot::Failed(error),
                Ok(None) => {
                    self.walked = true;
                    return;
                }
                Ok(Some(Step::Entry { path, kind })) => {
                    Slot::Ready(self.shared.entry_without_body(path, kind))
                }
                Ok(Some(Step::File { path, place })) => {
                    let (sender, file) = sync_channel(1);
                    let shown = self.full_path(&path);
                    let job =
                        Job { path: path.clone(), shown, place, shared: Arc::clone(&self.shared), sender };
                    let workers = self.workers.clone();
                    self.workers.spawn_file(move || job.run(&workers));
                    Slot::Pending { path, file }
                }
            };
            self.walked = matches!(slot, Slot::Failed(_));
            self.ahead.push_back(slot);
        }
    }

    fn resolve(&self, slot: Slot) -> Result<TreeEntry, HashError> {
        let mut entry = match slot {
            Slot::Ready(entry) => entry,
            Slot::Failed(error) => return Err(error),
            Slot::Pending { path, file } => {
                file.recv().unwrap_or_else(|_| Err(HashError::Worker { path: self.full_path(&path) }))?
            }
        };
        if self.shared.reads() {
            return Ok(entry);
        }
        entry.body = match entry.body {
            Body::Open(file) if entry.digest.is_none() => {
                let mut hasher = DigestHasher::new(self.shared.scheme);
                file.hash_into(&mut hasher, &self.workers)?;
                entry.digest = Some(hasher.finish());
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
