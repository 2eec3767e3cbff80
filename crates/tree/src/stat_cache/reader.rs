//! Reads a file of the cache, in the order of a walk.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};

use super::format::{BlockMark, CachedFile, compare, read_block, read_entry, read_header};

/// Entries in the order of a walk. One block at a time is in memory.
pub(super) struct CacheReader {
    file: File,
    /// The length of the header, in bytes.
    header_len: u64,
    block: Vec<u8>,
    /// The length of the part of the block that is not read yet.
    unread: usize,
    path: Vec<u8>,
    /// The entry at `path`.
    current: Option<CachedFile>,
    /// The blocks that were read.
    pub(super) marks: Vec<BlockMark>,
}

impl CacheReader {
    /// Reads the header. Returns the reader and the clock of the pass that wrote the file. Returns `None` if the file is of
    /// another tree or damaged.
    pub(super) fn open(mut file: File, key: &[u8]) -> Option<(Self, (i64, i64))> {
        let clock = read_header(&mut file, key)?;
        let header_len = file.stream_position().ok()?;
        let mut reader = Self {
            file,
            header_len,
            block: Vec::new(),
            unread: 0,
            path: Vec::new(),
            current: None,
            marks: Vec::new(),
        };
        reader.advance();
        Some((reader, clock))
    }

    /// Returns the entry at `path`. The calls must be in the order of a walk.
    pub(super) fn find(&mut self, path: &[u8]) -> Option<CachedFile> {
        loop {
            let found = self.current?;
            match compare(&self.path, path) {
                Ordering::Less => self.advance(),
                Ordering::Equal => return Some(found),
                Ordering::Greater => return None,
            }
        }
    }

    /// Returns the current entry, if any is left.
    pub(super) fn current(&self) -> Option<(&[u8], CachedFile)> {
        Some((&self.path, self.current?))
    }

    /// Moves on to the next entry.
    pub(super) fn advance(&mut self) {
        self.current = None;
        if self.unread == 0 {
            let Some(mark) = read_block(&mut self.file, &mut self.block) else { return };
            self.marks.push(mark);
            self.unread = self.block.len();
            self.path.clear();
        }
        let mut rest = &self.block[self.block.len() - self.unread..];
        self.current = read_entry(&mut rest, &mut self.path);
        // A block with a correct checksum that cannot be read was written by a faulty program: it ends the file.
        self.unread = if self.current.is_some() { rest.len() } else { 0 };
    }

    /// Returns whether the file has exactly `blocks` blocks, and nothing else.
    pub(super) fn ends_after(&mut self, blocks: usize) -> bool {
        let read: u64 = self.marks.iter().map(|mark| mark.total_len()).sum();
        self.marks.len() == blocks
            && self.file.metadata().is_ok_and(|found| found.len() == self.header_len + read)
    }

    /// Copies the first `blocks` blocks.
    pub(super) fn copy_blocks(&mut self, blocks: usize, to: &mut File) -> io::Result<()> {
        let len = self.marks[..blocks].iter().map(|mark| mark.total_len()).sum();
        let position = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(self.header_len))?;
        let copied = io::copy(&mut io::Read::take(&mut self.file, len), to)?;
        self.file.seek(SeekFrom::Start(position))?;
        if copied == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
