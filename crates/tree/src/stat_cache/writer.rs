//! Updates a file of the cache. Nothing is written while the blocks are those of the old file.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::format::{BLOCK, BlockMark, CachedFile, write_entry};
use super::place::{CachePlace, TEMPORARY};
use super::reader::CacheReader;
use crate::state_directory::StateDirectory;

/// A pass that read more bytes than this is large, and so is one that fills a block, with about 700 files. Reading them again
/// would take longer than a user notices.
const LARGE: u64 = 64 << 20;

/// Distinguishes the temporary files of a process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The new entries of a file of the cache, beside the old ones.
pub(super) struct CacheWriter {
    place: Arc<CachePlace>,
    /// The name of the file.
    name: String,
    header: Vec<u8>,
    pub(super) old: Option<CacheReader>,
    /// Whether the old file is replaced even if there is no entry.
    pub(super) replaces: bool,
    block: Vec<u8>,
    /// The path of the last entry of the block.
    path: Vec<u8>,
    /// The number of complete blocks.
    blocks: usize,
    /// The new file, from the first block that differs.
    file: Option<NewCacheFile>,
    /// How many bytes of the tree were read.
    pub(super) read_bytes: u64,
}

impl CacheWriter {
    pub(super) fn new(
        place: Arc<CachePlace>,
        name: String,
        header: Vec<u8>,
        old: Option<CacheReader>,
    ) -> Self {
        Self {
            place,
            name,
            header,
            old,
            replaces: false,
            block: Vec::new(),
            path: Vec::new(),
            blocks: 0,
            file: None,
            read_bytes: 0,
        }
    }

    /// Replaces the old file even if there is no entry.
    pub(super) fn replacing(mut self, replaces: bool) -> Self {
        self.replaces = replaces;
        self
    }

    /// Adds an entry. Entries must come in the order of a walk.
    pub(super) fn add(&mut self, path: &[u8], file: &CachedFile) -> io::Result<()> {
        write_entry(&mut self.block, &self.path, path, file)?;
        self.path.clear();
        self.path.extend_from_slice(path);
        if self.block.len() >= BLOCK { self.seal(true) } else { Ok(()) }
    }

    /// Adds all old entries that are left.
    pub(super) fn add_rest(&mut self) -> io::Result<()> {
        while let Some(old) = &mut self.old
            && let Some((path, file)) = old.current()
        {
            let path = path.to_vec();
            old.advance();
            self.add(&path, &file)?;
        }
        Ok(())
    }

    fn seal(&mut self, is_large: bool) -> io::Result<()> {
        let mark = BlockMark::of(&self.block);
        let old = self.old.as_ref().and_then(|old| old.marks.get(self.blocks));
        if self.file.is_some() || old != Some(&mark) {
            let mut new = self.new_file(is_large)?;
            new.file.write_all(&mark.to_bytes())?;
            new.file.write_all(&self.block)?;
            self.file = Some(new);
        }
        self.blocks += 1;
        self.block.clear();
        self.path.clear();
        Ok(())
    }

    /// Takes the new file. First creates it, with the blocks that are the same as in the old one.
    fn new_file(&mut self, is_large: bool) -> io::Result<NewCacheFile> {
        if let Some(file) = self.file.take() {
            return Ok(file);
        }
        let mut new = NewCacheFile::create(self.place.create(is_large || self.read_bytes > LARGE)?)?;
        new.file.write_all(&self.header)?;
        if let Some(old) = &mut self.old {
            old.copy_blocks(self.blocks, &mut new.file)?;
        }
        Ok(new)
    }

    /// Puts the file into place, if it differs from the old one.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.seal(false)?;
        }
        let is_same = match &mut self.old {
            Some(old) => old.ends_after(self.blocks),
            None => self.blocks == 0 && !self.replaces,
        };
        if self.file.is_none() && is_same {
            return Ok(());
        }
        self.new_file(false)?.put_into_place(&self.name)
    }
}

/// A new file under a temporary name. Dropping it removes it, unless it was put into place.
struct NewCacheFile {
    file: File,
    name: String,
    directory: StateDirectory,
    is_in_place: bool,
}

impl NewCacheFile {
    fn create(directory: StateDirectory) -> io::Result<Self> {
        loop {
            let name =
                format!("{TEMPORARY}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            match directory.create_new(&name) {
                Ok(file) => return Ok(Self { file, name, directory, is_in_place: false }),
                // It belongs to a dead process.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn put_into_place(mut self, name: &str) -> io::Result<()> {
        self.directory.rename(&self.name, name)?;
        self.is_in_place = true;
        Ok(())
    }
}

impl Drop for NewCacheFile {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = self.directory.remove_file(&self.name);
        }
    }
}
