//! A plain HTTP client.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::HeaderMap;
use hyper::{Request, client};
use hyper_util::rt::TokioIo;
use larder_testkit::gcs::GcsServer;
use serde_json::Value;
use tokio::net::TcpStream;

pub(crate) const BUCKET: &str = "larder";
pub(crate) const QUANTUM: usize = 256 * 1024;

/// A server with a bucket.
pub(crate) fn server() -> GcsServer {
    let server = GcsServer::start().unwrap();
    server.create_bucket(BUCKET);
    server
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json; charset=UTF-8", "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the parts of an error in the format of the JSON API:
    /// `json_api/v1/status-codes`, "Error response format".
    pub(crate) fn reason(&self) -> String {
        let error = &self.json()["error"];
        assert_eq!(error["code"], self.status);
        assert_eq!(error["message"], error["errors"][0]["message"]);
        assert_eq!(error["errors"][0]["domain"], "global");
        error["errors"][0]["reason"].as_str().unwrap().to_owned()
    }
}

/// Sends a request on a new connection. Like Google's client, it omits the port in `Host`. `target` is a path or a URL of
/// the server.
pub(crate) async fn try_send(
    server: &GcsServer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> hyper::Result<Answer> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let target = target.strip_prefix(&server.endpoint()).unwrap_or(target);
    let mut request = Request::builder().method(method).uri(target).header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

pub(crate) async fn send(
    server: &GcsServer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    try_send(server, method, target, headers, body).await.unwrap()
}

pub(crate) async fn get(server: &GcsServer, target: &str, headers: &[(&str, &str)]) -> Answer {
    send(server, "GET", target, headers, "").await
}

/// Starts a resumable upload with an extra query, and returns its URL.
pub(crate) async fn start(server: &GcsServer, object: &str, query: &str) -> String {
    let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name={object}{query}");
    let answer = send(server, "POST", &target, &[("content-type", "application/json")], "{}").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
    answer.header("location").to_owned()
}

/// Sends a chunk.
pub(crate) async fn put(server: &GcsServer, url: &str, range: &str, body: impl Into<Bytes>) -> Answer {
    send(server, "PUT", url, &[("content-range", range)], body).await
}

pub(crate) fn crc32c(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes())
}
