//! The receivers of a tar stream: the compressor, or memory.

use bytes::Bytes;
use larder_tree::OpenFile;

use super::content::ContentHasher;
use super::error::PackError;
use crate::frames::{FrameWriter, PIECE};

/// Takes a stream of bytes. Callers can read directly into its buffer.
pub(super) trait Sink {
    /// Returns the room for the next bytes, which is never empty.
    fn spare_mut(&mut self) -> Result<&mut [u8], PackError>;

    /// Counts the first `len` bytes of the spare room as written.
    fn advance(&mut self, len: usize) -> Result<(), PackError>;

    /// Writes all of `bytes`.
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
        while !bytes.is_empty() {
            let spare = self.spare_mut()?;
            let len = spare.len().min(bytes.len());
            spare[..len].copy_from_slice(&bytes[..len]);
            self.advance(len)?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Writes zero bytes.
    fn write_zeros(&mut self, count: usize) -> Result<(), PackError> {
        const ZEROS: [u8; 1024] = [0; 1024];
        self.write(&ZEROS[..count])
    }

    /// Writes all of `file`, and hashes it meanwhile.
    fn copy(&mut self, file: &mut OpenFile, hasher: &mut ContentHasher) -> Result<(), PackError> {
        loop {
            let spare = self.spare_mut()?;
            let room = spare.len().min(STRIDE);
            let len = file.read(&mut spare[..room])?;
            if len == 0 {
                return Ok(());
            }
            hasher.update(&spare[..len]);
            self.advance(len)?;
        }
    }
}

/// How many bytes of a large file are read before they are hashed. They must still be in the cache then.
const STRIDE: usize = 512 << 10;

impl Sink for FrameWriter {
    fn spare_mut(&mut self) -> Result<&mut [u8], PackError> {
        Ok(self.spare_mut()?)
    }

    fn advance(&mut self, len: usize) -> Result<(), PackError> {
        Ok(self.advance(len)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        Ok(self.write(bytes)?)
    }
}

/// A tar stream in memory, in pieces of the size of a frame.
#[derive(Default)]
pub(super) struct ArchiveInMemory {
    /// The pieces. All but the last are full, and each has the capacity of a whole piece.
    pieces: Vec<Vec<u8>>,
    /// How many bytes of the last piece are written. Zeros follow.
    filled: usize,
}

impl ArchiveInMemory {
    pub(super) fn len(&self) -> usize {
        self.pieces.len().saturating_sub(1) * PIECE + self.filled
    }

    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        if let Some(last) = self.pieces.last_mut() {
            // Most outputs are much smaller than a piece, and its room may be kept for long.
            last.truncate(self.filled);
            last.shrink_to_fit();
        }
        self.pieces.into_iter().map(Bytes::from).collect()
    }
}

impl Sink for ArchiveInMemory {
    fn spare_mut(&mut self) -> Result<&mut [u8], PackError> {
        if self.filled == PIECE || self.pieces.is_empty() {
            let mut piece = Vec::new();
            piece.try_reserve_exact(PIECE)?;
            self.pieces.push(piece);
            self.filled = 0;
        }
        let Some(last) = self.pieces.last_mut() else { return Ok(&mut []) };
        if self.filled == last.len() {
            // Grow step by step, because most outputs do not fill a piece.
            last.resize(PIECE.min(self.filled + STRIDE), 0);
        }
        Ok(&mut last[self.filled..])
    }

    fn advance(&mut self, len: usize) -> Result<(), PackError> {
        self.filled += len;
        Ok(())
    }
}
