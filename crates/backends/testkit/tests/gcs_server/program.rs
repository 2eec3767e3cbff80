//! The program `larder-gcs-server`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Program {
    child: Child,
    said: BTreeMap<String, String>,
}

fn start() -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-gcs-server"));
    command.args(["--bucket", "mine"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).take(3);
    let pair = |line: String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let said = lines.map(|line| pair(line).unwrap()).collect();
    Program { child, said }
}

/// The program serves on the printed endpoints, logs requests, and ends with its input.
#[test]
fn it_serves_until_its_input_ends() {
    let Program { mut child, said } = start();
    assert_eq!(said["bucket"], "mine");
    assert!(said["grpc_endpoint"].starts_with("http://127.0.0.1:"), "{said:?}");
    let mut stream = TcpStream::connect(said["endpoint"].strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(b"GET /storage/v1/b/mine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(log, "http GET /storage/v1/b/mine -> 200\n");
}

/// The program ends cleanly on a signal.
#[test]
fn it_ends_on_request() {
    let mut child = start().child;
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}
