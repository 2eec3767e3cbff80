//! Bodies of answers.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

use crate::gcs::content::Content;
use crate::gcs::fault::{GcsAction, ReplyDamage};
use crate::proxy::closing::Closing;

#[derive(Debug)]
pub(super) enum ReplyBody {
    Bytes(Option<Bytes>),
    Cut(CutBytes),
    DownloadBody(DownloadBody),
}

/// The beginning of a body, after which the connection is closed.
#[derive(Debug)]
pub(super) struct CutBytes {
    beginning: Bytes,
    /// The length of the whole body.
    announced: u64,
    closing: Arc<Closing>,
}

impl ReplyBody {
    /// Garbles or cuts a body, if it is long enough.
    pub(super) fn damaged(self, damage: ReplyDamage) -> Self {
        let Self::Bytes(Some(bytes)) = self else { return self };
        let damaged = match damage.action {
            GcsAction::GarbleAnswer if !bytes.is_empty() => {
                let mut garbled = BytesMut::from(bytes);
                garbled[0] = !garbled[0];
                Self::Bytes(Some(garbled.freeze()))
            }
            GcsAction::CutAnswer { after } => match usize::try_from(after) {
                Ok(after) if after < bytes.len() => Self::Cut(CutBytes {
                    beginning: bytes.slice(..after),
                    announced: bytes.len() as u64,
                    closing: damage.closing,
                }),
                _ => return Self::Bytes(Some(bytes)),
            },
            _ => return Self::Bytes(Some(bytes)),
        };
        damage.fired.add();
        damaged
    }
}

impl CutBytes {
    fn next(&mut self) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.beginning.is_empty() {
            // hyper flushes its buffer when a body is pending.
            self.closing.ask();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.beginning)))))
    }
}

/// A part of an object.
#[derive(Debug)]
pub(super) struct DownloadBody {
    content: Content,
    offset: u64,
    len: u64,
    /// The damage, and the number of bytes before it.
    damage: Option<(ReplyDamage, u64)>,
    /// Whether the body has stalled.
    stalled: bool,
}

impl DownloadBody {
    pub(super) fn new(content: Content, offset: u64, len: u64, damage: Option<ReplyDamage>) -> Self {
        let damage = damage.and_then(|damage| match damage.action {
            GcsAction::ResetDownload { after: at }
            | GcsAction::StallDownload { after: at }
            | GcsAction::CorruptDownload { at } => Some((damage, at)),
            _ => None,
        });
        Self { content, offset, len, damage, stalled: false }
    }

    /// Returns the part of a chunk that passes.
    fn pass(&mut self, chunk: Bytes) -> Bytes {
        let Some((damage, remaining)) = &mut self.damage else { return chunk };
        let at = match usize::try_from(*remaining) {
            Ok(at) if at < chunk.len() => at,
            _ => {
                *remaining -= chunk.len() as u64;
                return chunk;
            }
        };
        damage.fired.add();
        if let GcsAction::CorruptDownload { .. } = damage.action {
            self.damage = None;
            let mut bytes = BytesMut::from(chunk);
            bytes[at] = !bytes[at];
            bytes.freeze()
        } else {
            self.stalled = true;
            chunk.slice(..at)
        }
    }

    fn next(&mut self) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.stalled {
            if self.len == 0 {
                return Poll::Ready(None);
            }
            let chunk = match self.content.read(self.offset, self.len) {
                Ok(chunk) if chunk.is_empty() => {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                Ok(chunk) => chunk,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            self.offset += chunk.len() as u64;
            self.len -= chunk.len() as u64;
            let chunk = self.pass(chunk);
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        // hyper flushes its buffer when a body is pending.
        if let Some((ReplyDamage { action: GcsAction::ResetDownload { .. }, closing, .. }, _)) = &self.damage
        {
            closing.reset();
            closing.ask();
        }
        Poll::Pending
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Cut(cut) => cut.next(),
            Self::DownloadBody(download) => download.next(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            // The missing bytes never arrive.
            Self::Cut(_) => false,
            Self::DownloadBody(download) => !download.stalled && download.len == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Cut(cut) => SizeHint::with_exact(cut.announced),
            Self::DownloadBody(download) if download.stalled => SizeHint::default(),
            Self::DownloadBody(download) => SizeHint::with_exact(download.len),
        }
    }
}
