//! One direction of one connection: a pipe with bytes in flight.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::proxy::tcp::link::LinkWay;
use crate::proxy::tcp::script::ConnectionEnd;
use crate::proxy::tcp::{Direction, TcpProxyState};

/// The free space below which a buffer is replaced, because reads into it would be too small.
const LEAST_ROOM: usize = 4096;

pub(super) struct Pump<'a> {
    pub(super) shared: &'a TcpProxyState,
    pub(super) link: &'a LinkWay,
    pub(super) direction: Direction,
    /// The time at which the first byte may enter the link.
    pub(super) begin: Instant,
}

/// An item in the pipe, and the time at which it comes out.
type Queued = (Instant, PipeItem);

enum PipeItem {
    Data(Bytes),
    /// The sender has closed its side.
    End,
    /// The sender has reset its side.
    Reset,
}

/// The number of bytes in the pipe. It bounds the queue, because that bound changes with the shape of the link.
#[derive(Default)]
struct Flight {
    bytes: AtomicU64,
    landed: Notify,
}

/// Forwards until the sender has closed its side, or the receiver is gone.
///
/// # Errors
///
/// An error says how the whole connection must end.
pub(super) async fn pump(pump: Pump<'_>, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), ConnectionEnd> {
    let flight = Flight::default();
    let (queue, arrivals) = unbounded_channel();
    let fill = async {
        pump.fill(from, queue, &flight).await;
        // Wait until the other branch has delivered the rest of the pipe.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = pump.deliver(arrivals, to, &flight) => result,
        () = fill => Ok(()),
    }
}

impl Pump<'_> {
    async fn fill(&self, mut from: ReadHalf<'_>, queue: UnboundedSender<Queued>, flight: &Flight) {
        sleep_until(self.begin).await;
        let mut buffer = BytesMut::new();
        loop {
            while flight.bytes.load(Ordering::Relaxed) >= self.link.window() {
                flight.landed.notified().await;
            }
            while let Some(room) = self.link.full_until() {
                sleep_until(room).await;
            }
            let chunk = self.link.chunk();
            if buffer.capacity() < LEAST_ROOM {
                buffer.reserve(chunk.max(LEAST_ROOM));
            }
            let item = match from.read_buf(&mut (&mut buffer).limit(chunk)).await {
                Ok(0) => PipeItem::End,
                Ok(_) => PipeItem::Data(buffer.split().freeze()),
                Err(_) => PipeItem::Reset,
            };
            let (len, last) = match &item {
                PipeItem::Data(bytes) => (bytes.len(), false),
                PipeItem::End | PipeItem::Reset => (0, true),
            };
            flight.bytes.fetch_add(len as u64, Ordering::Relaxed);
            if queue.send((self.link.enter(len), item)).is_err() || last {
                return;
            }
        }
    }

    async fn deliver(
        &self,
        mut arrivals: UnboundedReceiver<Queued>,
        mut to: WriteHalf<'_>,
        flight: &Flight,
    ) -> Result<(), ConnectionEnd> {
        let mut offset = 0;
        while let Some((due, item)) = arrivals.recv().await {
            // Skip a sleep that would end at once, because it still costs a timer.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            let bytes = match item {
                PipeItem::Data(bytes) => bytes,
                PipeItem::Reset => return Err(ConnectionEnd::Reset),
                PipeItem::End => {
                    let _ = to.shutdown().await;
                    return Ok(());
                }
            };
            let (passed, hit) = self.shared.script.admit(self.direction, offset, bytes.len());
            offset += passed as u64;
            // Count the bytes before they are written, so that a receiver finds them counted.
            self.shared.count(self.direction).fetch_add(passed as u64, Ordering::Relaxed);
            if to.write_all(&bytes[..passed]).await.is_err() {
                // The other direction still delivers the receiver's last bytes, and then its end.
                return Ok(());
            }
            if let Some(hit) = hit {
                hit.fired.add();
                return Err(hit.ending);
            }
            flight.bytes.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            flight.landed.notify_one();
        }
        Ok(())
    }
}
