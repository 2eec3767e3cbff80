//! Remembers the digests of files, so that files that did not change are not read again.
//!
//! The rules make sure that a remembered digest is never wrong:
//!
//! - A file is recognized by its path in the tree, inode, size, time of modification, and time of status change. Programs
//!   cannot set the last one.
//! - A digest is recorded only if both times are earlier than the file system's own clock was before the pass began. So
//!   whatever changes the file later gives it another time. Where times are coarse, there is a margin.
//! - Where no file can be touched, nothing is recorded.
//!
//! A program that writes through a shared memory mapping changes the times of the file late. Nothing notices this before the
//! mapping is synchronized, except the comparison of the content hash when the file is packed.

mod clock;
mod format;
mod place;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

pub use clock::FileSystemTime;
pub(crate) use format::{CachedFile, DIGEST_LEN};

use crate::file::FileState;
use format::header;
use place::CachePlace;
use reader::CacheReader;
use writer::CacheWriter;

/// Reads the clock of the file system that a tree is on.
type ReadClock = Arc<dyn Fn(&Path) -> Option<FileSystemTime> + Send + Sync>;

/// The digests of files of a project, below `.larder/stat`.
///
/// It is only an optimization. No failure of the cache is an error: a file whose digest is not known is read. A damaged file of
/// the cache counts as absent from the damage on. Two processes may use one cache at the same time.
#[derive(Clone)]
pub struct StatCache {
    place: Arc<CachePlace>,
    /// Instead of the file system's clock, in tests.
    clock: Option<ReadClock>,
}

impl StatCache {
    /// Returns the cache of the project at `root`. If the project has no `.larder`, nothing is recorded.
    pub fn new(root: &Path) -> Self {
        Self { place: Arc::new(CachePlace::new(root, false)), clock: None }
    }

    /// Sets whether `.larder` is created for a large tree: one of which more than 64 MiB or about 700 files were read.
    #[must_use]
    pub fn with_creates(mut self, creates: bool) -> Self {
        self.place = Arc::new(self.place.with_creates(creates));
        self
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: ReadClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Reads the clock of the file system that `tree` is on, for [`StatCache::record`]. Returns `None` if nothing can be
    /// recorded.
    pub fn clock(&self, tree: &Path) -> Option<FileSystemTime> {
        if let Some(clock) = &self.clock {
            return clock(tree);
        }
        let found = tree.metadata().ok()?;
        if let Some(directory) = self.place.open()
            && let Some(now) = FileSystemTime::now(&directory, true)
            && now.device == found.dev()
        {
            return Some(now);
        }
        // The tree is on another file system. Only a file without a name can be touched there.
        let directory = if found.is_dir() { tree } else { tree.parent()? };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        FileSystemTime::now(&File::open(directory).ok()?, false).filter(|now| now.device == found.dev())
    }

    /// Returns whether the files of the cache are in a tree.
    pub(crate) fn is_within(&self, tree: &Path) -> bool {
        self.place.is_within(tree)
    }

    /// Begins a pass over a tree. `kind` distinguishes passes that see different digests or files.
    pub(crate) fn begin(&self, tree: &Path, kind: &str) -> CachePass {
        let (key, name) = self.place.key(tree, kind);
        // Before any file is read.
        let clock = self.clock(tree);
        let opened = self.place.open().and_then(|directory| directory.open_regular(&name).ok()?);
        let old = opened.and_then(|file| CacheReader::open(file, &key));
        // If the clock was set back, it may show the same times once more. A later pass must not find the old entries either.
        let is_stale = matches!((&old, clock), (Some((_, recorded)), Some(now)) if now.is_before(*recorded));
        let old = old.filter(|_| !is_stale).map(|(reader, _)| reader);
        let header = clock.map(|now| header(&key, (now.seconds, now.nanoseconds))).unwrap_or_default();
        let writer = CacheWriter::new(Arc::clone(&self.place), name, header, old).replacing(is_stale);
        CachePass { clock, writer, is_new: false, is_broken: false }
    }

    /// Records the digests of files that were just created at `tree`, in the order of a walk. `clock` is the time after the last
    /// of them was closed, and `state` that of a file when it was closed. `kind` is the name of the digests.
    pub fn record<'a>(
        &self,
        tree: &Path,
        kind: &str,
        clock: FileSystemTime,
        files: impl IntoIterator<Item = (&'a [u8], FileState, [u8; DIGEST_LEN])>,
    ) {
        let (key, name) = self.place.key(tree, kind);
        let header = header(&key, (clock.seconds, clock.nanoseconds));
        let writer = CacheWriter::new(Arc::clone(&self.place), name, header, None);
        let mut pass = CachePass { clock: Some(clock), writer, is_new: false, is_broken: false };
        for (path, state, digest) in files {
            pass.record(path, &state, digest, false);
        }
        pass.finish(true);
    }
}

impl fmt::Debug for StatCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatCache").field("place", &self.place).finish_non_exhaustive()
    }
}

/// One pass over a tree, in the order of a walk.
pub(crate) struct CachePass {
    /// The clock before the pass. Without it, nothing is recorded.
    clock: Option<FileSystemTime>,
    writer: CacheWriter,
    /// Whether an entry was recorded that is not among the old ones.
    is_new: bool,
    /// Whether the new file could not be written.
    is_broken: bool,
}

impl CachePass {
    /// Returns what is known of the file at `path`.
    pub(crate) fn find(&mut self, path: &[u8]) -> Option<CachedFile> {
        self.writer.old.as_mut()?.find(path)
    }

    /// Records the digest of a file that had `state` before and after it was read, or whose digest was known.
    pub(crate) fn record(
        &mut self,
        path: &[u8],
        state: &FileState,
        digest: [u8; DIGEST_LEN],
        was_known: bool,
    ) {
        let Some(clock) = self.clock.filter(|_| !self.is_broken) else { return };
        if !was_known {
            self.writer.read_bytes = self.writer.read_bytes.saturating_add(state.size);
        }
        if was_known || clock.is_after(state) {
            self.is_new |= !was_known;
            self.is_broken = self.writer.add(path, &CachedFile::new(state, digest)).is_err();
        }
    }

    /// Ends the pass. One that saw only the beginning of the tree keeps the other old entries.
    pub(crate) fn finish(mut self, is_complete: bool) {
        if self.clock.is_none() || self.is_broken || !(is_complete || self.is_new || self.writer.replaces) {
            return;
        }
        if !is_complete && self.writer.add_rest().is_err() {
            return;
        }
        // A file of the cache that cannot be written is not missed.
        let _ = self.writer.finish();
    }
}
