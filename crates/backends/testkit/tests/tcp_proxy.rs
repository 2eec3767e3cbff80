//! Tests of the TCP proxy: each fault happens to the selected connections only.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use larder_testkit::payload;
use larder_testkit::proxy::Direction::{Down, Up};
use larder_testkit::proxy::{LinkFault, LinkShape, TcpProxy};

/// The timeout for events that must happen.
const LONG: Duration = Duration::from_secs(30);
/// The time after which a test concludes that nothing happens.
const SHORT: Duration = Duration::from_millis(200);

/// A proxy in front of a listener whose connections the test controls.
struct Pair {
    server: TcpListener,
    proxy: TcpProxy,
}

impl Pair {
    fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = TcpProxy::start(server.local_addr().unwrap()).unwrap();
        Self { server, proxy }
    }

    /// Opens a connection, and returns its two sides.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = patient(TcpStream::connect(self.proxy.address()).unwrap());
        (client, patient(self.server.accept().unwrap().0))
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// Sends in the background and closes the sending side. The thread returns whether all bytes could be sent.
fn send(
    mut stream: TcpStream,
    bytes: impl AsRef<[u8]> + Send + 'static,
) -> thread::JoinHandle<(TcpStream, bool)> {
    thread::spawn(move || {
        let sent = stream.write_all(bytes.as_ref()).is_ok();
        let _ = stream.shutdown(Shutdown::Write);
        (stream, sent)
    })
}

/// Returns the bytes until the end, and how the connection ended.
fn receive(mut stream: &TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    (bytes, end.map(drop).map_err(|error| error.kind()))
}

