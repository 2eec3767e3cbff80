//! Answers of the server that refuse a request or make no sense.

use futures::TryStreamExt as _;
use larder_backend::{
    Backend as _, BackendExt as _, Error, ErrorKind, GetOptions, ListOptions, Prefix, PutMode, PutOptions,
};
use larder_backend_s3::S3Backend;
use larder_testkit::payload;
use larder_testkit::proxy::{Fired, HttpAction, HttpProxy, HttpRequest, HttpRule, Reply};
use libtest_mimic::Failed;

use crate::script::{SIZE, impatient, is_complete, is_put, read, scripted, xml};
use crate::server::{Notes, PART_SIZE, Server, key, put, put_with};
use crate::trial::Outcome;

/// A refused request is not retried.
async fn refused(
    such: fn(&HttpRequest) -> bool,
    reply: Reply,
    upload: bool,
) -> Result<(Error, Fired), Failed> {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/there", payload(1, 10)).await?;
    let fired = proxy.add(HttpRule::new(HttpAction::Respond(reply)).on(such).always());
    let outcome = if upload {
        put(&backend, "a/c/new", payload(1, 10)).await
    } else {
        backend.stat(&key("a/c/there")?).await.map(drop)
    };
    Ok((outcome.err().ok_or("it was done")?, fired))
}

pub(crate) async fn permanent_errors_are_not_retried() -> Outcome {
    for (status, code, kind, hint) in [
        (403, "AccessDenied", ErrorKind::PermissionDenied, "s3:PutObject"),
        (403, "RequestTimeTooSkewed", ErrorKind::Unauthenticated, "clock"),
        (403, "SignatureDoesNotMatch", ErrorKind::Unauthenticated, "secret key"),
        (403, "InvalidAccessKeyId", ErrorKind::Unauthenticated, "AWS_ACCESS_KEY_ID"),
        (400, "ExpiredToken", ErrorKind::Unauthenticated, "log in again"),
        (404, "NoSuchBucket", ErrorKind::RootMissing, "there is no bucket"),
        (507, "XMinioStorageFull", ErrorKind::NoSpace, "space"),
        (301, "PermanentRedirect", ErrorKind::Other, "region"),
    ] {
        let (error, fired) = refused(is_put, xml(status, code), true).await?;
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{code}: {text}");
        assert!(text.contains(hint) && text.contains("/a/c/new"), "{code}: {text}");
        assert_eq!(fired.count(), 1, "{code} was tried again");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains(code) && !format!("{text}{cause}").contains("AKIDNOTTOBESEEN"), "{cause}");
    }
    Ok(())
}

pub(crate) async fn a_head_without_a_body_is_explained_by_another_request() -> Outcome {
    for (head, status, code, kind, hint) in [
        (403, 403, "AccessDenied", ErrorKind::PermissionDenied, "s3:ListBucket"),
        (403, 403, "RequestTimeTooSkewed", ErrorKind::Unauthenticated, "clock"),
        (403, 403, "InvalidObjectState", ErrorKind::PermissionDenied, "archived"),
        (400, 400, "ExpiredToken", ErrorKind::Unauthenticated, "log in again"),
        (301, 301, "PermanentRedirect", ErrorKind::Other, "region"),
    ] {
        let (proxy, backend) = scripted().await?;
        put(&backend, "a/c/h", "x").await?;
        proxy.add(
            HttpRule::new(HttpAction::Respond(Reply::new(head))).on(|it| it.method() == "HEAD").always(),
        );
        proxy.add(
            HttpRule::new(HttpAction::Respond(xml(status, code))).on(|it| it.method() == "GET").always(),
        );
        proxy.take_requests();
        let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
        assert_eq!(error.kind(), kind, "{code}: {error}");
        assert!(error.to_string().contains(hint), "{code}: {error}");
        assert_eq!(proxy.take_requests().len(), 2, "{code}");
    }
    Ok(())
}

pub(crate) async fn a_missing_bucket_is_not_a_missing_object() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    // The answer of AWS, without MinIO's header.
    proxy.add(HttpRule::new(HttpAction::Respond(Reply::new(404))).on(|it| it.method() == "HEAD").always());
    let rule = HttpRule::new(HttpAction::Respond(xml(404, "NoSuchBucket")));
    proxy.add(rule.on(|it| it.method() == "GET").always());
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
    assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
    Ok(())
}

