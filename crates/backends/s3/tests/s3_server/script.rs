//! Remotes behind a proxy that follows a script.

use std::time::Duration;

use bytes::Bytes;
use larder_backend::{Backend, BackendExt as _, Error, GetOptions};
use larder_backend_s3::S3Backend;
use larder_testkit::proxy::{HttpProxy, HttpRequest, Reply};
use libtest_mimic::Failed;

use crate::server::{PART_SIZE, Server, key, put};

/// The no-progress timeout.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// An upper bound that only a very busy machine exceeds.
pub(crate) const SLACK: Duration = Duration::from_secs(15);

/// The size of a large object in bytes. It takes several parts.
pub(crate) const SIZE: usize = 3 * PART_SIZE + 17;

/// A remote with a short timeout.
pub(crate) fn impatient(server: &Server, endpoint: &str) -> S3Backend {
    let config = server.config_at(&server.prefix(), endpoint);
    S3Backend::new(config.with_stall_timeout(Some(PATIENCE)))
}

pub(crate) async fn read(backend: &dyn Backend, name: &str) -> Result<Bytes, Error> {
    backend.get_bytes(&key(name).expect("valid"), GetOptions::default(), usize::MAX).await
}

/// Starts a proxy that can answer for the server, and a backend that has already probed the server.
pub(crate) async fn scripted() -> Result<(HttpProxy, S3Backend), Failed> {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    put(&backend, "warm/up/h", "x").await?;
    Ok((proxy, backend))
}

pub(crate) fn xml(status: u16, code: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as it is told</Message>\
         <AWSAccessKeyId>AKIDNOTTOBESEEN</AWSAccessKeyId><RequestId>1</RequestId></Error>"
    );
    Reply::new(status).header("content-type", "application/xml").body(body)
}

pub(crate) fn is_part(request: &HttpRequest) -> bool {
    request.has_query("partNumber")
}

pub(crate) fn is_complete(request: &HttpRequest) -> bool {
    request.method() == "POST" && request.has_query("uploadId")
}

pub(crate) fn is_put(request: &HttpRequest) -> bool {
    request.method() == "PUT" && !request.has_query("partNumber")
}
