//! What goes wrong between larder and the server, and what the server says that it would rather not.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt as _;
use larder_backend::{
    Backend, BackendExt as _, Error, ErrorKind, GetOptions, ListOptions, Prefix, PutMode, PutOptions,
    error_chain,
};
use larder_backend_s3::S3Backend;
use larder_testkit::payload;
use larder_testkit::proxy::{
    Direction, Fired, HttpAction, HttpProxy, HttpRequest, HttpRule, LinkFault, LinkShape, Reply, TcpProxy,
};
use libtest_mimic::Failed;

use crate::server::{Notes, PART_SIZE, Server, key, put, put_with};
use crate::trial::Outcome;

/// Without progress an operation ends after this time.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than that it takes only on a machine that is very busy.
const SLACK: Duration = Duration::from_secs(15);

const SIZE: usize = 3 * PART_SIZE + 17;

/// Bytes of a connection after which something happens to it: in the head of a request, at its end, in the first part,
/// at the edges of parts, and late.
const OFFSETS: [u64; 6] = [0, 1, 700, 300_000, PART_SIZE as u64 + 600, 2 * PART_SIZE as u64 + 1];

fn impatient(server: &Server, endpoint: &str) -> S3Backend {
    let config = server.config_at(&server.prefix(), endpoint);
    S3Backend::new(config.with_stall_timeout(Some(PATIENCE)))
}

async fn read(backend: &dyn Backend, name: &str) -> Result<Bytes, Error> {
    backend.get_bytes(&key(name).expect("valid"), GetOptions::default(), usize::MAX).await
}

type MakeFault = fn(Direction, u64) -> LinkFault;
const FAULTS: [(&str, MakeFault); 3] =
    [("cut", LinkFault::cut_after), ("reset", LinkFault::reset_after), ("stall", LinkFault::stall_after)];

pub(crate) async fn one_fault_of_the_link_is_survived_by_an_upload() -> Outcome {
    one_fault_is_survived(Direction::Up, true).await
}

pub(crate) async fn one_fault_on_the_way_back_is_survived_by_an_upload() -> Outcome {
    one_fault_is_survived(Direction::Down, true).await
}

pub(crate) async fn one_fault_of_the_link_is_survived_by_a_download() -> Outcome {
    one_fault_is_survived(Direction::Down, false).await
}

async fn one_fault_is_survived(direction: Direction, upload: bool) -> Outcome {
    let server = Server::required()?;
    let bytes = payload(1, SIZE);
    for (what, fault) in FAULTS {
        for offset in OFFSETS {
            // Answers to an upload are short.
            if upload && direction == Direction::Down && offset > 1000 {
                continue;
            }
            let proxy = TcpProxy::start(Server::address()?)?;
            let backend = impatient(&server, &format!("http://{}", proxy.address()));
            if !upload {
                put(&backend, "a/c/h", bytes.clone()).await?;
            }
            let fired = proxy.inject(fault(direction, offset).in_total());
            if upload {
                put(&backend, "a/c/h", bytes.clone()).await.map_err(|error| wrong(what, offset, &error))?;
            }
            let came = read(&backend, "a/c/h").await.map_err(|error| wrong(what, offset, &error))?;
            assert!(came == bytes, "{what} at {offset}: the bytes are others");
            assert_eq!(fired.count(), 1, "{what} at {offset} did not happen");
            backend.close().await?;
        }
    }
    Ok(())
}

fn wrong(what: &str, offset: u64, error: &Error) -> Failed {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{what} at {offset}: {error}: {source}").into()
}

pub(crate) async fn a_permanent_fault_ends_an_upload_in_time() -> Outcome {
    let server = Server::required()?;
    for (what, fault) in FAULTS {
        for offset in [0, 300_000] {
            let proxy = TcpProxy::start(Server::address()?)?;
            let prefix = server.prefix();
            let config = server.config_at(&prefix, &format!("http://{}", proxy.address()));
            let backend = S3Backend::new(config.with_stall_timeout(Some(PATIENCE)));
            let fired = proxy.inject(fault(Direction::Up, offset).always());
            let started = Instant::now();
            let error = put(&backend, "a/c/h", payload(1, SIZE)).await.err().ok_or("it was published")?;
            assert_failed_in_time(&error, started, what, offset);
            assert!(fired.count() > 1, "{what} at {offset}: it was not tried again");
            backend.close().await?;
            let direct = S3Backend::new(server.config(&prefix));
            assert!(direct.stat_if_exists(&key("a/c/h")?).await?.is_none());
            // What is short gets through, and so does the abort.
            assert_eq!(server.open_uploads(&prefix).await?, 0, "{what} at {offset}");
        }
    }
    Ok(())
}

