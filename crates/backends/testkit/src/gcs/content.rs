//! The bytes of objects: small ones in memory, large ones in files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use md5::{Digest as _, Md5};

use crate::gcs::checksums::{Checksums, Hasher};

/// The size above which a content is in a file. Tests create thousands of small objects, and some of gigabytes.
const MEMORY_LIMIT: usize = 1 << 20;

/// The maximum size of a read.
pub(super) const CHUNK: usize = 256 << 10;

#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Bytes),
    /// An unnamed file, which the system removes when it is closed, even after a crash.
    File(Arc<File>, u64),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, len) => *len,
        }
    }

    /// Reads at most `len` bytes from `offset` on, and at most [`CHUNK`].
    ///
    /// It blocks the server's thread, but the bytes are usually in the system's cache.
    pub(super) fn read(&self, offset: u64, len: u64) -> io::Result<Bytes> {
        let len = usize::try_from(len).unwrap_or(CHUNK).min(CHUNK);
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
                Ok(bytes.slice(start..bytes.len().min(start + len)))
            }
            Self::File(file, _) => {
                let mut bytes = BytesMut::zeroed(len);
                let read = file.read_at(&mut bytes, offset)?;
                bytes.truncate(read);
                Ok(bytes.freeze())
            }
        }
    }

    /// Returns the content in chunks.
    pub(super) fn pieces(&self) -> impl Iterator<Item = io::Result<Bytes>> {
        let pieces = self.len().div_ceil(CHUNK as u64);
        (0..pieces).map(|piece| self.read(piece * CHUNK as u64, CHUNK as u64))
    }

    /// Computes the MD5 that the hasher has skipped.
    pub(super) fn md5(&self) -> io::Result<[u8; 16]> {
        let mut md5 = Md5::new();
        for piece in self.pieces() {
            md5.update(&piece?);
        }
        Ok(md5.finalize().into())
    }
}

/// A content that is still incomplete.
#[derive(Debug)]
pub(super) struct ContentWriter {
    dir: PathBuf,
    bytes: BytesMut,
    file: Option<File>,
    len: u64,
    hasher: Hasher,
}

impl ContentWriter {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), bytes: BytesMut::new(), file: None, len: 0, hasher: Hasher::new() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.bytes.len() + bytes.len() > MEMORY_LIMIT {
            let file = tempfile::tempfile_in(&self.dir)?;
            file.write_all_at(&self.bytes, 0)?;
            self.bytes = BytesMut::new();
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => file.write_all_at(bytes, self.len)?,
            None => self.bytes.extend_from_slice(bytes),
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Completes the content. Computes its MD5 if it is short enough or if `needs_md5` is set.
    pub(super) fn finish(self, needs_md5: bool) -> io::Result<(Content, Checksums)> {
        let content = match self.file {
            Some(file) => Content::File(Arc::new(file), self.len),
            None => Content::Memory(self.bytes.freeze()),
        };
        let mut checksums = self.hasher.finish();
        if needs_md5 && checksums.md5.is_none() {
            checksums.md5 = Some(content.md5()?);
        }
        Ok((content, checksums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload;

    #[test]
    fn small_contents_are_in_memory_and_large_ones_in_files_without_a_name() {
        let dir = tempfile::tempdir().unwrap();
        for (len, is_file) in [(0, false), (MEMORY_LIMIT, false), (MEMORY_LIMIT + 1, true), (3_000_000, true)]
        {
            let bytes = payload(1, len);
            let mut writer = ContentWriter::new(dir.path());
            for chunk in bytes.chunks(300_001) {
                writer.append(chunk).unwrap();
            }
            let (content, checksums) = writer.finish(false).unwrap();
            assert_eq!(matches!(content, Content::File(..)), is_file, "{len}");
            assert_eq!(content.len(), len as u64);
            let pieces: Vec<u8> = content.pieces().flat_map(Result::unwrap).collect();
            assert!(pieces == bytes, "{len}");
            assert_eq!(checksums.md5, Some(content.md5().unwrap()));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
