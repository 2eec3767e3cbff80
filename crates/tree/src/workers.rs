//! The threads of a process that open, hash and compress files.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

/// The worker threads of a process, shared by all operations that are given a clone.
///
/// *Compute* threads hash large files, compress and decompress. By default there is one for each core. *File*
/// threads open, read, hash and create small files. They mostly wait for the file system: on a network, each
/// open may take a millisecond. So there are several times as many of them. Threads start on first use:
/// creating a `Workers` costs nothing.
///
/// If the system refuses some threads, the pool has fewer. If it refuses all of them, each task runs on the
/// thread that spawns it. Neither case is an error or a panic.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::sync::mpsc::channel;
///
/// use larder_tree::Workers;
///
/// let workers = Workers::new(NonZeroUsize::new(2).expect("not zero"));
/// let (sender, answer) = channel();
/// workers.spawn_compute(move || sender.send(6 * 7).expect("the receiver waits"));
/// assert_eq!(answer.recv()?, 42);
/// # Ok::<(), std::sync::mpsc::RecvError>(())
/// ```
#[derive(Clone)]
pub struct Workers(Arc<ThreadPools>);

struct ThreadPools {
    jobs: NonZeroUsize,
    compute: OnceLock<Option<ThreadPool>>,
    files: OnceLock<Option<ThreadPool>>,
}

/// The number of file threads per compute thread, and the maximum in total. Where each open takes a
/// millisecond, pushing 10,000 files on two cores took 1.6 s with four threads per core and 0.96 s with
/// eight. Where opens are immediate, there is no difference.
const FILE_THREADS_PER_JOB: usize = 8;
const MAX_FILE_THREADS: usize = 64;

impl Workers {
    /// Creates the workers with `jobs` compute threads.
    pub fn new(jobs: NonZeroUsize) -> Self {
        Self(Arc::new(ThreadPools { jobs, compute: OnceLock::new(), files: OnceLock::new() }))
    }

    /// The number of compute threads.
    pub fn jobs(&self) -> NonZeroUsize {
        self.0.jobs
    }

    /// The number of file threads. At least this many small files should be in flight.
    pub fn file_threads(&self) -> usize {
        (self.0.jobs.get() * FILE_THREADS_PER_JOB).clamp(FILE_THREADS_PER_JOB, MAX_FILE_THREADS)
    }

    /// Runs `task` on a compute thread, later. A task must not wait for another task.
    pub fn spawn_compute(&self, task: impl FnOnce() + Send + 'static) {
        spawn(self.compute_threads(), task);
    }

    /// Runs `task` on a file thread, later. A task must not wait for another task.
    pub fn spawn_file(&self, task: impl FnOnce() + Send + 'static) {
        spawn(self.files(), task);
    }

    /// Returns the compute threads, for rayon's parallel operations. Returns `None` if the system refuses to
    /// start threads.
    pub fn compute_threads(&self) -> Option<&ThreadPool> {
        self.0.compute.get_or_init(|| build("larder-compute", self.0.jobs.get())).as_ref()
    }

    fn files(&self) -> Option<&ThreadPool> {
        self.0.files.get_or_init(|| build("larder-files", self.file_threads())).as_ref()
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("jobs", &self.0.jobs).finish_non_exhaustive()
    }
}

fn spawn(pool: Option<&ThreadPool>, task: impl FnOnce() + Send + 'static) {
    match pool {
        Some(pool) => pool.spawn_fifo(task),
        // As in a pool, the code that waits for the task notices a panic.
        None => drop(catch_unwind(AssertUnwindSafe(task))),
    }
}

/// Creates a pool of `wanted` threads, or fewer. Returns `None` if no thread can be started.
fn build(name: &'static str, wanted: usize) -> Option<ThreadPool> {
    // The threads start before the pool, because rayon fails entirely if one of its threads cannot start.
    let mut threads: Vec<_> = (0..wanted).map_while(|index| start(name, index).ok()).collect();
    if threads.len() < wanted {
        // Leave some for other parts of the process.
        threads.truncate(threads.len() / 2);
    }
    if threads.is_empty() {
        // Rayon interprets zero as the number of cores.
        return None;
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads.len())
        // Without a handler, a panic in a task would abort the process. The code that waits for the task
        // reports that its channel is closed.
        .panic_handler(|_| {})
        .spawn_handler(|part| {
            let thread = threads.pop().ok_or(io::ErrorKind::WouldBlock)?;
            thread.send(part).map_err(|_| io::ErrorKind::WouldBlock.into())
        });
    pool.build().ok()
}

/// Starts a thread that waits to join a pool.
fn start(name: &'static str, index: usize) -> io::Result<Sender<ThreadBuilder>> {
    let (sender, part) = channel::<ThreadBuilder>();
    thread::Builder::new().name(format!("{name}-{index}")).spawn(move || {
        if let Ok(part) = part.recv() {
            part.run();
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_threads_the_caller_runs_the_task() {
        let (sender, answer) = channel();
        let caller = thread::current().id();
        spawn(None, move || sender.send(thread::current().id()).unwrap());
        assert_eq!(answer.recv().unwrap(), caller);
        let (sender, answer) = channel::<()>();
        spawn(None, move || {
            let _sender = sender;
            panic!("a task that fails");
        });
        assert!(answer.recv().is_err(), "whoever waits notices");
    }

    #[test]
    fn a_pool_has_the_threads_that_were_wanted() {
        let pool = build("larder-test", 3).unwrap();
        assert_eq!(pool.current_num_threads(), 3);
        let name = pool.install(|| thread::current().name().map(ToOwned::to_owned));
        assert!(name.unwrap().starts_with("larder-test-"));
    }
}
