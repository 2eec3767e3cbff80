//! A TCP proxy that injects faults at byte offsets.

mod link;
mod pump;
mod script;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::proxy::fired::Fired;
pub use crate::proxy::tcp::link::LinkShape;
use crate::proxy::tcp::link::Links;
use crate::proxy::tcp::pump::{Pump, pump};
pub use crate::proxy::tcp::script::LinkFault;
use crate::proxy::tcp::script::{ConnectionEnd, LinkScript};
use crate::proxy::worker::{Worker, accept};

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Forwards connections to a server, with injected [`LinkFault`]s and a [`LinkShape`].
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use larder_testkit::proxy::{Direction, LinkFault, TcpProxy};
///
/// # fn main() -> std::io::Result<()> {
/// let server = TcpListener::bind("127.0.0.1:0")?;
/// let proxy = TcpProxy::start(server.local_addr()?)?;
/// let cut = proxy.inject(LinkFault::cut_after(Direction::Down, 5));
///
/// let mut client = TcpStream::connect(proxy.address())?;
/// server.accept()?.0.write_all(b"bytes and more")?;
/// let mut received = String::new();
/// client.read_to_string(&mut received)?;
/// assert_eq!((received.as_str(), cut.count()), ("bytes", 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TcpProxy {
    shared: Arc<TcpProxyState>,
    worker: Worker,
}

#[derive(Debug)]
struct TcpProxyState {
    target: SocketAddr,
    script: LinkScript,
    links: Links,
    /// The number of times that all connections were reset.
    severed: watch::Sender<usize>,
    connections: AtomicUsize,
    up: AtomicU64,
    down: AtomicU64,
}

impl TcpProxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`, with no faults and no shape.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses a socket or a thread.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(TcpProxyState {
            target,
            script: LinkScript::default(),
            links: Links::default(),
            severed: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        let worker = Worker::start("larder-tcp-proxy", |listener| serve(listener, serving))?;
        Ok(Self { shared, worker })
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.worker.address()
    }

    /// Adds a fault, and returns the count of its uses. If several faults match at an offset, the first one that was added
    /// applies.
    pub fn inject(&self, fault: LinkFault) -> Fired {
        self.shared.script.add(fault)
    }

    /// Removes all faults. Stalled connections stay stalled.
    pub fn heal(&self) {
        self.shared.script.clear();
    }

    /// Changes the shape of the link for all bytes that enter it from now on.
    pub fn shape(&self, shape: LinkShape) {
        self.shared.links.shape(shape);
    }

    /// Resets all connections that are open now.
    pub fn sever(&self) {
        self.shared.severed.send_modify(|count| *count += 1);
    }

    /// Counts the connections of clients, including refused ones.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Counts the bytes that were forwarded in a direction, over all connections.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.count(direction).load(Ordering::Relaxed)
    }
}

impl TcpProxyState {
    fn count(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<TcpProxyState>) {
    loop {
        let client = accept(&listener).await;
        shared.connections.fetch_add(1, Ordering::Relaxed);
        match shared.script.refuses() {
            Some(fired) => {
                fired.add();
                drop(client);
            }
            None => drop(tokio::spawn(connection(client, Arc::clone(&shared), Instant::now()))),
        }
    }
}

async fn connection(mut client: TcpStream, shared: Arc<TcpProxyState>, accepted: Instant) {
    let mut severed = shared.severed.subscribe();
    let Ok(mut server) = TcpStream::connect(shared.target).await else {
        // A reset is the closest to a refused connection, once a connection was accepted.
        let _ = client.set_zero_linger();
        return;
    };
    let (Ok(()), Ok(())) = (client.set_nodelay(true), server.set_nodelay(true)) else { return };

    // The client was connected at once. Over a real link, its first byte leaves one round trip later, and reaches the
    // server half a round trip after that.
    let (up, down) = (shared.links.get(Direction::Up), shared.links.get(Direction::Down));
    let established = accepted + up.delay() + down.delay();
    let heard = established + up.delay();
    let ending = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump { shared: &shared, link: up, direction: Direction::Up, begin: established };
        let down = Pump { shared: &shared, link: down, direction: Direction::Down, begin: heard };
        let both =
            async { tokio::try_join!(pump(up, from_client, to_server), pump(down, from_server, to_client)) };
        tokio::select! {
            result = both => result.err(),
            _ = severed.changed() => Some(ConnectionEnd::Reset),
        }
    };
    match ending {
        None => {}
        Some(ConnectionEnd::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        Some(ConnectionEnd::Cut) => {
            let _ = (client.shutdown().await, server.shutdown().await);
            // A socket that is closed with unread bytes resets its connection, so read them first.
            tokio::select! {
                _ = async { tokio::join!(drain(&mut client), drain(&mut server)) } => {}
                _ = severed.changed() => {}
            }
        }
        Some(ConnectionEnd::Stall) => {
            let _ = severed.changed().await;
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
    }
}

/// Reads until the other side has closed too.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 16 * 1024];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}