pub(crate) async fn a_server_that_is_not_s3_is_not_a_miss() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    proxy.add(HttpRule::new(Reply::new(404).body("<html>there is nothing here</html>")).always());
    let stat = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
    let get = backend.get(&key("a/c/h")?, GetOptions::default()).await.err().ok_or("it was read")?;
    let list = backend.list(&Prefix::root(), ListOptions::default());
    let list = list.try_collect::<Vec<_>>().await.err().ok_or("it was listed")?;
    for error in [stat, get, list] {
        assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
        assert!(error.to_string().contains(&proxy.url()), "{error}");
    }
    Ok(())
}

pub(crate) async fn a_checksum_that_does_not_fit_is_damage() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", "abc").await?;
    let answer = Reply::new(206)
        .header("content-range", "bytes 0-2/3")
        .header("etag", "\"1\"")
        .header("x-amz-checksum-crc32", "AAAAAA==")
        .body("abc");
    let fired = proxy.add(HttpRule::new(answer).on(|it| it.method() == "GET").always());
    let error = read(&backend, "a/c/h").await.err().ok_or("it was taken")?;
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    assert!(fired.count() > 0);
    Ok(())
}

pub(crate) async fn nonsense_is_an_error() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", "abc").await?;
    let for_ever = xml(503, "SlowDown").header("retry-after", "18446744073709551615");
    let partial =
        |range: &str| Reply::new(206).header("content-range", range).header("etag", "\"1\"").body("abc");
    for (reply, kind) in [
        (for_ever, ErrorKind::RateLimited),
        (
            partial("bytes 18446744073709551610-18446744073709551612/18446744073709551614"),
            ErrorKind::Unsupported,
        ),
        (partial("bytes 5-7/100"), ErrorKind::Unsupported),
        (partial("bytes 0-99/100"), ErrorKind::Unsupported),
        (partial("bytes"), ErrorKind::Unsupported),
    ] {
        proxy.add(HttpRule::new(reply).on(|it| it.method() == "GET").always());
        let error = read(&backend, "a/c/h").await.err().ok_or("it was taken")?;
        assert_eq!(error.kind(), kind, "{error}");
        proxy.heal();
    }
    let endless = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    proxy.add(HttpRule::new(Reply::new(200).body(endless)).on(|it| it.has_query("list-type")).always());
    let list = backend.list(&Prefix::root(), ListOptions::default());
    let error = list.try_collect::<Vec<_>>().await.err().ok_or("it was taken for a whole listing")?;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    Ok(())
}

pub(crate) async fn an_upload_at_another_endpoint_is_not_forgotten() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let prefix = server.prefix();
    let there = server.at(&prefix, &proxy.url());
    let notes = Notes::new();
    let options = PutOptions::default().with_journal(notes.clone());
    let mut upload = there.begin_put(&key("a/c/h")?, options).await?;
    upload.write(payload(1, PART_SIZE + 1)).await?;
    // This simulates the death of the process.
    std::mem::forget(upload);
    let here = S3Backend::new(server.config(&prefix));
    let error = here.sweep(&notes.open()).await.err().ok_or("it was said to be gone")?;
    assert!(error.to_string().contains(&proxy.url()), "{error}");
    assert_eq!(server.open_uploads(&prefix).await?, 1);
    there.sweep(&notes.open()).await?;
    assert_eq!(server.open_uploads(&prefix).await?, 0);
    Ok(())
}

pub(crate) async fn a_conflict_is_not_exists() -> Outcome {
    let (proxy, backend) = scripted().await?;
    let conflict = || HttpAction::Respond(xml(409, "ConditionalRequestConflict"));
    // A part that is still in memory is sent again.
    let fired = proxy.add(HttpRule::new(conflict()).on(is_put));
    put(&backend, "a/c/small", payload(1, 10)).await?;
    assert_eq!(fired.count(), 1);
    // Parts that are gone must come from the caller again, and nothing is left behind.
    let notes = Notes::new();
    let fired = proxy.add(HttpRule::new(conflict()).on(is_complete));
    let options = PutOptions::default().with_journal(notes.clone());
    let error =
        put_with(&backend, "a/c/large", payload(1, SIZE), options).await.err().ok_or("it was published")?;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(fired.count(), 1);
    backend.close().await?;
    assert!(notes.open().is_empty());
    assert!(backend.stat_if_exists(&key("a/c/large")?).await?.is_none());
    Ok(())
}