pub(crate) async fn a_permanent_fault_ends_a_download_in_time() -> Outcome {
    let server = Server::required()?;
    let prefix = server.prefix();
    put(&S3Backend::new(server.config(&prefix)), "a/c/h", payload(1, SIZE)).await?;
    for (what, fault) in FAULTS {
        for offset in [0, 300_000, 9_000_000] {
            let proxy = TcpProxy::start(Server::address()?)?;
            let config = server.config_at(&prefix, &format!("http://{}", proxy.address()));
            let backend = S3Backend::new(config.with_stall_timeout(Some(PATIENCE)));
            // The link is dead from there on: what did come is progress, of which there is no more.
            proxy.inject(fault(Direction::Down, offset).in_total().always());
            let started = Instant::now();
            let error = read(&backend, "a/c/h").await.err().ok_or("all of it came")?;
            assert_failed_in_time(&error, started, what, offset);
            let started = Instant::now();
            let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
            assert_failed_in_time(&error, started, what, offset);
        }
    }
    Ok(())
}

fn assert_failed_in_time(error: &Error, started: Instant, what: &str, offset: u64) {
    let expected = [ErrorKind::Timeout, ErrorKind::Unavailable];
    assert!(expected.contains(&error.kind()), "{what} at {offset}: {error}");
    assert!(started.elapsed() < 2 * PATIENCE + SLACK, "{what} at {offset}: {:?}", started.elapsed());
}

/// A proxy that can answer for the server, and a backend that has found out what the server can do.
async fn scripted() -> Result<(HttpProxy, S3Backend), Failed> {
    let server = Server::required()?;
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    put(&backend, "warm/up/h", "x").await?;
    Ok((proxy, backend))
}

fn xml(status: u16, code: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as it is told</Message>\
         <AWSAccessKeyId>AKIDNOTTOBESEEN</AWSAccessKeyId><RequestId>1</RequestId></Error>"
    );
    Reply::new(status).header("content-type", "application/xml").body(body)
}

fn is_part(request: &HttpRequest) -> bool {
    request.has_query("partNumber")
}

fn is_complete(request: &HttpRequest) -> bool {
    request.method() == "POST" && request.has_query("uploadId")
}

fn is_put(request: &HttpRequest) -> bool {
    request.method() == "PUT" && !request.has_query("partNumber")
}

pub(crate) async fn a_server_that_asks_for_patience_gets_it() -> Outcome {
    for (status, code) in [(503, "SlowDown"), (429, "TooManyRequests")] {
        let (proxy, backend) = scripted().await?;
        for such in [is_part, is_put, is_complete, |request: &HttpRequest| request.method() == "GET"] {
            let fired = proxy.add(HttpRule::new(HttpAction::Respond(xml(status, code))).on(such));
            let asks = xml(status, code).header("retry-after", "1");
            let asked = proxy.add(HttpRule::new(HttpAction::Respond(asks)).on(such));
            let started = Instant::now();
            let name = format!("a/c/{}", fastrand::u64(..));
            put(&backend, &format!("{name}-small"), payload(1, 10)).await?;
            put(&backend, &name, payload(1, SIZE)).await?;
            assert!(read(&backend, &name).await? == payload(1, SIZE));
            assert_eq!((fired.count(), asked.count()), (1, 1));
            assert!(
                started.elapsed() >= Duration::from_secs(1),
                "it did not wait as long as it was asked to"
            );
        }
        proxy.add(HttpRule::new(HttpAction::Respond(xml(status, code))).always());
        let started = Instant::now();
        let error = put(&backend, "a/c/never", "x").await.err().ok_or("it was published")?;
        assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}");
        assert!(started.elapsed() < PATIENCE + SLACK);
    }
    Ok(())
}

/// One request is refused, and not sent again.
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

pub(crate) async fn what_cannot_be_mended_by_trying_is_not_tried_again() -> Outcome {
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
    // As AWS answers, without the header of MinIO.
    proxy.add(HttpRule::new(HttpAction::Respond(Reply::new(404))).on(|it| it.method() == "HEAD").always());
    let rule = HttpRule::new(HttpAction::Respond(xml(404, "NoSuchBucket")));
    proxy.add(rule.on(|it| it.method() == "GET").always());
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was seen")?;
    assert_eq!(error.kind(), ErrorKind::RootMissing, "{error}");
    Ok(())
}

