//! The threads of a process that hash, compress and open files.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

/// Learns how far an operation has come, and may ask it to stop.
pub trait Observer: Send + Sync {
    /// `count` more bytes of an output have been read.
    fn bytes(&self, count: u64);

    /// Whether the operation should end as soon as it can, with an error that says that it was cancelled.
    fn is_cancelled(&self) -> bool;
}

/// An [`Observer`] that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn bytes(&self, _count: u64) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// The worker threads of a process, shared by all operations that are given a clone.
///
/// There are two kinds. *Compute* threads hash large files and (de)compress; there are as many as the caller
/// says, by default one per core. *File* threads open, read, hash and create small files; they mostly wait for
/// the file system, which on a network may take a millisecond for each open, so there are several times as many.
/// Threads start on first use: making a `Workers` costs nothing.
///
/// Where the system does not give that many threads there are fewer, and where it gives none, each task is done by the
/// thread that asks for it.
#[derive(Clone)]
pub struct Workers(Arc<Pools>);

struct Pools {
    jobs: NonZeroUsize,
    compute: OnceLock<Option<ThreadPool>>,
    files: OnceLock<Option<ThreadPool>>,
}

/// File threads per compute thread, and their bound. Where each open takes a millisecond, pushing 10,000 files on two
/// cores took 1.6 s with four and 0.96 s with eight for each core; where opens are immediate, the difference is within
/// the noise.
const FILE_THREADS_PER_JOB: usize = 8;
const MAX_FILE_THREADS: usize = 64;

impl Workers {
    /// Creates the workers with `jobs` compute threads.
    pub fn new(jobs: NonZeroUsize) -> Self {
        Self(Arc::new(Pools { jobs, compute: OnceLock::new(), files: OnceLock::new() }))
    }

    /// The number of compute threads.
    pub fn jobs(&self) -> NonZeroUsize {
        self.0.jobs
    }

    /// The number of file threads, which is also how many small files are worth having in flight at the least.
    pub fn file_threads(&self) -> usize {
        (self.0.jobs.get() * FILE_THREADS_PER_JOB).clamp(FILE_THREADS_PER_JOB, MAX_FILE_THREADS)
    }

    /// Runs `task` on a compute thread, some time. A task must not wait for another task.
    pub fn spawn_compute(&self, task: impl FnOnce() + Send + 'static) {
        spawn(self.compute(), task);
    }

    /// Runs `task` on a file thread, some time. A task must not wait for another task.
    pub fn spawn_file(&self, task: impl FnOnce() + Send + 'static) {
        spawn(self.files(), task);
    }

    /// The compute threads, if there are any, for rayon's parallel operations.
    pub(crate) fn compute(&self) -> Option<&ThreadPool> {
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
        // As in a pool, a panic is seen by whoever waits for the task.
        None => drop(catch_unwind(AssertUnwindSafe(task))),
    }
}

/// Makes a pool of so many threads, or fewer. `None` where there is none.
fn build(name: &'static str, wanted: usize) -> Option<ThreadPool> {
    // The threads come first, and each waits for its part: asked for more than there are, rayon would end all of them.
    let mut threads: Vec<_> = (0..wanted).map_while(|index| start(name, index).ok()).collect();
    if threads.len() < wanted {
        // Others need threads too. Those that are not used end here.
        threads.truncate(threads.len() / 2);
    }
    if threads.is_empty() {
        // Rayon would take none for as many as there are cores.
        return None;
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads.len())
        // Without a handler a panic in a task would end the process. Whoever waits for the task finds its end of the
        // channel dropped, and reports that.
        .panic_handler(|_| {})
        .spawn_handler(|part| {
            let thread = threads.pop().ok_or(io::ErrorKind::WouldBlock)?;
            thread.send(part).map_err(|_| io::ErrorKind::WouldBlock.into())
        });
    pool.build().ok()
}

/// Starts a thread that waits for its part in a pool.
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
    fn without_threads_who_asks_works() {
        let (sender, answer) = channel();
        let caller = thread::current().id();
        spawn(None, move || sender.send(thread::current().id()).unwrap());
        assert_eq!(answer.recv().unwrap(), caller);
        let (sender, answer) = channel::<()>();
        spawn(None, move || {
            let _sender = sender;
            panic!("a task that fails");
        });
        assert!(answer.recv().is_err(), "found by whoever waits");
    }

    #[test]
    fn a_pool_has_the_threads_that_were_wanted() {
        let pool = build("larder-test", 3).unwrap();
        assert_eq!(pool.current_num_threads(), 3);
        let name = pool.install(|| thread::current().name().map(ToOwned::to_owned));
        assert!(name.unwrap().starts_with("larder-test-"));
    }
}