pub(crate) async fn an_error_in_a_successful_answer_is_an_error() -> Outcome {
    // "If you're processing a request that can return a 200 OK with an error in its body": API Reference of
    // CompleteMultipartUpload.
    let (proxy, backend) = scripted().await?;
    let fired = proxy.add(HttpRule::new(HttpAction::Respond(xml(200, "InternalError"))).on(is_complete));
    put(&backend, "a/c/h", payload(1, SIZE)).await?;
    assert_eq!(fired.count(), 1);
    assert!(read(&backend, "a/c/h").await? == payload(1, SIZE));
    Ok(())
}

pub(crate) async fn a_server_without_preconditions_is_noticed_and_still_used() -> Outcome {
    let server = Server::required()?;
    for (size, such) in [(10, is_put as fn(&HttpRequest) -> bool), (SIZE, is_complete)] {
        let proxy = HttpProxy::start(Server::address()?)?;
        let backend = impatient(&server, &proxy.url());
        let conditional = move |request: &HttpRequest| {
            (such(request) || is_put(request)) && request.header("if-none-match").is_some()
        };
        proxy.add(HttpRule::new(HttpAction::Respond(xml(501, "NotImplemented"))).on(conditional).always());
        assert!(backend.capabilities().atomic_create, "nobody knows yet");
        put(&backend, "a/c/h", payload(1, size)).await?;
        assert!(!backend.capabilities().atomic_create);
        assert!(read(&backend, "a/c/h").await? == payload(1, size));
        let error = put(&backend, "a/c/h", payload(1, size)).await.err().ok_or("it was published twice")?;
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        put_with(&backend, "a/c/h", payload(2, size), PutOptions::new(PutMode::Overwrite)).await?;
        assert!(read(&backend, "a/c/h").await? == payload(2, size));
    }
    Ok(())
}

pub(crate) async fn a_server_that_ignores_preconditions_is_noticed() -> Outcome {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    // Both probes succeed on a server that overwrites.
    let probe = |request: &HttpRequest| request.path().ends_with("/create-only");
    let fired = proxy
        .add(HttpRule::new(HttpAction::Respond(Reply::new(200).header("etag", "\"1\""))).on(probe).always());
    put(&backend, "a/c/h", payload(1, 10)).await?;
    assert_eq!(fired.count(), 2);
    assert!(!backend.capabilities().atomic_create);
    Ok(())
}

fn is_probe(request: &HttpRequest) -> bool {
    request.path().ends_with("/create-only")
}

pub(crate) async fn only_a_probe_that_was_answered_shows_that_preconditions_hold() -> Outcome {
    let server = Server::required()?;
    for (status, code) in
        [(400, "InvalidRequest"), (403, "AccessDenied"), (500, "InternalError"), (503, "SlowDown")]
    {
        let proxy = HttpProxy::start(Server::address()?)?;
        let backend = impatient(&server, &proxy.url());
        let fired = proxy.add(HttpRule::new(HttpAction::Respond(xml(status, code))).on(is_probe).always());
        put(&backend, "a/c/h", payload(1, 10)).await?;
        assert!(fired.count() > 0);
        assert!(!backend.capabilities().atomic_create, "{code}");
        // It checks for the object first. It also sends the condition, because the server may honor it.
        assert!(proxy.count(|it| it.method() == "HEAD") > 0, "{code}: it did not look");
        let conditional = |it: &HttpRequest| !is_probe(it) && it.header("if-none-match").is_some();
        assert_eq!(proxy.count(conditional), 1, "{code}");
        let error = put(&backend, "a/c/h", payload(2, 10)).await.err().ok_or("it was published twice")?;
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }
    // The upload finds its own object after its answer was lost.
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    proxy.add(HttpRule::new(HttpAction::Respond(xml(403, "AccessDenied"))).on(is_probe).always());
    let lost = proxy.add(HttpRule::new(HttpAction::LoseAnswer).on(|it| is_put(it) && !is_probe(it)));
    put(&backend, "a/c/h", payload(1, 10)).await?;
    assert_eq!(lost.count(), 1);
    // After a temporary failure the server is asked again.
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    proxy.add(HttpRule::new(HttpAction::Respond(xml(503, "SlowDown"))).on(is_probe));
    put(&backend, "a/c/h", payload(1, 10)).await?;
    put(&backend, "a/c/i", payload(1, 10)).await?;
    assert!(backend.capabilities().atomic_create);
    Ok(())
}
