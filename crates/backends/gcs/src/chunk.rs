//! The bytes that one request sends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use larder_backend_http::progress::PIECE;
use tokio::sync::Semaphore;

/// Smaller pieces, in bytes, are copied together. A list of many small pieces would take more memory than the pieces.
const GATHERED: usize = 64 * 1024;

/// Bytes in the pieces in which they were given. Copying a whole object into new memory takes as long as hashing it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    pieces: Vec<Bytes>,
    /// Small pieces that follow the others.
    last: BytesMut,
    len: usize,
}

impl Chunk {
    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < GATHERED {
            self.last.extend_from_slice(&piece);
            if self.last.len() >= GATHERED {
                self.end_gathering();
            }
        } else {
            self.end_gathering();
            self.pieces.push(piece);
        }
    }

    fn end_gathering(&mut self) {
        if !self.last.is_empty() {
            self.pieces.push(self.last.split().freeze());
        }
    }

    pub(crate) fn crc32c(&self) -> u32 {
        let pieces = self.pieces.iter().map(|piece| &**piece).chain([&*self.last]);
        pieces.fold(0, crc32c::crc32c_append)
    }

    /// Splits the chunk after `at` bytes, and returns the rest.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        self.end_gathering();
        let (mut first, mut rest) = (Self::default(), Self::default());
        for mut piece in std::mem::take(&mut self.pieces) {
            let begin = piece.split_to(piece.len().min(at - first.len));
            for (part, piece) in [(&mut first, begin), (&mut rest, piece)] {
                if !piece.is_empty() {
                    part.push(piece);
                }
            }
        }
        *self = first;
        rest
    }

    /// The pieces, in order.
    pub(crate) fn into_pieces(mut self) -> Vec<Bytes> {
        self.end_gathering();
        self.pieces
    }

    /// Reads the chunk from the byte at `start`.
    pub(crate) fn read_from(mut self, start: usize) -> Unread {
        self.end_gathering();
        let mut unread =
            Unread { len: self.len, pieces: self.pieces.into_iter(), first: Bytes::new(), occupied: None };
        let mut skip = start;
        while skip > 0 {
            let skipped = unread.next(skip);
            if skipped.is_empty() {
                break;
            }
            skip -= skipped.len();
        }
        unread
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        let mut chunk = Self::default();
        chunk.push(bytes);
        chunk
    }
}

/// The unread bytes of a chunk.
#[derive(Debug)]
pub(crate) struct Unread {
    first: Bytes,
    pieces: std::vec::IntoIter<Bytes>,
    len: usize,
    occupied: Option<Occupied>,
}

/// Room that bytes occupy until they are read. All attempts to send the same bytes share it, and give it back once.
#[derive(Clone, Debug)]
pub(crate) struct Occupied {
    room: Arc<Semaphore>,
    bytes: Arc<AtomicUsize>,
}

impl Occupied {
    /// Takes over `bytes` permits of `room`, one for each byte.
    pub(crate) fn new(room: Arc<Semaphore>, bytes: usize) -> Self {
        Self { room, bytes: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Gives back up to `bytes` permits, as far as they are left.
    fn give_back(&self, bytes: usize) {
        let less = |left: usize| Some(left.saturating_sub(bytes));
        // This cannot fail, because there is always a next value.
        let left = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
        self.room.add_permits(bytes.min(left));
    }

    /// Gives back the permits that are left.
    pub(crate) fn give_all_back(&self) {
        self.give_back(usize::MAX);
    }
}

impl Unread {
    /// Gives back room as the bytes are read.
    pub(crate) fn giving_back(mut self, occupied: Option<Occupied>) -> Self {
        self.occupied = occupied;
        self
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the next bytes, at most `most` of them. The result is empty only at the end.
    pub(crate) fn next(&mut self, most: usize) -> Bytes {
        if self.first.is_empty() {
            self.first = self.pieces.next().unwrap_or_default();
        }
        let next = self.first.split_to(self.first.len().min(most));
        self.len -= next.len();
        if let Some(occupied) = &self.occupied {
            occupied.give_back(next.len());
        }
        next
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.next(PIECE)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of these lengths, and all of their bytes.
    fn chunk(lengths: &[usize]) -> (Chunk, Vec<u8>) {
        let (mut chunk, mut all) = (Chunk::default(), Vec::new());
        for (number, length) in (0_u8..).zip(lengths) {
            let piece: Vec<u8> = (0..=250).map(|byte| byte ^ number).cycle().take(*length).collect();
            all.extend_from_slice(&piece);
            chunk.push(piece.into());
        }
        (chunk, all)
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let lengths = [&[][..], &[0, 1], &[GATHERED, 3, GATHERED - 1, 200_000, 7], &[1000; 200]];
        for lengths in lengths {
            let (chunk, all) = chunk(lengths);
            assert_eq!(chunk.len(), all.len());
            assert_eq!(chunk.crc32c(), crc32c::crc32c(&all));
            for start in [0, 1, GATHERED - 1, GATHERED + 2, all.len()] {
                let start = start.min(all.len());
                let mut unread = chunk.clone().read_from(start);
                let mut read = Vec::new();
                while !unread.is_empty() {
                    assert_eq!(unread.len(), all.len() - start - read.len());
                    let next = unread.next(50_000);
                    assert!((1..=50_000).contains(&next.len()));
                    read.extend_from_slice(&next);
                }
                assert!(unread.next(1).is_empty());
                assert!(read == all[start..], "from {start}");
            }
        }
    }

    #[test]
    fn room_comes_back_once_however_often_the_bytes_are_read() {
        let room = Arc::new(Semaphore::new(0));
        let (chunk, all) = chunk(&[GATHERED, 200_000]);
        let occupied = Occupied::new(Arc::clone(&room), all.len());
        let unread = || chunk.clone().read_from(0).giving_back(Some(occupied.clone()));
        let mut first = unread();
        let read = first.next(50_000).len() + first.next(50_000).len();
        assert_eq!(room.available_permits(), read);
        drop(first);
        assert_eq!(room.available_permits(), read, "it will be sent again");
        let mut second = unread();
        while !second.is_empty() {
            second.next(50_000);
        }
        occupied.give_all_back();
        assert_eq!(room.available_permits(), all.len());
    }

    #[test]
    fn a_chunk_is_cut_in_two() {
        let (whole, all) = chunk(&[GATHERED, 3, 200_000, 7]);
        let bytes = |chunk: Chunk| chunk.into_pieces().concat();
        for at in [0, 1, GATHERED, GATHERED + 1, GATHERED + 3, all.len() - 1, all.len()] {
            let mut first = whole.clone();
            let rest = first.split_off(at);
            assert_eq!((first.len(), rest.len()), (at, all.len() - at));
            assert!(bytes(first) == all[..at] && bytes(rest) == all[at..], "at {at}");
        }
    }

    #[test]
    fn large_pieces_are_not_copied_and_small_ones_are_gathered() {
        let large = Bytes::from(vec![1; GATHERED]);
        let chunk = Chunk::from(large.clone());
        assert_eq!(chunk.read_from(0).next(usize::MAX).as_ptr(), large.as_ptr());
        let mut small = Chunk::default();
        (0..3 * GATHERED).for_each(|_| small.push(Bytes::from_static(b"x")));
        assert!(small.pieces.len() <= 3, "{} pieces", small.pieces.len());
    }
}
