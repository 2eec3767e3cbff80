//! Bodies of answers with injected faults.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::proxy::closing::Closing;
use crate::proxy::fired::Fired;

/// The damage to a body.
#[derive(Debug)]
pub(super) enum BodyDamage {
    Cut(Arc<Closing>),
    Stall,
    Corrupt,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum ProxyBody {
    /// A body of the proxy itself.
    Own(Option<Bytes>),
    /// The unchanged body of the server.
    Servers(Incoming),
    /// The damaged body of the server.
    Damaged(Damaged),
}

#[derive(Debug)]
pub(super) struct Damaged {
    body: Incoming,
    damage: BodyDamage,
    fired: Fired,
    /// The number of bytes before the damage.
    remaining: u64,
    happened: bool,
}

impl Damaged {
    pub(super) fn new(body: Incoming, damage: BodyDamage, at: u64, fired: Fired) -> Self {
        Self { body, damage, fired, remaining: at, happened: false }
    }

    /// Whether the body has stalled.
    fn is_stalled(&self) -> bool {
        self.happened && !matches!(self.damage, BodyDamage::Corrupt)
    }

    /// Returns the part of a chunk that passes.
    fn pass(&mut self, chunk: Bytes) -> Bytes {
        let at = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        if self.happened || at >= chunk.len() {
            self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
            return chunk;
        }
        self.happened = true;
        self.fired.add();
        if let BodyDamage::Corrupt = self.damage {
            let mut bytes = BytesMut::from(chunk);
            bytes[at] = !bytes[at];
            bytes.freeze()
        } else {
            chunk.slice(..at)
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if !self.is_stalled() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let chunk = match frame.into_data() {
                Ok(chunk) => self.pass(chunk),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        // hyper flushes its buffer when a body is pending.
        if let BodyDamage::Cut(closing) = &self.damage {
            closing.ask();
        }
        Poll::Pending
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Own(body) => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Servers(body) => Pin::new(body).poll_frame(cx),
            Self::Damaged(damaged) => damaged.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_none(),
            Self::Servers(body) => body.is_end_stream(),
            Self::Damaged(damaged) => !damaged.is_stalled() && damaged.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Servers(body) => body.size_hint(),
            Self::Damaged(damaged) if damaged.is_stalled() => SizeHint::default(),
            Self::Damaged(damaged) => damaged.body.size_hint(),
        }
    }
}
