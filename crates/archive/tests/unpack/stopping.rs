//! Unpacking that is canceled.

use std::any::Any;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use larder_archive::{UnpackErrorKind, UnpackOptions, unpack};
use larder_hashing::{OutputPath, Scheme};
use larder_tree::Observer;

use crate::support::{Place, Tar, m};

/// Reports when it is dropped.
struct Guard(Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Sending fails only after the end of the test.
        let _ = self.0.send(());
    }
}

/// Cancels after this number of bytes.
struct StopAfter {
    seen: AtomicU64,
    limit: u64,
}

impl Observer for StopAfter {
    fn bytes(&self, count: u64) {
        self.seen.fetch_add(count, Ordering::SeqCst);
    }

    fn is_cancelled(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.limit
    }
}

fn many_files() -> Tar {
    (0..2000).fold(m(), |tar, number| tar.file(&format!("m/{number}"), &[7; 3000]))
}

fn chunks(archive: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let chunks: Vec<_> = archive.chunks(300_000).map(Bytes::copy_from_slice).collect();
    stream::iter(chunks.into_iter().map(Ok))
}

fn output() -> OutputPath {
    OutputPath::new("m").unwrap()
}

#[test]
fn an_observer_stops_it() {
    let large = m().file("m/large", &vec![7; 6_000_000]);
    for (archive, scheme) in
        [(many_files(), Scheme::Blake3), (large, Scheme::Blake3), (many_files(), Scheme::Weasel)]
    {
        let archive = archive.end();
        for limit in [1, archive.len() as u64 / 2, archive.len() as u64] {
            let place = Place::new();
            let options = UnpackOptions::default()
                .with_scheme(Some(scheme))
                .with_observer(Arc::new(StopAfter { seen: AtomicU64::new(0), limit }));
            match block_on(unpack(chunks(&archive), &place.staging(), &output(), &options)) {
                Err(error) => assert_eq!(error.kind(), UnpackErrorKind::Cancelled, "{error:?}"),
                // The cancellation came too late, after the end.
                Ok(_) => assert_eq!(limit, archive.len() as u64),
            }
        }
    }
}

/// Blocks the first thread that checks for cancellation, until the gate is opened.
struct Gate {
    entered: SyncSender<()>,
    opened: Mutex<Receiver<()>>,
}

impl Observer for Gate {
    fn bytes(&self, _count: u64) {}

    fn is_cancelled(&self) -> bool {
        // Sending fails only after the end of the test.
        let _ = self.entered.try_send(());
        let _ = self.opened.lock().unwrap().recv();
        false
    }
}

#[test]
fn the_guard_of_the_destination_is_held_until_all_writes_end() {
    let (sender, ended) = channel();
    let guard: Arc<dyn Any + Send + Sync> = Arc::new(Guard(sender));
    let (entered, at_gate) = sync_channel(1);
    let (open, opened) = channel::<()>();
    let gate = Gate { entered, opened: Mutex::new(opened) };
    let place = Place::new();
    let options = UnpackOptions::default().with_keep_alive(guard).with_observer(Arc::new(gate));
    let (staging, output) = (place.staging(), output());
    // Half of the archive, and then a silent remote.
    let archive = many_files().end();
    let stream = chunks(&archive[..archive.len() / 2]).chain(stream::pending());
    let mut unpacking = Box::pin(unpack(stream, &staging, &output, &options));
    while at_gate.try_recv().is_err() {
        assert!(unpacking.as_mut().now_or_never().is_none(), "there is more to come");
        std::thread::yield_now();
    }
    drop(unpacking);
    drop(options);
    assert!(ended.try_recv().is_err(), "a thread is still there, and could write");
    drop(open);
    ended.recv_timeout(Duration::from_mins(1)).expect("it ends, and lets go of the guard");
    assert_eq!(place.read("m/0"), None, "it has stopped at the next entry");
}

#[test]
fn a_guard_is_released_at_the_end() {
    let (sender, ended) = channel();
    let guard: Arc<dyn Any + Send + Sync> = Arc::new(Guard(sender));
    let place = Place::new();
    let options = UnpackOptions::default().with_keep_alive(guard);
    block_on(unpack(chunks(&many_files().end()), &place.staging(), &output(), &options)).unwrap();
    assert!(ended.try_recv().is_err(), "the caller holds it too");
    drop(options);
    ended.recv_timeout(Duration::from_mins(1)).expect("no thread holds it any more");
}

#[test]
fn damage_ends_it_though_the_remote_is_silent() {
    let archive = m().file("../victim", b"evil").file("m/a", &vec![7; 1_000_000]).end();
    let place = Place::new();
    let stream = chunks(&archive).chain(stream::pending());
    let outcome = block_on(unpack(stream, &place.staging(), &output(), &UnpackOptions::default()));
    assert_eq!(outcome.unwrap_err().kind(), UnpackErrorKind::Integrity);
}
