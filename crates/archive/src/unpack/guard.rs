//! Checks the tar stream below the parser, including the bytes that a parser skips or buffers unseen.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_tar::Header;

use super::error::UnpackError;

/// The size of a block of tar, in bytes.
const BLOCK_BYTES: usize = 512;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// How many zeros may follow the end of an archive, in bytes. Programs pad their last record, which has 10 KiB by default.
/// A terabyte of zeros would cost its sender nothing.
const MAX_END: u64 = 16 << 20;

/// The source of the decompressed tar stream.
pub(super) trait PieceSource {
    /// Returns the next piece, which is not empty. `None` means that the stream was read to its end without an error.
    fn next(&mut self) -> Result<Option<Bytes>, UnpackError>;
}

/// The tar stream. The parser has one clone of it, and its caller has another.
///
/// It is never pending, because it blocks its thread while it waits for pieces.
pub(super) struct Guard<P>(Arc<Mutex<GuardState<P>>>);

struct GuardState<P> {
    pieces: P,
    piece: Bytes,
    /// The number of bytes that have passed.
    position: u64,
    /// The part of the stream at the position.
    part: StreamPart,
    /// How many bytes have passed since the contents of the last entry.
    headers: u64,
    max_headers: u64,
    /// Whether a read went beyond the end of the stream.
    ended: bool,
    /// The reason why the stream ended early. The parser only sees the end.
    failure: Option<UnpackError>,
}

/// A part of a tar stream.
enum StreamPart {
    /// A header block. This many of its bytes have passed.
    Header(Box<[u8; BLOCK_BYTES]>, usize),
    /// The records of a long name or of pax. They end at this position and are padded with zeros.
    Records { end: u64 },
    /// The contents of an entry. They end at this position and are padded with zeros.
    Contents { end: u64 },
    /// Zeros up to this position.
    Padding { end: u64 },
}

impl StreamPart {
    fn header() -> Self {
        Self::Header(Box::new([0; BLOCK_BYTES]), 0)
    }
}

impl<P> Clone for Guard<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: PieceSource> Guard<P> {
    /// Checks the stream of `pieces`. It may have this many bytes of headers between the contents of two entries.
    pub(super) fn new(pieces: P, max_headers: u64) -> Self {
        Self(Arc::new(Mutex::new(GuardState {
            pieces,
            piece: Bytes::new(),
            position: 0,
            part: StreamPart::header(),
            headers: 0,
            max_headers,
            ended: false,
            failure: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, GuardState<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that the parser has reached the contents of an entry, and their length.
    pub(super) fn contents(&self, size: u64) -> Result<(), UnpackError> {
        let mut state = self.state();
        let end = state.position.checked_add(size).filter(|end| *end <= u64::MAX - BLOCK);
        let end = end.ok_or_else(|| UnpackError::damaged("an entry claims an impossible size"))?;
        state.headers = 0;
        state.part = StreamPart::Contents { end };
        state.settle();
        Ok(())
    }

    /// Returns the error that stopped the parser: a failed stream, its early end, or invalid bytes.
    pub(super) fn broken(&self, error: io::Error) -> UnpackError {
        let mut state = self.state();
        match state.failure.take() {
            Some(failure) => failure,
            None if state.ended => UnpackError::Truncated { place: "in the middle of an entry" },
            None => UnpackError::Damaged {
                what: "its tar data cannot be read".to_owned(),
                source: Some(Box::new(error)),
            },
        }
    }

    /// Reads the end of the archive: two or more blocks of zeros, and nothing else. The parser has read at most the first
    /// of them.
    pub(super) fn finish(&self, contents_end: u64) -> Result<(), UnpackError> {
        let mut state = self.state();
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let most = state.position.saturating_add(MAX_END);
        loop {
            if state.piece.iter().any(|byte| *byte != 0) {
                return Err(UnpackError::damaged("there are bytes after its end"));
            }
            state.position += state.piece.len() as u64;
            if state.position > most {
                return Err(UnpackError::damaged("there are too many zeros after its end"));
            }
            state.piece = Bytes::new();
            match state.pieces.next()? {
                Some(piece) => state.piece = piece,
                None => break,
            }
        }
        let end = state.position.saturating_sub(contents_end.next_multiple_of(BLOCK));
        if end < 2 * BLOCK || !state.position.is_multiple_of(BLOCK) {
            return Err(UnpackError::Truncated { place: "the mark of its end is missing" });
        }
        Ok(())
    }

    /// The number of bytes that have passed.
    pub(super) fn position(&self) -> u64 {
        self.state().position
    }
}

impl<P: PieceSource> GuardState<P> {
    /// Checks and counts bytes that pass.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), UnpackError> {
        while !bytes.is_empty() {
            let left = match &self.part {
                StreamPart::Header(_, filled) => BLOCK - *filled as u64,
                StreamPart::Records { end } | StreamPart::Contents { end } | StreamPart::Padding { end } => {
                    end - self.position
                }
            };
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (these, rest) = bytes.split_at(len);
            match &mut self.part {
                StreamPart::Header(block, filled) => {
                    block[*filled..*filled + len].copy_from_slice(these);
                    *filled += len;
                }
                StreamPart::Padding { .. } if these.iter().any(|byte| *byte != 0) => {
                    return Err(UnpackError::damaged("the padding of an entry is not zero"));
                }
                _ => {}
            }
            self.position += len as u64;
            if !matches!(self.part, StreamPart::Contents { .. }) {
                self.headers += len as u64;
                if self.headers > self.max_headers {
                    return Err(UnpackError::damaged(format!(
                        "an entry has more than {} bytes of headers, which is the limit",
                        self.max_headers
                    )));
                }
            }
            self.settle();
            bytes = rest;
        }
        Ok(())
    }

    /// Goes on to the next part at the end of one.
    fn settle(&mut self) {
        loop {
            match &self.part {
                StreamPart::Header(block, filled) if *filled == block.len() => {
                    let header = Header::from_byte_slice(&block[..]);
                    let kind = header.entry_type();
                    let has_records = kind.is_pax_local_extensions()
                        || kind.is_pax_global_extensions()
                        || kind.is_gnu_longname()
                        || kind.is_gnu_longlink();
                    self.part = match header.raw_entry_size() {
                        Ok(size) if has_records => {
                            StreamPart::Records { end: self.position.saturating_add(size) }
                        }
                        // The caller announces the contents of other entries. Until then, nothing more is read.
                        _ => StreamPart::header(),
                    };
                    return;
                }
                StreamPart::Records { end } | StreamPart::Contents { end } if *end <= self.position => {
                    self.part = StreamPart::Padding { end: end.next_multiple_of(BLOCK) };
                }
                StreamPart::Padding { end } if *end <= self.position => self.part = StreamPart::header(),
                _ => return,
            }
        }
    }
}

impl<P: PieceSource> AsyncRead for Guard<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let mut read = || {
            if state.piece.is_empty() {
                // Drop the old chunk before the wait for the next one.
                state.piece = Bytes::new();
                let Some(piece) = state.pieces.next()? else {
                    state.ended = true;
                    return Ok(());
                };
                state.piece = piece;
            }
            let len = state.piece.len().min(buffer.remaining());
            let bytes = state.piece.slice(..len);
            state.pass(&bytes)?;
            buffer.put_slice(&bytes);
            state.piece.advance(len);
            Ok(())
        };
        let outcome: Result<(), UnpackError> = read();
        Poll::Ready(outcome.map_err(|failure| {
            state.failure = Some(failure);
            io::Error::other("the stream ended early")
        }))
    }
}
