//! Tests of the HTTP proxy: its rules and its log.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use larder_testkit::payload;
use larder_testkit::proxy::{HttpAction, HttpProxy, HttpRule, Reply};

/// The timeout for events that must happen.
const LONG: Duration = Duration::from_secs(30);
/// The time after which a test concludes that nothing happens.
const SHORT: Duration = Duration::from_millis(200);

/// A server that answers `GET /payload/N` with N bytes, and other requests with their head and the length of their body.
/// It closes the connection after a request for `/close`, without announcing that in the head of the answer.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// The number of connections that ended after a `/close`.
    closed: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            Self { address, requests: Arc::default(), connections: Arc::default(), closed: Arc::default() };
        let [requests, connections, closed] =
            [&server.requests, &server.connections, &server.closed].map(Arc::clone);
        thread::spawn(move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, closed) = (Arc::clone(&requests), Arc::clone(&closed));
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    let asked = serve(&stream, &requests);
                    drop(stream);
                    closed.fetch_add(usize::from(asked), Ordering::SeqCst);
                });
            }
        });
        server
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Serves until the connection ends. Returns whether the client asked for that.
fn serve(mut stream: &TcpStream, requests: &AtomicUsize) -> bool {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = message(&mut reader, false) {
        requests.fetch_add(1, Ordering::SeqCst);
        let target = head.split(' ').nth(1).unwrap();
        let answer = match target.strip_prefix("/payload/") {
            Some(len) => payload(1, len.parse().unwrap()).to_vec(),
            None => format!("{head}{}", body.len()).into_bytes(),
        };
        let length = answer.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nETag: \"e\"\r\n\r\n");
        if !head.starts_with("head") && stream.write_all(&answer).is_err() {
            return false;
        }
        if target == "/close" {
            return true;
        }
    }
    false
}

