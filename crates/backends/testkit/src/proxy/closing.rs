//! Connections that close at a byte offset.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Closes a connection after all written bytes are flushed. An error of a body would close it earlier, and lose the bytes
/// in hyper's buffer.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    asked: AtomicBool,
    resets: AtomicBool,
    flushed: Notify,
}

impl Closing {
    /// Closes the connection after the buffer is flushed.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Makes the connection end with a reset.
    #[cfg(feature = "gcs")]
    pub(crate) fn reset(&self) {
        self.resets.store(true, Ordering::Relaxed);
    }

    /// Closes the connection at once, and loses the bytes in the buffer.
    #[cfg(feature = "gcs")]
    pub(crate) fn now(&self) {
        self.flushed.notify_one();
    }

    fn on_flush(&self) {
        if self.asked.load(Ordering::Relaxed) {
            self.flushed.notify_one();
        }
    }

    /// Waits until the connection is to be closed.
    pub(crate) async fn due(&self) {
        self.flushed.notified().await;
    }
}

/// A client's connection that notifies a [`Closing`] when it is flushed.
#[derive(Debug)]
pub(crate) struct FlushWatched {
    stream: TcpStream,
    closing: Arc<Closing>,
}

impl FlushWatched {
    pub(crate) fn new(stream: TcpStream, closing: Arc<Closing>) -> Self {
        Self { stream, closing }
    }
}

impl Drop for FlushWatched {
    fn drop(&mut self) {
        if self.closing.resets.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for FlushWatched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FlushWatched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.closing.on_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
