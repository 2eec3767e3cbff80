//! Faults of the connection, lost answers, and servers that ask for a pause.

use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt as _;
use larder_backend::{
    Backend as _, BackendExt as _, Error, ErrorKind, ListOptions, Prefix, PutMode, PutOptions, error_chain,
};
use larder_backend_s3::S3Backend;
use larder_testkit::payload;
use larder_testkit::proxy::{
    Direction, HttpAction, HttpRequest, HttpRule, LinkFault, LinkShape, Reply, TcpProxy,
};
use libtest_mimic::Failed;

use crate::script::{PATIENCE, SIZE, SLACK, impatient, is_complete, is_part, is_put, read, scripted, xml};
use crate::server::{PART_SIZE, Server, key, put, put_with};
use crate::trial::Outcome;

/// Bytes of a connection after which something happens to it: in the head of a request, at its end, in the first part,
/// at the edges of parts, and late.
const OFFSETS: [u64; 6] = [0, 1, 700, 300_000, PART_SIZE as u64 + 600, 2 * PART_SIZE as u64 + 1];

type MakeFault = fn(Direction, u64) -> LinkFault;
const FAULTS: [(&str, MakeFault); 3] =
    [("cut", LinkFault::cut_after), ("reset", LinkFault::reset_after), ("stall", LinkFault::stall_after)];

pub(crate) async fn an_upload_survives_a_fault_of_the_link() -> Outcome {
    one_fault_is_survived(Direction::Up, true).await
}

pub(crate) async fn an_upload_survives_a_fault_of_the_answer() -> Outcome {
    one_fault_is_survived(Direction::Down, true).await
}

pub(crate) async fn a_download_survives_a_fault_of_the_link() -> Outcome {
    one_fault_is_survived(Direction::Down, false).await
}

async fn one_fault_is_survived(direction: Direction, upload: bool) -> Outcome {
    let server = Server::required()?;
    let bytes = payload(1, SIZE);
    for (what, fault) in FAULTS {
        for offset in OFFSETS {
            // The answers to an upload are short.
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
            // Short requests such as the abort get through.
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
            // The link stays dead after the fault, so there is no further progress.
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

pub(crate) async fn a_server_that_asks_for_a_pause_gets_it() -> Outcome {
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

pub(crate) async fn a_lost_answer_does_not_lose_the_object() -> Outcome {
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

pub(crate) async fn an_unreadable_answer_does_not_lose_the_object() -> Outcome {
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
    // Times of objects have whole seconds, so wait for the next second of the server's clock.
    while SystemTime::now() < published + Duration::from_secs(2) {
        backend.stat(&key("a/c/h")?).await?;
    }
    // The server loses the upload and the request to complete it.
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

/// What MinIO answers when it goes on after a long pause.
pub(crate) async fn a_server_that_gave_up_on_the_connection_is_asked_again() -> Outcome {
    type Such = fn(&HttpRequest) -> bool;
    let upload: [(&str, usize, Such); 4] = [
        ("put", 10, is_put),
        ("begin", SIZE, |it| it.has_query("uploads")),
        ("part", SIZE, is_part),
        ("complete", SIZE, is_complete),
    ];
    for (what, size, such) in upload {
        let (proxy, backend) = scripted().await?;
        let reply = || HttpRule::new(HttpAction::Respond(xml(499, "ClientDisconnected"))).on(such);
        let fired = [proxy.add(reply()), proxy.add(reply())];
        let bytes = payload(1, size);
        put(&backend, "a/c/h", bytes.clone()).await.map_err(|error| format!("{what}: {error}"))?;
        assert_eq!(fired.map(|fired| fired.count()), [1, 1], "{what}");
        assert!(read(&backend, "a/c/h").await? == bytes, "{what}");
        let gone = HttpRule::new(HttpAction::Respond(Reply::new(499))).on(|it| it.method() == "GET");
        let fired = proxy.add(gone);
        assert!(read(&backend, "a/c/h").await? == bytes, "{what}");
        assert_eq!(fired.count(), 1, "{what}");
        backend.close().await?;
    }
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

pub(crate) async fn a_slow_link_is_not_stalled() -> Outcome {
    const PATIENCE: Duration = Duration::from_secs(6);
    // Much more than the buffers of the system.
    const PART: usize = 16 << 20;
    let server = Server::required()?;
    let proxy = TcpProxy::start(Server::address()?)?;
    let config = server.config_at(&server.prefix(), &format!("http://{}", proxy.address()));
    let backend = S3Backend::new(config.with_part_size(PART).with_stall_timeout(Some(PATIENCE)));
    put(&backend, "warm/up/h", "x").await?;
    // One request takes longer than the timeout, and fails near its end.
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

pub(crate) async fn a_lost_answer_does_not_claim_the_object_of_another() -> Outcome {
    let (proxy, backend) = scripted().await?;
    put(&backend, "a/c/h", payload(1, 10)).await?;
    let fired = proxy.add(HttpRule::new(HttpAction::LoseAnswer).on(is_put));
    let error = put(&backend, "a/c/h", payload(2, 11)).await.err().ok_or("it was published")?;
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(fired.count(), 1);
    assert!(read(&backend, "a/c/h").await? == payload(1, 10));
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

pub(crate) async fn a_server_without_an_answer_times_out_after_the_stated_time() -> Outcome {
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
            // The first request begins at the first byte in any case.
            let expected = if offset == 0 { 2 } else { 1 };
            assert_eq!(from_there, expected, "it did not go on at byte {offset}");
            proxy.take_requests();
        }
    }
    Ok(())
}
