//! The threads that wait for remotes, started so that the system may refuse them.
//!
//! The runtime panics where it gets no thread or no descriptor to begin with. Where it has some and is refused another
//! one, it lets the work wait for those that it has, without a word; and where these are busy until that work is done, as
//! those may be that list and wait for the list to be read, that is for ever.

use std::any::Any;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tokio::runtime::{Builder, Runtime};

/// Threads that run tasks, besides the one that waits for the work. Work is done on the storage's own: this one only hears
/// of signals, and hands bytes over. Refused a second one, the runtime would wait for the end of the first, for ever.
const WAITING_THREADS: usize = 1;

/// Threads for calls that block, which are there before the first one. At most four outputs are transferred at once, and
/// each of them has at most one call that lasts until others were made.
const BLOCKING_THREADS: usize = 6;

/// Pairs of descriptors that the runtime opens for itself, or one more.
const PAIRS: usize = 4;

/// For how long a thread may be idle: longer than any command runs, because another one may be refused.
const KEEP: Duration = Duration::from_hours(24 * 365);

/// How long a thread that the system has granted takes to run, at the most, unless the machine is very busy.
const MOMENT: Duration = Duration::from_millis(50);
/// How often a thread is waited for that long. Only a machine that grants threads and does not run them needs more than
/// one.
const MOMENTS: usize = 100;

/// Starts a runtime with all its threads.
pub(crate) fn start() -> io::Result<Runtime> {
    // Given back at once: this is only to hear of the system what the runtime would panic about.
    drop((0..PAIRS).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?);
    let started = quietly(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WAITING_THREADS)
            .thread_keep_alive(KEEP)
            .enable_all()
            .build()?;
        match start_blocking(&runtime) {
            Ok(()) => Ok(runtime),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    });
    started.unwrap_or_else(|panic| Err(why(&*panic)))
}

/// Starts the threads for calls that block.
fn start_blocking(runtime: &Runtime) -> io::Result<()> {
    let (sender, started) = channel();
    let gate = Arc::new(RwLock::new(()));
    // Each call keeps its thread until all are there.
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let occupy = || {
        let (sender, gate) = (sender.clone(), Arc::clone(&gate));
        runtime.spawn_blocking(move || {
            // Fails where it was given up.
            let _ = sender.send(());
            drop(gate.read());
        });
    };
    (0..BLOCKING_THREADS).for_each(|_| occupy());
    let all = (0..BLOCKING_THREADS).try_for_each(|_| wait_for_one(&started, occupy));
    drop(closed);
    all
}

/// Waits until one more thread has started.
fn wait_for_one(started: &Receiver<()>, occupy: impl Fn()) -> io::Result<()> {
    for _ in 0..MOMENTS {
        if started.recv_timeout(MOMENT).is_ok() {
            return Ok(());
        }
        // It is slow, or was refused: then the runtime asks again only for more work.
        occupy();
        if started.recv_timeout(MOMENT).is_ok() {
            return Ok(());
        }
        // The runtime does not tell; the system does.
        grants_thread()?;
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn grants_thread() -> io::Result<()> {
    let probe = thread::Builder::new().spawn(|| {})?;
    // It does nothing, and that without a panic.
    probe.join().ok();
    Ok(())
}

/// Runs what may panic, without a word about it.
fn quietly<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let ended = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    ended
}

/// Why the runtime panicked, which it says in words only. By now the system may have a thread again.
fn why(panic: &(dyn Any + Send)) -> io::Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    match text.or_else(|| panic.downcast_ref::<&str>().copied()) {
        Some(text) if text.contains("spawn worker thread") => Errno::AGAIN.into(),
        Some(text) => io::Error::other(text.to_owned()),
        None => io::Error::other("the runtime failed"),
    }
}
