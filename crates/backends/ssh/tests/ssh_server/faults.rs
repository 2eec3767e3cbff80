//! Faults of the connection.

use std::fs;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use larder_backend::{
    Backend as _, BackendExt as _, DeleteOptions, Error, ErrorKind, ListOptions, Prefix, PutOptions,
};
use larder_backend_ssh::SshBackend;
use larder_testkit::payload;
use larder_testkit::proxy::{Direction, LinkFault, LinkShape, TcpProxy};

use crate::server::{Home, explained, key, put, read};
use crate::trial::{DONE, Outcome};

/// The no-progress timeout.
const PATIENCE: Duration = Duration::from_secs(3);
/// An upper bound that only a very busy machine exceeds.
const SLACK: Duration = Duration::from_secs(30);

/// More than one part for each of two sessions.
const SIZE: usize = 18 * 1024 * 1024 + 17;

/// Bytes of a connection after which something happens to it: before and in the greeting, in the exchange of keys, when
/// logging in, in the first part, at the edge of parts, and late.
const OFFSETS: [u64; 8] = [0, 1, 700, 2_500, 4_000, 300_000, 4 * 1024 * 1024, 10_000_000];

type MakeFault = fn(Direction, u64) -> LinkFault;
const FAULTS: [(&str, MakeFault); 3] =
    [("cut", LinkFault::cut_after), ("reset", LinkFault::reset_after), ("stall", LinkFault::stall_after)];

/// ssh2 loses its place in an answer above 127 bytes if it has to wait for it.
pub(crate) async fn long_paths_are_reached_over_a_long_link() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let proxy = TcpProxy::start(home.address()?)?;
    proxy.shape(LinkShape::default().round_trip(Duration::from_millis(20)));
    let linked = root.path().join("a-link-to-the-root");
    std::os::unix::fs::symlink(root.path(), &linked)?;
    let config = home.config_at(&linked, proxy.address().port()).with_stall_timeout(Some(PATIENCE));
    let backend = SshBackend::new(config);
    let name = format!("{}/{}/{}", "o".repeat(200), "c".repeat(120), "h".repeat(120));
    put(&backend, &name, b"bytes".as_slice()).await?;
    if read(&backend, &name).await? != "bytes" || backend.stat(&key(&name)?).await?.size != 5 {
        return Err("the object is not what was written".into());
    }
    let prefix = Prefix::parse(format!("{}/", "o".repeat(200)))?;
    let found: Vec<_> = backend.list(&prefix, ListOptions::default()).try_collect().await?;
    let count = found.len();
    if count != 1 {
        return Err(format!("{count} objects are listed").into());
    }
    backend.delete(&key(&name)?, DeleteOptions::default()).await?;
    backend.close().await?;
    DONE
}

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
    let home = Home::new()?;
    let bytes = payload(1, SIZE);
    for (what, fault) in FAULTS {
        for offset in OFFSETS {
            // The answers to an upload are short.
            if upload && direction == Direction::Down && offset > 10_000 {
                continue;
            }
            let root = home.server().directory()?;
            let proxy = TcpProxy::start(home.address()?)?;
            let config =
                home.config_at(root.path(), proxy.address().port()).with_stall_timeout(Some(PATIENCE));
            let backend = SshBackend::new(config);
            let wrong = |error: &Error| format!("{what} at {offset}: {}", explained(error));
            if !upload {
                put(&SshBackend::new(home.config(root.path())), "a/c/h", bytes.clone()).await?;
            }
            let fired = proxy.inject(fault(direction, offset).in_total());
            if upload {
                put(&backend, "a/c/h", bytes.clone()).await.map_err(|error| wrong(&error))?;
            }
            let came = read(&backend, "a/c/h").await.map_err(|error| wrong(&error))?;
            assert!(came == bytes, "{what} at {offset}: the bytes are others");
            assert_eq!(fired.count(), 1, "{what} at {offset} did not happen");
            backend.close().await?;
            if upload {
                assert_eq!(fs::read_dir(root.path().join(".larder/1/tmp"))?.count(), 0, "{what} at {offset}");
            }
        }
    }
    DONE
}

fn assert_failed_in_time(error: &Error, started: Instant, what: &str, offset: u64) {
    let expected = [ErrorKind::Timeout, ErrorKind::Unavailable];
    assert!(expected.contains(&error.kind()), "{what} at {offset}: {}", explained(error));
    assert!(started.elapsed() < 2 * PATIENCE + SLACK, "{what} at {offset}: {:?}", started.elapsed());
}

pub(crate) async fn a_permanent_fault_ends_an_upload_in_time() -> Outcome {
    let home = Home::new()?;
    for (what, fault) in FAULTS {
        for offset in [0, 2_000, 300_000] {
            let root = home.server().directory()?;
            let proxy = TcpProxy::start(home.address()?)?;
            let config =
                home.config_at(root.path(), proxy.address().port()).with_stall_timeout(Some(PATIENCE));
            let backend = SshBackend::new(config);
            proxy.inject(fault(Direction::Up, offset).in_total().always());
            let started = Instant::now();
            let error = put(&backend, "a/c/h", payload(1, SIZE)).await.err().ok_or("it was published")?;
            assert_failed_in_time(&error, started, what, offset);
            backend.close().await?;
            let direct = SshBackend::new(home.config(root.path()));
            assert!(direct.stat_if_exists(&key("a/c/h")?).await?.is_none());
            direct.close().await?;
        }
    }
    DONE
}

pub(crate) async fn a_permanent_fault_ends_a_download_in_time() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    put(&SshBackend::new(home.config(root.path())), "a/c/h", payload(1, SIZE)).await?;
    for (what, fault) in FAULTS {
        for offset in [0, 2_000, 300_000, 9_000_000] {
            let proxy = TcpProxy::start(home.address()?)?;
            let config =
                home.config_at(root.path(), proxy.address().port()).with_stall_timeout(Some(PATIENCE));
            let backend = SshBackend::new(config);
            proxy.inject(fault(Direction::Down, offset).in_total().always());
            let started = Instant::now();
            let error = read(&backend, "a/c/h").await.err().ok_or("all of it came")?;
            assert_failed_in_time(&error, started, what, offset);
            backend.close().await?;
        }
    }
    DONE
}

pub(crate) async fn sessions_that_died_idle_are_replaced() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let proxy = TcpProxy::start(home.address()?)?;
    let backend = SshBackend::new(home.config_at(root.path(), proxy.address().port()));
    put(&backend, "a/c/h", "bytes").await?;
    proxy.sever();
    assert_eq!(read(&backend, "a/c/h").await?, "bytes");
    assert_eq!(proxy.connections(), 2);
    backend.close().await?;
    DONE
}

pub(crate) async fn a_cancelled_upload_ends_at_once_on_a_dead_link() -> Outcome {
    let home = Home::new()?;
    let root = home.server().directory()?;
    let proxy = TcpProxy::start(home.address()?)?;
    let backend = SshBackend::new(home.config_at(root.path(), proxy.address().port()));
    let mut upload = backend.begin_put(&key("a/c/h")?, PutOptions::default()).await?;
    let fired = proxy.inject(LinkFault::stall_after(Direction::Up, 1_000_000).in_total());
    upload.write(payload(1, 8 * 1024 * 1024)).await?;
    fired.reached(1).await;
    let started = Instant::now();
    upload.abort().await?;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    backend.close().await?;
    assert_eq!(fs::read_dir(root.path().join(".larder/1/tmp"))?.count(), 0);
    DONE
}
