//! Reads a tree in order, on many threads.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::batch::{BatchFile, BatchedFile, FileBatch, ReadContext};
use crate::digester::{FileDigester, NoDigest, ReadMode};
use crate::entry::{EntryBody, EntryKind, TreeEntry};
use crate::error::TreeError;
use crate::file::{FileState, OpenFile};
use crate::opening::full_path;
use crate::options::TreeOptions;
use crate::stat_cache::CachePass;
use crate::walk::{TreeWalk, WalkStep};
use crate::workers::Workers;

/// An iterator over the entries of a tree, depth first. A directory comes before its children, and the
/// children follow [`TreeOptions::order`].
///
/// The file threads open and read small files ahead, within bounds on their number and size. Large files are hashed on
/// the compute threads, or returned open. After an error the iterator ends.
///
/// ```
/// use larder_tree::{TreeOptions, TreeReader};
///
/// # let dir = tempfile::tempdir()?;
/// # std::fs::create_dir(dir.path().join("sub"))?;
/// std::fs::write(dir.path().join("sub/file"), "content")?;
/// let mut paths = Vec::new();
/// for entry in TreeReader::open(dir.path(), &TreeOptions::default()) {
///     paths.push(String::from_utf8(entry?.path)?);
/// }
/// assert_eq!(paths, ["", "sub", "sub/file"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TreeReader<D: FileDigester> {
    walk: TreeWalk,
    workers: Workers,
    context: Arc<ReadContext<D>>,
    max_batch: usize,
    /// The entries that were walked but not yet returned.
    ahead: VecDeque<Slot<D::Digest>>,
    /// Files that are in no batch yet.
    unassigned: Vec<BatchFile>,
    /// The batches in progress, in order.
    assigned: VecDeque<Receiver<Vec<BatchedFile<D::Digest>>>>,
    /// The rest of the batch whose files are being returned.
    answered: VecDeque<BatchedFile<D::Digest>>,
    files: usize,
    walked: bool,
    cache: Option<CachePass>,
}

#[expect(clippy::large_enum_variant, reason = "there are few, and an allocation takes longer")]
enum Slot<D> {
    Ready(TreeEntry<D>),
    /// The next file of the batches.
    File,
    Failed(TreeError),
}

/// The number of entries that are read ahead. It is enough to keep all file threads busy. Four readers
/// together stay below the usual limit of a thousand descriptors per process.
const AHEAD: usize = 128;

/// The largest number of files in a batch. For ten thousand files in the page cache, waking a thread per file
/// takes a quarter of the time. The first batches have one file each, so that a few slow files are opened in
/// parallel.
const MAX_BATCH: usize = 8;
const FILES_BEFORE_BATCHES: usize = 16;

impl TreeReader<NoDigest> {
    /// Starts to read the tree at `root`, which may be a file, a directory, or a link to either. Files are
    /// returned as bytes or open.
    pub fn open(root: impl Into<PathBuf>, options: &TreeOptions) -> Self {
        Self::with_digester(root, options, NoDigest, ReadMode::Bytes)
    }
}

impl<D: FileDigester> TreeReader<D> {
    /// Starts to read the tree at `root`, and hashes its files with `digester`.
    pub fn with_digester(
        root: impl Into<PathBuf>,
        options: &TreeOptions,
        digester: D,
        mode: ReadMode,
    ) -> Self {
        let root = root.into();
        let cache = begin_cache(&root, options, &digester);
        let context = Arc::new(ReadContext::new(&root, Arc::clone(&options.observer), digester, mode));
        // Each thread has two batches: the current one and the next.
        let max_batch = AHEAD / options.workers.file_threads() / 2;
        Self {
            walk: TreeWalk::new(root, options),
            workers: options.workers.clone(),
            context,
            max_batch: max_batch.clamp(1, MAX_BATCH),
            ahead: VecDeque::new(),
            unassigned: Vec::new(),
            assigned: VecDeque::new(),
            answered: VecDeque::new(),
            files: 0,
            walked: false,
            cache,
        }
    }

    /// Records in the cache the digest of the last entry, which was returned open and then read to its end without an error.
    pub fn remember(&mut self, path: &[u8], state: &FileState, digest: &D::Digest) {
        if let (Some(cache), Some(bytes)) = (&mut self.cache, D::digest_bytes(digest)) {
            cache.record(path, state, bytes, false);
        }
    }

    /// Changes the mode to [`ReadMode::Digest`]. Files that were read ahead may still be returned with their
    /// bytes.
    pub fn stop_reading(&self) {
        self.context.stop_reading();
    }