fn is_silent(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(Some(LONG)).unwrap();
    matches!(read.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Echoes the bytes of each connection.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

#[test]
fn everything_passes_both_ways_and_is_counted() {
    let pair = Pair::new();
    let (up, down) = (payload(1, 3_000_000), payload(2, 2_000_000));
    for connection in 1..=3 {
        let (client, server) = pair.connect();
        let sending = send(client.try_clone().unwrap(), up.clone());
        assert_eq!(receive(&server), (up.to_vec(), Ok(())), "the end of one direction leaves the other open");
        let answering = send(server, down.clone());
        assert_eq!(receive(&client), (down.to_vec(), Ok(())));
        drop((sending.join().unwrap(), answering.join().unwrap()));
        assert_eq!(pair.proxy.connections(), connection);
        assert_eq!(pair.proxy.bytes(Up), 3_000_000 * connection as u64);
        assert_eq!(pair.proxy.bytes(Down), 2_000_000 * connection as u64);
    }
}

#[test]
fn a_cut_is_an_orderly_end_at_the_byte_and_for_one_connection() {
    let pair = Pair::new();
    let bytes = payload(1, 8_000_000);
    for (direction, after) in
        [(Down, 0), (Down, 1), (Down, 65_536), (Down, 7_999_999), (Up, 0), (Up, 300_001)]
    {
        let cut = pair.proxy.inject(LinkFault::cut_after(direction, after));
        let before = pair.proxy.bytes(direction);
        for hit in [true, false] {
            let (client, server) = pair.connect();
            let (sender, receiver) = if direction == Up { (client, server) } else { (server, client) };
            let sending = send(sender, bytes.clone());
            let expected = if hit { &bytes[..usize::try_from(after).unwrap()] } else { &bytes[..] };
            assert_eq!(receive(&receiver), (expected.to_vec(), Ok(())), "{direction:?} {after} {hit}");
            if hit {
                assert_eq!(pair.proxy.bytes(direction) - before, after);
                let (sender, sent) = sending.join().unwrap();
                assert!(sent, "bytes after the cut are discarded, not refused");
                assert_eq!(receive(&sender), (Vec::new(), Ok(())), "the sender sees the end too");
            }
            assert_eq!(cut.count(), 1);
        }
    }
}

#[test]
fn a_connection_of_exactly_so_many_bytes_is_not_hit() {
    let pair = Pair::new();
    let cut = pair.proxy.inject(LinkFault::cut_after(Down, 100));
    let (client, server) = pair.connect();
    send(server, vec![7; 100]);
    assert_eq!(receive(&client), (vec![7; 100], Ok(())));
    let (client, server) = pair.connect();
    send(server, vec![7; 101]);
    assert_eq!((receive(&client), cut.count()), ((vec![7; 100], Ok(())), 1));
}

#[test]
fn a_reset_reaches_both_ends() {
    let pair = Pair::new();
    for direction in [Up, Down] {
        let reset = pair.proxy.inject(LinkFault::reset_after(direction, 1000));
        let (client, server) = pair.connect();
        let (mut sender, receiver) = if direction == Up { (client, server) } else { (server, client) };
        sender.write_all(&[7; 5000]).unwrap();
        let (bytes, end) = receive(&receiver);
        assert!(bytes.len() <= 1000, "{}", bytes.len());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        assert_eq!(receive(&sender), (Vec::new(), Err(ErrorKind::ConnectionReset)));
        assert_eq!(reset.count(), 1);
    }
}

#[test]
fn bytes_and_closes_pass_through() {
    let pair = Pair::new();
    let (client, mut server) = pair.connect();
    server.write_all(b"unread").unwrap();
    assert_eq!((&client).read(&mut [0]).unwrap(), 1);
    // A socket that is closed with unread bytes resets its connection.
    drop(client);
    assert_eq!(receive(&server), (Vec::new(), Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_stalled_connection_stays_open_and_the_next_one_passes() {
    let pair = Pair::new();
    let stall = pair.proxy.inject(LinkFault::stall_after(Down, 1000));
    let (client, server) = pair.connect();
    let sending = send(server, vec![7; 5000]);
    (&client).read_exact(&mut [0; 1000]).unwrap();
    block_on(stall.reached(1));
    assert!(is_silent(&client));

    // The proxy does not forward the end of either side: the sender has closed its side, and the client does so now.
    client.shutdown(Shutdown::Write).unwrap();
    let (server, _) = sending.join().unwrap();
    assert!(is_silent(&server) && is_silent(&client));

    let (other, its_server) = pair.connect();
    send(its_server, vec![7; 5000]);
    assert_eq!((receive(&other).0.len(), stall.count()), (5000, 1));

    pair.proxy.sever();
    assert_eq!(receive(&client).1, Err(ErrorKind::ConnectionReset));
}

#[test]
fn bytes_are_counted_per_connection_or_in_total() {
    let pair = Pair::new();
    let transfer = |bytes: usize| {
        let (client, server) = pair.connect();
        send(server, vec![7; bytes]);
        receive(&client).0.len()
    };
    assert_eq!(transfer(500), 500, "earlier bytes do not count");
    let cut = pair.proxy.inject(LinkFault::cut_after(Down, 1000).in_total());
    assert_eq!((transfer(600), cut.count()), (600, 0));
    assert_eq!((transfer(600), cut.count()), (400, 1));
    assert_eq!((transfer(5000), cut.count()), (5000, 1));

    let dead = pair.proxy.inject(LinkFault::cut_after(Down, 1000).in_total().always());
    assert_eq!([transfer(600), transfer(600), transfer(600), transfer(1)], [600, 400, 0, 0]);
    assert_eq!(dead.count(), 3);
    pair.proxy.heal();

    let twice = pair.proxy.inject(LinkFault::cut_after(Down, 1000).times(2));
    let always = pair.proxy.inject(LinkFault::cut_after(Down, 2000).always());
    assert_eq!([transfer(600), transfer(600), transfer(3000), transfer(3000)], [600, 600, 1000, 1000]);
    assert_eq!([transfer(3000), transfer(2000), transfer(3000)], [2000, 2000, 2000]);
    assert_eq!((twice.count(), always.count()), (2, 2));
    pair.proxy.heal();
    assert_eq!(transfer(3000), 3000);
}

#[test]
fn a_refused_connection_does_not_reach_the_server() {
    let pair = Pair::new();
    let refused = pair.proxy.inject(LinkFault::refuse().times(2));
    for count in 1..=2 {
        let client = patient(TcpStream::connect(pair.proxy.address()).unwrap());
        assert_eq!((receive(&client), refused.count()), ((Vec::new(), Ok(())), count));
    }
    let (client, mut server) = pair.connect();
    server.write_all(b"bytes").unwrap();
    drop(server);
    assert_eq!(receive(&client), (b"bytes".to_vec(), Ok(())), "the server's first connection is the third");
    assert_eq!(pair.proxy.connections(), 3);
}

#[test]
fn a_server_that_is_not_there_is_a_reset() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = TcpProxy::start(gone).unwrap();
    let client = patient(TcpStream::connect(proxy.address()).unwrap());
    assert_eq!(receive(&client), (Vec::new(), Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_long_link_costs_round_trips() {
    let round_trip = Duration::from_millis(100);
    let proxy = TcpProxy::start(echo()).unwrap();
    proxy.shape(LinkShape::default().round_trip(round_trip));
    let began = Instant::now();
    let mut client = patient(TcpStream::connect(proxy.address()).unwrap());
    for trips in 2..5 {
        client.write_all(b"byte").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        // The first round trip is that of the connection.
        assert!(began.elapsed() >= round_trip * trips, "{:?} for {trips}", began.elapsed());
    }
}

#[test]
fn bytes_are_on_their_way_together() {
    let pair = Pair::new();
    let (mut client, server) = pair.connect();
    client.write_all(b"!").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    // The connection is open, so its own round trip is over.
    pair.proxy.shape(LinkShape::default().round_trip(Duration::from_hours(2)));
    // Send more than the system's buffers hold. Nothing arrives before the test is over.
    client.write_all(&payload(1, 48 << 20)).unwrap();
    assert!(is_silent(&server));
    assert_eq!(pair.proxy.bytes(Up), 1);
    let began = Instant::now();
    drop(pair);
    assert!(began.elapsed() < LONG, "dropping waits for nothing");
}

#[test]
fn a_narrow_link_is_shared_by_all_connections() {
    let pair = Pair::new();
    pair.proxy.shape(LinkShape::default().one_way(Down, 4_000_000));
    let began = Instant::now();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, server) = pair.connect();
            send(server, vec![7; 500_000]);
            thread::spawn(move || receive(&client).0.len())
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap() == 500_000));
    assert!(began.elapsed() >= Duration::from_millis(450), "2 MB at 4 MB/s: {:?}", began.elapsed());
}

#[test]
fn dropping_ends_everything() {
    let pair = Pair::new();
    let (client, server) = pair.connect();
    let address = pair.proxy.address();
    drop(pair.proxy);
    assert!(receive(&client).0.is_empty() && receive(&server).0.is_empty());
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn it_goes_on_while_a_runtime_blocks() {
    let pair = Pair::new();
    let cut = pair.proxy.inject(LinkFault::cut_after(Down, 2));
    let (client, mut server) = pair.connect();
    server.write_all(b"bytes").unwrap();
    assert_eq!(receive(&client), (b"by".to_vec(), Ok(())));
    cut.reached(1).await;
}

#[test]
fn the_program_forwards_until_its_input_ends() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_larder-link"))
        .arg(echo().to_string())
        .args(["--rtt-ms", "20", "--mbit", "1000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(program.stdout.take().unwrap());
    let mut address = String::new();
    std::io::BufRead::read_line(&mut output, &mut address).unwrap();
    let began = Instant::now();
    let mut client = patient(TcpStream::connect(address.trim()).unwrap());
    client.write_all(b"bytes").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(40));
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());

    let refused = Command::new(env!("CARGO_BIN_EXE_larder-link")).arg("--mbit").output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--mbit needs a number"));
}
