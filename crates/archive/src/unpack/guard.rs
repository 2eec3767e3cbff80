//! Watches the tar stream below the parser: what a parser skips or buffers without a look is checked here.

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

/// How many zeros may follow the end of an archive, in bytes. Programs fill up their last record, which has 10 KiB
/// unless someone asks for more; a terabyte of zeros would cost its sender nothing.
const MAX_END: u64 = 16 << 20;

/// Where the decompressed tar stream comes from, piece by piece.
pub(super) trait PieceSource {
    /// The next piece, which is not empty. `None` where the stream was read to its very end and all of it was right.
    fn next(&mut self) -> Result<Option<Bytes>, UnpackError>;
}

/// The tar stream. A parser reads one clone of it, and whoever drives the parser has another.
///
/// It is never pending: it waits for pieces where it stands, on a thread that is there for that.
pub(super) struct Guard<P>(Arc<Mutex<GuardState<P>>>);

struct GuardState<P> {
    pieces: P,
    piece: Bytes,
    /// How many bytes have passed.
    position: u64,
    /// What the bytes at the position are.
    part: StreamPart,
    /// How many bytes have passed since the contents of the last entry.
    headers: u64,
    max_headers: u64,
    /// Whether somebody wanted to read more than there is.
    ended: bool,
    /// Why the stream ended early. The parser only gets to know that it did.
    failure: Option<UnpackError>,
}

/// What a byte of a tar stream belongs to.
enum StreamPart {
    /// The block of a header, of which this much has passed.
    Header(Box<[u8; BLOCK_BYTES]>, usize),
    /// The records of a long name or of pax, which end there and are padded with zeros.
    Records { end: u64 },
    /// The contents of an entry, which end there and are padded with zeros.
    Contents { end: u64 },
    /// Zeros up to there.
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
    /// Watches the stream of `pieces`, which may have so many bytes of headers between the contents of two entries.
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

    /// The parser has come to the contents of an entry, which have so many bytes from here on.
    pub(super) fn contents(&self, size: u64) -> Result<(), UnpackError> {
        let mut state = self.state();
        let end = state.position.checked_add(size).filter(|end| *end <= u64::MAX - BLOCK);
        let end = end.ok_or_else(|| UnpackError::damaged("an entry claims an impossible size"))?;
        state.headers = 0;
        state.part = StreamPart::Contents { end };
        state.settle();
        Ok(())
    }

    /// What stopped the parser: the stream, or that it is over, or what the parser has read.
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

    /// Reads the end of the archive, of which the parser has seen the first block, or nothing: two blocks of zeros or
    /// more, and nothing else.
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

    /// How many bytes have passed.
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

    /// Goes on to the next part where one is over.
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
                        // The contents of anything else are announced by whoever drives the parser. Until then, and
                        // where the parser refuses the header, nothing more is read.
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
