//! The input of a decompressor.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio::sync::mpsc::Receiver;

use super::error::ReadError;

/// The chunks of a compressed stream. An error ends them.
pub(crate) type Chunks = Receiver<Result<Bytes, Box<dyn Error + Send + Sync>>>;

/// Reads chunks as one stream. It blocks while it waits for a chunk, so it must not run on an async runtime.
pub(super) struct Input {
    chunks: Chunks,
    ahead: Bytes,
    ended: bool,
    failure: Option<Box<dyn Error + Send + Sync>>,
}

impl Input {
    pub(super) fn new(chunks: Chunks) -> Self {
        Self { chunks, ahead: Bytes::new(), ended: false, failure: None }
    }

    /// Returns the next bytes, or none at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<&[u8], ReadError> {
        while self.ahead.is_empty() && !self.ended {
            // Drop the old chunk before the wait for the next one.
            self.ahead = Bytes::new();
            self.ahead = self.receive()?;
        }
        Ok(&self.ahead)
    }

    /// Returns the next `len` bytes without consuming them, or fewer if the stream ends.
    pub(super) fn peek(&mut self, len: usize) -> Result<&[u8], ReadError> {
        if self.ahead.len() < len && !self.ended {
            let mut gathered = BytesMut::from(&self.ahead[..]);
            while gathered.len() < len && !self.ended {
                gathered.extend_from_slice(&self.receive()?);
            }
            self.ahead = gathered.freeze();
        }
        Ok(&self.ahead[..len.min(self.ahead.len())])
    }

    /// Consumes bytes that were returned before.
    pub(super) fn skip(&mut self, len: usize) {
        self.ahead.advance(len);
    }

    /// Returns all available bytes, or none at the end of the stream.
    pub(super) fn take(&mut self) -> Result<Bytes, ReadError> {
        self.fill()?;
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Appends the next `len` bytes to `to`. Returns false if the stream ends before.
    pub(super) fn read_onto(&mut self, to: &mut Vec<u8>, len: usize) -> Result<bool, ReadError> {
        to.try_reserve(len)?;
        self.consume_all(len as u64, |part| to.extend_from_slice(part))
    }

    /// Skips the next `len` bytes. Returns false if the stream ends before.
    pub(super) fn skip_all(&mut self, len: u64) -> Result<bool, ReadError> {
        self.consume_all(len, |_| {})
    }

    fn consume_all(&mut self, len: u64, mut each: impl FnMut(&[u8])) -> Result<bool, ReadError> {
        let mut left = len;
        while left > 0 {
            let ahead = self.fill()?;
            if ahead.is_empty() {
                return Ok(false);
            }
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(ahead.len());
            each(&ahead[..part]);
            self.skip(part);
            left -= part as u64;
        }
        Ok(true)
    }

    /// Puts bytes back in front of the stream.
    pub(super) fn unread(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let mut joined = Vec::new();
        joined.try_reserve_exact(bytes.len() + self.ahead.len())?;
        joined.extend_from_slice(bytes);
        joined.extend_from_slice(&self.ahead);
        self.ahead = joined.into();
        Ok(())
    }

    /// Whether the stream has ended and all of it was consumed.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.ahead.is_empty()
    }

    /// Takes the error of the stream itself. A codec only reports an error of its own.
    pub(super) fn take_failure(&mut self) -> Option<ReadError> {
        self.failure.take().map(ReadError::Source)
    }

    fn receive(&mut self) -> Result<Bytes, ReadError> {
        match self.chunks.blocking_recv() {
            Some(Ok(chunk)) => Ok(chunk),
            Some(Err(error)) => {
                self.ended = true;
                Err(ReadError::Source(error))
            }
            None => {
                self.ended = true;
                Ok(Bytes::new())
            }
        }
    }

    fn fill_for_codec(&mut self) -> io::Result<&[u8]> {
        if self.ahead.is_empty() && !self.ended {
            match self.take() {
                Ok(chunk) => self.ahead = chunk,
                Err(ReadError::Source(error)) => {
                    self.failure = Some(error);
                    return Err(io::Error::other("the stream ended with an error"));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(&self.ahead)
    }
}

/// The interface for synchronous codecs.
impl io::BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill_for_codec()
    }

    fn consume(&mut self, len: usize) {
        self.skip(len);
    }
}

impl io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = self.fill_for_codec()?;
        let len = ahead.len().min(buffer.len());
        buffer[..len].copy_from_slice(&ahead[..len]);
        self.skip(len);
        Ok(len)
    }
}

/// The interface for asynchronous codecs. It is always ready, because the thread blocks instead.
impl AsyncBufRead for Input {
    fn poll_fill_buf(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(self.get_mut().fill_for_codec())
    }

    fn consume(self: Pin<&mut Self>, len: usize) {
        self.get_mut().skip(len);
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ahead = this.fill_for_codec()?;
        let len = ahead.len().min(buffer.remaining());
        buffer.put_slice(&ahead[..len]);
        this.skip(len);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(chunks: &[&'static str]) -> Input {
        let (sender, receiver) = tokio::sync::mpsc::channel(chunks.len() + 1);
        for chunk in chunks {
            sender.try_send(Ok(Bytes::from_static(chunk.as_bytes()))).unwrap();
        }
        Input::new(receiver)
    }

    #[test]
    fn chunks_are_one_stream_wherever_they_are_cut() {
        let mut input = input(&["", "a", "", "bcd", "e"]);
        assert_eq!(input.peek(3).unwrap(), b"abc");
        assert_eq!(input.peek(9).unwrap(), b"abcde");
        input.skip(1);
        let mut read = Vec::new();
        assert!(input.read_onto(&mut read, 2).unwrap());
        input.unread(b"xyz").unwrap();
        assert!(input.skip_all(1).unwrap());
        assert!(!input.read_onto(&mut read, 99).unwrap());
        assert_eq!(read, b"bcyzde");
        assert!(input.fill().unwrap().is_empty() && input.is_at_end());
    }
}
