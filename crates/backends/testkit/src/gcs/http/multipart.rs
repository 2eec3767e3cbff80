//! Bodies of several parts, `multipart/related`: RFC 2387, with the boundaries of RFC 2046.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use crate::gcs::failure::GcsFailure;
use crate::gcs::http::End;
use crate::gcs::http::incoming::IncomingBody;

/// The maximum size of the head of a part, and of a part that is read as a whole.
const LIMIT: usize = 1 << 20;

/// The head of a part.
#[derive(Debug)]
pub(super) struct MultipartPart {
    /// The content type of the part, if it has one.
    pub(super) content_type: Option<String>,
}

pub(super) fn malformed() -> GcsFailure {
    GcsFailure::new(400, "badRequest", "Malformed multipart body.")
}

#[derive(Debug)]
pub(super) struct Parted<'a> {
    body: &'a mut IncomingBody,
    /// Bytes that were received and not yet returned.
    buffer: BytesMut,
    /// CRLF, two dashes and the boundary.
    delimiter: Vec<u8>,
    /// Whether the buffer starts just after a delimiter.
    is_at_delimiter: bool,
}

impl<'a> Parted<'a> {
    pub(super) fn new(content_type: &str, body: &'a mut IncomingBody) -> Result<Self, GcsFailure> {
        let parameters = content_type.split(';').map(str::trim);
        let mut boundaries = parameters.filter_map(|parameter| parameter.strip_prefix("boundary="));
        let boundary = boundaries.next().map(|boundary| boundary.trim_matches(['"', '\'']));
        let boundary = boundary.filter(|boundary| !boundary.is_empty());
        let boundary =
            boundary.ok_or_else(|| GcsFailure::new(400, "badRequest", "Missing multipart boundary."))?;
        // The first delimiter is at the start of the body, without a CRLF before it.
        let (buffer, delimiter) = (BytesMut::from("\r\n"), format!("\r\n--{boundary}").into_bytes());
        Ok(Self { body, buffer, delimiter, is_at_delimiter: false })
    }

    async fn more(&mut self) -> Result<(), End> {
        match self.body.next().await? {
            Some(chunk) => self.buffer.extend_from_slice(&chunk),
            None => return Err(malformed().into()),
        }
        Ok(())
    }

    /// Goes to the next part. Returns `None` after the last one.
    pub(super) async fn next_part(&mut self) -> Result<Option<MultipartPart>, End> {
        while self.next_chunk().await?.is_some() {}
        self.is_at_delimiter = false;
        while self.buffer.len() < 2 {
            self.more().await?;
        }
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > LIMIT {
                return Err(malformed().into());
            }
            self.more().await?;
        };
        let head = self.buffer.split_to(end + 4);
        let head = String::from_utf8_lossy(&head);
        let mut types = head.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
        });
        Ok(Some(MultipartPart { content_type: types.next() }))
    }

    /// Returns the next bytes of the part, or `None` at its end.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, End> {
        while !self.is_at_delimiter {
            // Keep bytes that may be the start of a delimiter until the rest arrives.
            let ready = match memmem::find(&self.buffer, &self.delimiter) {
                Some(0) => {
                    drop(self.buffer.split_to(self.delimiter.len()));
                    self.is_at_delimiter = true;
                    continue;
                }
                Some(end) => end,
                None => (self.buffer.len() + 1).saturating_sub(self.delimiter.len()),
            };
            if ready > 0 {
                return Ok(Some(self.buffer.split_to(ready).freeze()));
            }
            self.more().await?;
        }
        Ok(None)
    }

    /// Reads a short part as a whole.
    pub(super) async fn document(&mut self) -> Result<Vec<u8>, End> {
        let mut document = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            if document.len() + chunk.len() > LIMIT {
                return Err(malformed().into());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
