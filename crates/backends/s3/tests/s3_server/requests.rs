//! The number of requests of each operation, counted on the wire.

use futures::{StreamExt as _, TryStreamExt as _};
use larder_backend::{
    Backend as _, BackendExt as _, GetOptions, ListOptions, Listed, Prefix, PutOptions, UploadToken,
};
use larder_testkit::payload;
use larder_testkit::proxy::{HttpProxy, HttpRequest};
use libtest_mimic::Failed;

use crate::server::{Notes, PART_SIZE, Server, key, put};
use crate::trial::Outcome;

/// Returns the requests since the last query, as `METHOD` and the operation.
fn operations(proxy: &HttpProxy) -> Vec<String> {
    proxy.take_requests().iter().map(operation).collect()
}

fn operation(request: &HttpRequest) -> String {
    let marks = ["list-type", "delimiter", "continuation-token", "uploads", "uploadId", "partNumber"];
    let marks: Vec<&str> = marks.into_iter().filter(|mark| request.has_query(mark)).collect();
    let range = request.header("range").map(|_| "range");
    [request.method()].into_iter().chain(marks).chain(range).collect::<Vec<_>>().join(" ")
}

/// Starts a counting proxy, and a backend behind it that has already probed the server.
async fn counted() -> Result<(HttpProxy, larder_backend_s3::S3Backend), Failed> {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = server.through(&proxy.url());
    put(&backend, "warm/up/h", "x").await?;
    proxy.take_requests();
    Ok((proxy, backend))
}

pub(crate) async fn looking_at_an_object_is_one_head() -> Outcome {
    let (proxy, backend) = counted().await?;
    put(&backend, "a/c/h", "small").await?;
    proxy.take_requests();
    backend.stat(&key("a/c/h")?).await?;
    assert_eq!(operations(&proxy), ["HEAD"]);
    assert!(backend.stat_if_exists(&key("a/c/absent")?).await?.is_none());
    assert_eq!(operations(&proxy), ["HEAD"]);
    Ok(())
}

pub(crate) async fn a_small_object_takes_one_request_each_way() -> Outcome {
    let (proxy, backend) = counted().await?;
    put(&backend, "a/c/h", payload(1, 100_000)).await?;
    assert_eq!(operations(&proxy), ["PUT"]);
    let bytes = backend.get_bytes(&key("a/c/h")?, GetOptions::default(), 1 << 20).await?;
    assert!(bytes == payload(1, 100_000), "the bytes are others");
    assert_eq!(operations(&proxy), ["GET range"]);
    Ok(())
}

pub(crate) async fn a_large_object_takes_a_request_for_each_part() -> Outcome {
    let (proxy, backend) = counted().await?;
    put(&backend, "a/c/h", payload(1, 3 * PART_SIZE + 1)).await?;
    let mut seen = operations(&proxy);
    seen.sort();
    let part = "PUT uploadId partNumber";
    assert_eq!(seen, ["POST uploadId", "POST uploads", part, part, part, part]);
    let stream = backend.get(&key("a/c/h")?, GetOptions::default()).await?.stream;
    let read: usize =
        stream.map_ok(|bytes| bytes.len()).try_fold(0, |sum, len| async move { Ok(sum + len) }).await?;
    assert_eq!(read, 3 * PART_SIZE + 1);
    // 15 MiB and a byte are read in ranges of 8 MiB.
    assert_eq!(operations(&proxy), ["GET range", "GET range"]);
    Ok(())
}

pub(crate) async fn the_server_is_asked_once_what_it_can_do() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let prefix = server.prefix();
    let first = server.at(&prefix, &proxy.url());
    put(&first, "a/c/1", "x").await?;
    put(&first, "a/c/2", "x").await?;
    // The refused probe, and then the objects.
    assert_eq!(operations(&proxy), ["PUT", "PUT", "PUT", "PUT"]);
    let later = server.at(&prefix, &proxy.url());
    put(&later, "a/c/3", "x").await?;
    assert_eq!(operations(&proxy), ["PUT", "PUT"]);
    Ok(())
}

pub(crate) async fn a_listing_takes_a_request_for_each_page() -> Outcome {
    let (proxy, backend) = counted().await?;
    futures::stream::iter(0..1_001)
        .map(|number| {
            let backend = &backend;
            async move { put(backend, &format!("many/c/{number:04}"), "x").await }
        })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await?;
    put(&backend, "few/c/h", "x").await?;
    proxy.take_requests();
    for (prefix, expected) in [
        ("few/", vec!["GET list-type"]),
        ("none/", vec!["GET list-type"]),
        ("many/", vec!["GET list-type", "GET list-type continuation-token"]),
    ] {
        let items = backend.list(&Prefix::parse(prefix)?, ListOptions::default());
        items.try_collect::<Vec<Listed>>().await?;
        assert_eq!(operations(&proxy), expected, "{prefix}");
    }
    let top = backend.list(&Prefix::root(), ListOptions::default().with_delimiter());
    let top: Vec<Listed> = top.try_collect().await?;
    assert_eq!(top.len(), 3, "{top:?}");
    assert_eq!(operations(&proxy), ["GET list-type delimiter"]);
    Ok(())
}

pub(crate) async fn sweeping_nothing_takes_no_request() -> Outcome {
    let (proxy, backend) = counted().await?;
    backend.sweep(&[]).await?;
    backend.close().await?;
    assert_eq!(operations(&proxy), Vec::<String>::new());
    let journal = Notes::new();
    let options = PutOptions::default().with_journal(journal.clone());
    let mut upload = backend.begin_put(&key("a/c/h")?, options).await?;
    upload.write(payload(1, PART_SIZE + 1)).await?;
    let orphans: Vec<UploadToken> = journal.open();
    assert_eq!(orphans.len(), 1);
    // This simulates the death of the process.
    std::mem::forget(upload);
    proxy.take_requests();
    backend.sweep(&orphans).await?;
    let swept: Vec<String> =
        operations(&proxy).into_iter().filter(|seen| seen.starts_with("DELETE")).collect();
    assert_eq!(swept, ["DELETE uploadId"]);
    Ok(())
}
