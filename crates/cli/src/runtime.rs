//! The async runtime, with all its threads.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::failure::{Failure, Result};

/// The number of threads for blocking calls. At most four outputs are transferred at once. Each has at most
/// two calls that wait for other calls: the listings of its objects and of its records.
const BLOCKING_THREADS: usize = 10;

/// The number of threads of the runtime, including the one that runs tasks.
const THREADS: usize = 1 + BLOCKING_THREADS;

/// The number of descriptor pairs to test for. The runtime opens this many for itself, or one fewer.
const PAIRS: usize = 4;

/// The time that a thread may be idle, which is longer than any command runs.
const KEEP_ALIVE: Duration = Duration::from_hours(24 * 365);

/// The maximum time that threads take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts a runtime with all its threads.
///
/// Tokio panics if the system refuses its first thread or its descriptors. It waits forever if the system
/// refuses a later thread while the others are busy. So this tests for threads and descriptors first, and
/// starts all threads at once.
pub(crate) fn start() -> io::Result<Runtime> {
    drop((0..PAIRS).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?);
    ask_for_threads()?;
    let runtime =
        Builder::new_multi_thread().worker_threads(1).thread_keep_alive(KEEP_ALIVE).enable_all().build()?;
    match start_blocking_threads(&runtime) {
        Ok(()) => Ok(runtime),
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

/// Starts as many threads as the runtime has, and ends them again. Fails if the system refuses one.
fn ask_for_threads() -> io::Result<()> {
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let spawn = |_| {
        let gate = Arc::clone(&gate);
        thread::Builder::new().spawn(move || drop(gate.read()))
    };
    let threads: io::Result<Vec<_>> = (0..THREADS).map(spawn).collect();
    drop(closed);
    // These threads do not panic.
    threads?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Runs blocking work on a thread of the runtime. A panic goes on here.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Failure::Runtime(io::Error::other(error)),
    })
}

/// Occupies every blocking thread once, so that all of them exist.
fn start_blocking_threads(runtime: &Runtime) -> io::Result<()> {
    let all_started = Arc::new(Barrier::new(BLOCKING_THREADS));
    let (sender, started) = mpsc::channel();
    for _ in 0..BLOCKING_THREADS {
        let (sender, all_started) = (sender.clone(), Arc::clone(&all_started));
        runtime.spawn_blocking(move || {
            all_started.wait();
            // This fails if the start has timed out.
            sender.send(()).ok();
        });
    }
    (0..BLOCKING_THREADS).try_for_each(|_| {
        started.recv_timeout(START_TIMEOUT).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
    })
}