pub(crate) async fn a_server_that_is_not_s3_is_no_miss() -> Outcome {
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

pub(crate) async fn a_lost_answer_is_no_lost_object() -> Outcome {
    for such in [is_put, is_part, is_complete] {
        let (proxy, backend) = scripted().await?;
        let fired = proxy.add(HttpRule::new(HttpAction::LoseAnswer).on(such));
        put(&backend, "a/c/large", payload(1, SIZE)).await?;
        put(&backend, "a/c/small", payload(2, 10)).await?;
        assert_eq!(fired.count(), 1);
        assert!(read(&backend, "a/c/large").await? == payload(1, SIZE));
        assert!(read(&backend, "a/c/small").await? == payload(2, 10));
    }
    Ok(())
}

pub(crate) async fn an_answer_that_cannot_be_read_is_no_lost_object() -> Outcome {
    let damages = [
        HttpAction::LoseAnswer,
        HttpAction::CutBody { after: 0 },
        HttpAction::CutBody { after: 60 },
        HttpAction::CorruptBody { at: 0 },
        HttpAction::CorruptBody { at: 60 },
    ];
    for damage in damages {
        for mode in [PutMode::CreateOnly, PutMode::Overwrite] {
            let (proxy, backend) = scripted().await?;
            let fired = proxy.add(HttpRule::new(damage.clone()).on(is_complete));
            put_with(&backend, "a/c/h", payload(1, SIZE), PutOptions::new(mode))
                .await
                .map_err(|error| format!("{damage:?} {mode:?}: {}", error_chain(&error)))?;
            assert_eq!(fired.count(), 1, "{damage:?} {mode:?}");
            assert!(read(&backend, "a/c/h").await? == payload(1, SIZE));
        }
    }
    Ok(())
}

pub(crate) async fn an_older_object_of_the_same_size_is_not_the_one_that_was_to_replace_it() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", payload(1, SIZE)).await?;
    let published = backend.stat(&key("a/c/h")?).await?.last_modified;
    // The times of objects are whole seconds, and the server's clock has to move on.
    while SystemTime::now() < published + Duration::from_secs(2) {
        backend.stat(&key("a/c/h")?).await?;
    }
    // The server loses the upload, and does not hear of its end.
    let lost = proxy.add(HttpRule::new(HttpAction::Respond(xml(200, "InternalError"))).on(is_complete));
    let gone = proxy.add(HttpRule::new(HttpAction::Respond(xml(404, "NoSuchUpload"))).on(is_complete));
    let options = PutOptions::new(PutMode::Overwrite);
    let error =
        put_with(&backend, "a/c/h", payload(2, SIZE), options).await.err().ok_or("it was published")?;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!((lost.count(), gone.count()), (1, 1));
    assert!(read(&backend, "a/c/h").await? == payload(1, SIZE));
    Ok(())
}

pub(crate) async fn a_lost_answer_to_the_beginning_of_an_upload_is_survived() -> Outcome {
    let (proxy, backend) = scripted().await?;
    let fired = proxy.add(HttpRule::new(HttpAction::LoseAnswer).on(|it| it.has_query("uploads")));
    put(&backend, "a/c/h", payload(1, SIZE)).await?;
    assert_eq!(fired.count(), 1);
    assert!(read(&backend, "a/c/h").await? == payload(1, SIZE));
    Ok(())
}

pub(crate) async fn a_slow_link_is_not_a_stalled_one() -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(6);
    // Much more than the buffers of the system hold.
    const PART: usize = 16 << 20;
    let server = Server::required()?;
    let proxy = TcpProxy::start(Server::address()?)?;
    let config = server.config_at(&server.prefix(), &format!("http://{}", proxy.address()));
    let backend = S3Backend::new(config.with_part_size(PART).with_stall_timeout(Some(PATIENCE)));
    put(&backend, "warm/up/h", "x").await?;
    // One request takes longer than the patience, and breaks when it is nearly there.
    proxy.shape(LinkShape::default().one_way(Direction::Up, PART as u64 / 8));
    let fired = proxy.inject(LinkFault::reset_after(Direction::Up, PART as u64 - 1_000_000).in_total());
    let started = Instant::now();
    put(&backend, "a/c/h", payload(1, PART)).await?;
    assert_eq!(fired.count(), 1);
    assert!(started.elapsed() > 2 * PATIENCE, "the link was not slow");
    proxy.shape(LinkShape::default());
    assert!(read(&backend, "a/c/h").await? == payload(1, PART));
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
    // As if this process were dead.
    std::mem::forget(upload);
    let here = S3Backend::new(server.config(&prefix));
    let error = here.sweep(&notes.open()).await.err().ok_or("it was said to be gone")?;
    assert!(error.to_string().contains(&proxy.url()), "{error}");
    assert_eq!(server.open_uploads(&prefix).await?, 1);
    there.sweep(&notes.open()).await?;
    assert_eq!(server.open_uploads(&prefix).await?, 0);
    Ok(())
}

