//! The async runtime, with all its threads.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Threads for calls that block. At most four outputs are transferred at once, and each has at most one call that lasts
/// until others were made.
const BLOCKING_THREADS: usize = 6;

/// Threads of the runtime, with the one that runs tasks.
const THREADS: usize = 1 + BLOCKING_THREADS;

/// Pairs of descriptors that the runtime opens for itself, or one more.
const PAIRS: usize = 4;

/// How long a thread may be idle: longer than any command runs.
const KEEP_ALIVE: Duration = Duration::from_hours(24 * 365);

/// How long granted threads take to run on a busy machine, at most.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts a runtime with all its threads.
///
/// Tokio panics if the system refuses its first thread or its descriptors, and waits for ever if it refuses a later thread
/// while the others are busy. So both are asked for before, and all threads start at once.
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

/// Fails if the system refuses as many threads as the runtime has.
fn ask_for_threads() -> io::Result<()> {
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let spawn = |_| {
        let gate = Arc::clone(&gate);
        thread::Builder::new().spawn(move || drop(gate.read()))
    };
    let threads: io::Result<Vec<_>> = (0..THREADS).map(spawn).collect();
    drop(closed);
    // They end without a panic.
    threads?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Occupies every blocking thread once, so that all of them exist.
fn start_blocking_threads(runtime: &Runtime) -> io::Result<()> {
    let all_started = Arc::new(Barrier::new(BLOCKING_THREADS));
    let (sender, started) = mpsc::channel();
    for _ in 0..BLOCKING_THREADS {
        let (sender, all_started) = (sender.clone(), Arc::clone(&all_started));
        runtime.spawn_blocking(move || {
            all_started.wait();
            // Fails if the start was given up.
            sender.send(()).ok();
        });
    }
    (0..BLOCKING_THREADS).try_for_each(|_| {
        started.recv_timeout(START_TIMEOUT).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
    })
}