/// Reads the lines of a message's head, and the part of its body that arrives.
fn message(reader: &mut impl BufRead, is_answer_to_head: bool) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = || {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-length:"))?;
        line.split_once(':')?.1.trim().parse().ok()
    };
    let mut body = Vec::new();
    if !is_answer_to_head {
        // Bytes from before an error are in the buffer.
        let _ = reader.take(length().unwrap_or(0)).read_to_end(&mut body);
    }
    Some((head.to_ascii_lowercase().replacen("http/", "HTTP/", 1), body))
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(proxy: &HttpProxy) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, line: &str, headers: &[&str], body: &[u8]) {
        let mut message = format!("{line} HTTP/1.1\r\nHost: bucket.example:9000\r\n").into_bytes();
        for header in headers {
            write!(message, "{header}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(message, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(body);
        self.0.get_mut().write_all(&message).unwrap();
    }

    /// Returns the status, the head in lower case, and the received part of the body.
    fn answer(&mut self) -> Option<(u16, String, Vec<u8>)> {
        let (head, body) = message(&mut self.0, false)?;
        Some((head.split(' ').nth(1)?.parse().ok()?, head, body))
    }

    fn get(&mut self, target: &str) -> Option<(u16, String, Vec<u8>)> {
        self.send(&format!("GET {target}"), &[], b"");
        self.answer()
    }

    /// Asserts that nothing arrives and the connection stays open.
    fn is_silent(&mut self) -> bool {
        self.0.get_mut().set_read_timeout(Some(SHORT)).unwrap();
        let read = self.0.read(&mut [0]).map_err(|error| error.kind());
        self.0.get_mut().set_read_timeout(Some(LONG)).unwrap();
        matches!(read, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Asserts that nothing arrives and the connection has ended.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

fn pair() -> (Server, HttpProxy) {
    let server = Server::start();
    let proxy = HttpProxy::start(server.address).unwrap();
    (server, proxy)
}

#[test]
fn requests_and_answers_pass_on_one_connection_and_are_logged() {
    let (server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    for len in [0, 1, 100_000, 3_000_000] {
        let (status, head, body) = client.get(&format!("/payload/{len}")).unwrap();
        assert_eq!((status, body), (200, payload(1, len).to_vec()));
        assert!(head.contains("etag: \"e\""), "{head}");
    }
    let headers = ["Range: bytes=2-", "If-None-Match: *", "Authorization: secret"];
    client.send("PUT /a%20b/%C3%A9?uploadId=x%2Fy&acl", &headers, &payload(2, 5_000_000));
    let (_, _, echoed) = client.answer().unwrap();
    let echoed = String::from_utf8(echoed).unwrap();
    assert!(echoed.starts_with("put /a%20b/%c3%a9?uploadid=x%2fy&acl HTTP/1.1\r\n"), "{echoed}");
    assert!(echoed.contains("host: bucket.example:9000\r\n"), "{echoed}");
    assert!(echoed.contains("authorization: secret\r\n"), "{echoed}");
    assert!(echoed.ends_with("\r\n5000000"), "{echoed}");
    assert_eq!((server.requests(), server.connections.load(Ordering::SeqCst)), (5, 1), "kept alive");

    assert_eq!(proxy.count(|request| request.method() == "GET"), 4);
    let log = proxy.take_requests();
    let put = log.last().unwrap();
    assert_eq!((put.method(), put.path()), ("PUT", "/a%20b/%C3%A9"));
    assert_eq!(put.query(), Some("uploadId=x%2Fy&acl"));
    assert!(put.has_query("uploadId") && put.has_query("acl") && !put.has_query("upload"));
    assert_eq!((put.header("range"), put.header("If-None-Match")), (Some("bytes=2-"), Some("*")));
    assert_eq!(put.header("authorization"), None);
    assert_eq!((put.status(), put.server_status()), (Some(200), Some(200)));
    assert!(proxy.requests().is_empty());
}

#[test]
fn a_head_has_a_length_and_no_body() {
    let (_server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    client.send("HEAD /payload/1000", &[], b"");
    let (head, _) = message(&mut client.0, true).unwrap();
    assert!(head.contains("content-length: 1000\r\n"), "{head}");
    assert_eq!(client.get("/payload/10").unwrap().2.len(), 10);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let (_server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    client.send("PUT /object", &["Expect: 100-continue", "Content-Length: 5"], b"");
    assert_eq!(client.answer().unwrap().0, 100);
    client.0.get_mut().write_all(b"bytes").unwrap();
    let (status, _, body) = client.answer().unwrap();
    assert_eq!(status, 200);
    assert!(body.ends_with(b"\r\n5"));
}

#[test]
fn a_connection_that_the_server_has_closed_is_made_again() {
    let (server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    for count in 1..=20 {
        assert_eq!(client.get("/close").unwrap().0, 200);
        assert_eq!(server.requests(), count);
        while server.closed.load(Ordering::SeqCst) < count {
            thread::yield_now();
        }
        // Once the proxy answers a later request, it has seen the end of the connection.
        assert_eq!(Client::connect(&proxy).get("/payload/1").unwrap().0, 200);
        server.requests.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn the_proxy_answers_in_the_servers_place() {
    let (server, proxy) = pair();
    let reply = Reply::new(503).header("Retry-After", "7").body("<Code>SlowDown</Code>");
    let rule = HttpRule::new(reply).on(|request| request.method() == "PUT" && request.path() == "/object");
    let slowed = proxy.add(rule.after(1).times(2));
    let mut client = Client::connect(&proxy);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        assert_eq!(client.get("/object").unwrap().0, 200, "another method");
        client.send("PUT /object", &[], &payload(1, 3_000_000));
        let (status, head, body) = client.answer().unwrap();
        if status == 503 {
            assert!(head.contains("retry-after: 7\r\n"), "{head}");
            assert_eq!(body, b"<Code>SlowDown</Code>");
        }
        statuses.push(status);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!((slowed.count(), server.requests()), (2, 6));
    let refused: Vec<_> = proxy.requests().into_iter().filter(|seen| seen.status() == Some(503)).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|request| request.server_status().is_none()));

    let always = proxy.add(HttpRule::new(Reply::new(501)).always());
    assert_eq!([(); 3].map(|()| client.get("/object").unwrap().0), [501; 3]);
    proxy.heal();
    assert_eq!((client.get("/object").unwrap().0, always.count()), (200, 3));
}

#[test]
fn a_lost_answer_is_of_something_done() {
    let (server, proxy) = pair();
    let lost = proxy.add(HttpRule::new(HttpAction::LoseAnswer));
    let mut client = Client::connect(&proxy);
    client.send("PUT /object", &[], b"bytes");
    assert!(client.is_closed());
    assert_eq!((server.requests(), lost.count()), (1, 1));
    let request = proxy.take_requests().remove(0);
    assert_eq!((request.status(), request.server_status()), (None, Some(200)));
    assert_eq!(Client::connect(&proxy).get("/payload/1").unwrap().0, 200);
}

#[test]
fn an_answer_that_never_comes_is_of_nothing_done() {
    let (server, proxy) = pair();
    let stalled = proxy.add(HttpRule::new(HttpAction::StallAnswer));
    let mut client = Client::connect(&proxy);
    client.send("PUT /object", &[], b"bytes");
    block_on(stalled.reached(1));
    assert!(client.is_silent());
    assert_eq!(server.requests(), 0);
    assert_eq!(Client::connect(&proxy).get("/payload/1").unwrap().0, 200);
}

#[test]
fn a_body_is_cut_at_the_byte_with_its_length_declared() {
    let (_server, proxy) = pair();
    for after in [0, 1, 65_536, 999_999] {
        let cut = proxy.add(HttpRule::new(HttpAction::CutBody { after }));
        let mut client = Client::connect(&proxy);
        let (status, head, body) = client.get("/payload/1000000").unwrap();
        assert_eq!(status, 200);
        assert!(head.contains("content-length: 1000000\r\n"), "{head}");
        assert_eq!(body, payload(1, 1_000_000)[..usize::try_from(after).unwrap()], "{after}");
        assert!(client.is_closed());
        assert_eq!(cut.count(), 1);
        assert_eq!(Client::connect(&proxy).get("/payload/1000000").unwrap().2.len(), 1_000_000);
    }
}

#[test]
fn a_body_that_is_not_longer_is_not_hit() {
    let (_server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    for action in [HttpAction::CutBody { after: 1000 }, HttpAction::StallBody { after: 1000 }] {
        let fired = proxy.add(HttpRule::new(action));
        assert_eq!(client.get("/payload/1000").unwrap().2.len(), 1000);
        assert_eq!(client.get("/payload/1").unwrap().2.len(), 1, "the connection stays usable");
        assert_eq!(fired.count(), 0);
    }
}

#[test]
fn a_body_stops_at_the_byte() {
    let (_server, proxy) = pair();
    for after in [0_u16, 1, 50_000] {
        let stalled = proxy.add(HttpRule::new(HttpAction::StallBody { after: after.into() }));
        let mut client = Client::connect(&proxy);
        client.send("GET /payload/100000", &[], b"");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            client.0.read_line(&mut head).unwrap();
        }
        let mut body = vec![0; after.into()];
        client.0.read_exact(&mut body).unwrap();
        assert_eq!(body, payload(1, 100_000)[..after.into()]);
        block_on(stalled.reached(1));
        assert!(client.is_silent());
    }
}

#[test]
fn a_byte_is_another() {
    let (_server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    for at in [0, 65_536, 999_999] {
        let corrupted = proxy.add(HttpRule::new(HttpAction::CorruptBody { at }));
        let mut expected = payload(1, 1_000_000).to_vec();
        let position = usize::try_from(at).unwrap();
        expected[position] = !expected[position];
        assert!(client.get("/payload/1000000").unwrap().2 == expected, "{at}");
        assert!(client.get("/payload/1000000").unwrap().2 == payload(1, 1_000_000), "{at}");
        assert_eq!(corrupted.count(), 1);
    }
}

#[test]
fn a_header_does_not_reach_the_server() {
    let (_server, proxy) = pair();
    let strip = |name: &str| HttpRule::new(HttpAction::StripHeader(name.to_owned())).always();
    let stripped = proxy.add(strip("If-None-Match"));
    let unsigned = proxy.add(strip("Authorization"));
    let corrupted = proxy.add(HttpRule::new(HttpAction::CorruptBody { at: 0 }));
    let mut client = Client::connect(&proxy);
    client.send("PUT /object", &["if-none-match: *", "If-Match: e"], b"bytes");
    let echoed = client.answer().unwrap().2;
    let text = String::from_utf8_lossy(&echoed);
    assert!(!text.contains("if-none-match") && text.contains("if-match: e"), "{text}");
    assert_eq!(echoed[0], !b'p', "another rule applies too");
    assert_eq!((stripped.count(), unsigned.count(), corrupted.count()), (1, 0, 1));
    assert_eq!(proxy.requests()[0].header("If-None-Match"), Some("*"), "the log has the client's header");
}

#[tokio::test]
async fn it_continues_while_a_runtime_blocks_and_ends_on_drop() {
    let (_server, proxy) = pair();
    let mut client = Client::connect(&proxy);
    assert_eq!(client.get("/payload/5").unwrap().2.len(), 5);
    let address = proxy.address();
    drop(proxy);
    assert!(client.is_closed());
    assert!(TcpStream::connect(address).is_err());
}