pub(crate) async fn a_lost_answer_does_not_make_anothers_object_ours() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", payload(1, 10)).await?;
    let fired = proxy.add(HttpRule::new(HttpAction::LoseAnswer).on(is_put));
    let error = put(&backend, "a/c/h", payload(2, 11)).await.err().ok_or("it was published")?;
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(fired.count(), 1);
    assert!(read(&backend, "a/c/h").await? == payload(1, 10));
    Ok(())
}

pub(crate) async fn a_conflict_is_not_exists() -> Outcome {
    let (proxy, backend) = scripted().await?;
    let conflict = || HttpAction::Respond(xml(409, "ConditionalRequestConflict"));
    // What is at hand is sent again.
    let fired = proxy.add(HttpRule::new(conflict()).on(is_put));
    put(&backend, "a/c/small", payload(1, 10)).await?;
    assert_eq!(fired.count(), 1);
    // What is gone has to come from the caller again, and nothing of it stays.
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
    // Both probes succeed, as on a server that overwrites.
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
        // It looks, and the server gets the condition too, because it may honor it.
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
    // A failure that passes: the server is asked again.
    let proxy = HttpProxy::start(Server::address()?)?;
    let backend = impatient(&server, &proxy.url());
    proxy.add(HttpRule::new(HttpAction::Respond(xml(503, "SlowDown"))).on(is_probe));
    put(&backend, "a/c/h", payload(1, 10)).await?;
    put(&backend, "a/c/i", payload(1, 10)).await?;
    assert!(backend.capabilities().atomic_create);
    Ok(())
}

pub(crate) async fn a_look_and_a_listing_wait_as_long_as_the_server_asks() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", "abc").await?;
    let is_list = |request: &HttpRequest| request.has_query("list-type");
    let is_head = |request: &HttpRequest| request.method() == "HEAD";
    for status in [429, 503] {
        let busy = || HttpAction::Respond(Reply::new(status).header("retry-after", "1"));
        let started = Instant::now();
        let fired = proxy.add(HttpRule::new(busy()).on(is_head));
        backend.stat(&key("a/c/h")?).await?;
        assert_eq!(fired.count(), 1);
        assert!(started.elapsed() >= Duration::from_secs(1), "the look came too early after {status}");
        let started = Instant::now();
        let fired = proxy.add(HttpRule::new(busy()).on(is_list));
        let listed: Vec<_> =
            backend.list(&Prefix::parse("a/")?, ListOptions::default()).try_collect().await?;
        assert_eq!((listed.len(), fired.count()), (1, 1));
        assert!(started.elapsed() >= Duration::from_secs(1), "the listing came too early after {status}");
    }
    Ok(())
}

pub(crate) async fn a_server_that_never_answers_is_given_up_after_the_time_that_the_error_states() -> Outcome
{
    let (proxy, backend) = scripted().await?;
    proxy.add(HttpRule::new(HttpAction::StallAnswer).on(|_| true).always());
    let begun = Instant::now();
    let error = backend.stat(&key("a/c/h")?).await.err().ok_or("it was found")?;
    let passed = begun.elapsed().as_secs_f64();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let text = larder_backend::error_chain(&error);
    let time = text.split("nothing was sent or received for ").nth(1).and_then(|rest| rest.split(' ').next());
    let stated: f64 = time.ok_or_else(|| format!("no time: {text}"))?.parse()?;
    assert!(stated >= PATIENCE.as_secs_f64() * 0.9, "{text}");
    assert!((passed - stated).abs() < 1.0, "{passed} s passed, and it says: {text}");
    Ok(())
}

pub(crate) async fn a_body_that_breaks_goes_on_where_it_broke() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", payload(1, SIZE)).await?;
    for offset in [0, 1, 70_000, 5_000_000] {
        for action in [HttpAction::CutBody { after: offset }, HttpAction::StallBody { after: offset }] {
            let fired = proxy.add(HttpRule::new(action).on(|it| it.method() == "GET"));
            proxy.take_requests();
            assert!(read(&backend, "a/c/h").await? == payload(1, SIZE));
            assert_eq!(fired.count(), 1);
            let from = format!("bytes={offset}-");
            let from_there =
                proxy.count(|it| it.header("range").is_some_and(|range| range.starts_with(&from)));
            // The first request begins at the first byte anyway.
            let expected = if offset == 0 { 2 } else { 1 };
            assert_eq!(from_there, expected, "it did not go on at byte {offset}");
            proxy.take_requests();
        }
    }
    Ok(())
}
