//! The threads of a process that hash, compress and open files.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

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
#[derive(Clone)]
pub struct Workers(Arc<Pools>);

struct Pools {
    jobs: NonZeroUsize,
    compute: OnceLock<ThreadPool>,
    files: OnceLock<ThreadPool>,
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
        self.compute().spawn_fifo(task);
    }

    /// Runs `task` on a file thread, some time. A task must not wait for another task.
    pub fn spawn_file(&self, task: impl FnOnce() + Send + 'static) {
        self.files().spawn_fifo(task);
    }

    /// Runs `work` on a compute thread, where rayon's parallel operations use all of them, and waits for it.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.compute().install(work)
    }

    fn compute(&self) -> &ThreadPool {
        self.0.compute.get_or_init(|| build("larder-compute", self.0.jobs.get()))
    }

    fn files(&self) -> &ThreadPool {
        self.0.files.get_or_init(|| build("larder-files", self.file_threads()))
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

fn build(name: &'static str, threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |index| format!("{name}-{index}"))
        // Without a handler a panic in a task would end the process. Whoever waits for the task finds its end of the
        // channel dropped, and reports that.
        .panic_handler(|_| {})
        .build()
        .expect("the system can start a handful of threads")
}