    /// Opens the target of a link of this tree, wherever it is. Returns `None` if the target is not a regular
    /// file.
    ///
    /// # Errors
    ///
    /// [`TreeError::Io`] if the link can be followed but the file cannot be opened.
    pub fn open_target(&self, link: &TreeEntry<D::Digest>) -> Result<Option<OpenFile>, TreeError> {
        let path = full_path(self.walk.root(), &link.path);
        match rustix::fs::stat(&path) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
                let (root, observer) = (Arc::clone(&self.context.root), Arc::clone(&self.context.observer));
                OpenFile::open_below(root, link.path.clone(), observer).map(Some)
            }
            // The target is not a regular file, is missing, or is the link itself.
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(TreeError::Io { operation: "follow the link", path, source: error.into() }),
        }
    }

    /// Walks on until enough entries are read ahead.
    fn fill(&mut self) {
        while !self.walked && self.ahead.len() < AHEAD {
            let slot = match self.walk.next() {
                _ if self.context.observer.is_cancelled() => Slot::Failed(TreeError::Cancelled),
                Err(error) => Slot::Failed(error),
                Ok(None) => {
                    self.walked = true;
                    break;
                }
                Ok(Some(WalkStep::Entry { path, kind })) => {
                    Slot::Ready(self.context.entry_without_body(path, kind))
                }
                Ok(Some(WalkStep::File { path, location })) => {
                    self.files += 1;
                    let known = self.cache.as_mut().and_then(|cache| cache.find(&path));
                    self.unassigned.push(BatchFile { path, location, known });
                    if self.unassigned.len() >= (self.files / FILES_BEFORE_BATCHES).clamp(1, self.max_batch) {
                        self.assign();
                    }
                    Slot::File
                }
            };
            self.walked = matches!(slot, Slot::Failed(_));
            self.ahead.push_back(slot);
        }
        // A batch that is not full starts at the end of the walk, or when no other batch is in progress.
        if self.walked || self.assigned.is_empty() {
            self.assign();
        }
    }

    /// Gives a file thread the next batch.
    fn assign(&mut self) {
        if self.unassigned.is_empty() {
            return;
        }
        let (sender, answer) = sync_channel(1);
        let batch = FileBatch {
            files: std::mem::take(&mut self.unassigned),
            context: Arc::clone(&self.context),
            sender,
        };
        let workers = self.workers.clone();
        self.workers.spawn_file(move || batch.run(&workers));
        self.assigned.push_back(answer);
    }

    /// The next file of the batches.
    fn next_file(&mut self) -> Result<TreeEntry<D::Digest>, TreeError> {
        // A thread that panicked drops its end of the channel.
        let lost = |_| TreeError::Worker { path: self.walk.root().to_owned() };
        if self.answered.is_empty()
            && let Some(answer) = self.assigned.pop_front()
        {
            self.answered = answer.recv().map_err(lost)?.into();
        }
        match self.answered.pop_front() {
            Some(BatchedFile::Entry(entry)) => entry,
            Some(BatchedFile::Later(entry)) => entry.recv().map_err(lost)?,
            None => Err(TreeError::Worker { path: self.walk.root().to_owned() }),
        }
    }

    fn resolve(&mut self, slot: Slot<D::Digest>) -> Result<TreeEntry<D::Digest>, TreeError> {
        let mut entry = match slot {
            Slot::Ready(entry) => entry,
            Slot::Failed(error) => return Err(error),
            Slot::File => self.next_file()?,
        };
        if !self.context.reads() {
            entry.body = match entry.body {
                EntryBody::Open(file) if entry.digest.is_none() => {
                    entry.digest = self.context.digester.digest_file(file, Some(&self.workers))?;
                    EntryBody::None
                }
                body => body,
            };
        }
        self.remember_entry(&entry);
        Ok(entry)
    }

    fn remember_entry(&mut self, entry: &TreeEntry<D::Digest>) {
        if let (Some(cache), EntryKind::File { .. }) = (&mut self.cache, &entry.kind)
            && let (Some(state), Some(digest)) = (&entry.state, &entry.digest)
            && let Some(bytes) = D::digest_bytes(digest)
        {
            cache.record(&entry.path, state, bytes, entry.is_remembered);
        }
    }

    /// Writes the cache.
    fn finish_cache(&mut self, is_complete: bool) {
        if let Some(cache) = self.cache.take() {
            cache.finish(is_complete);
        }
    }
}

/// Begins a pass of the cache, if there is one and if it keeps such digests. Links that are followed, and ignored files, make
/// another tree.
fn begin_cache<D: FileDigester>(root: &Path, options: &TreeOptions, digester: &D) -> Option<CachePass> {
    let (cache, name) = (options.stat_cache.as_ref()?, digester.cache_name()?);
    if options.ignore.is_none() && cache.is_within(root) {
        // Writing the cache would change the tree.
        return None;
    }
    let followed = if options.dereference { " followed" } else { "" };
    let ignored = if options.ignore.is_some() { " ignored" } else { "" };
    Some(cache.begin(root, &format!("{name}{followed}{ignored}")))
}

impl<D: FileDigester> Iterator for TreeReader<D> {
    type Item = Result<TreeEntry<D::Digest>, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill();
        let Some(slot) = self.ahead.pop_front() else {
            self.finish_cache(true);
            return None;
        };
        let entry = self.resolve(slot);
        if entry.is_err() {
            self.walked = true;
            self.ahead.clear();
            self.context.abandon();
            self.finish_cache(false);
        }
        Some(entry)
    }
}

impl<D: FileDigester> Drop for TreeReader<D> {
    fn drop(&mut self) {
        self.context.abandon();
        self.finish_cache(false);
    }
}

impl<D: FileDigester> fmt::Debug for TreeReader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeReader").field("root", &self.walk.root()).finish_non_exhaustive()
    }
}
