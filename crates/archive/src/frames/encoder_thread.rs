//! The threads of encoders that allocate memory anew for each piece.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

type Task = Box<dyn FnOnce() + Send>;

/// A thread that compresses one piece after another. Threads are used again, the last one first, so there are only as many
/// as encoders work at once.
///
/// An allocator keeps freed memory in the arena of the thread that freed it. If a new thread compressed each piece, or any
/// of 64 compute threads, two encoders of xz would take the memory of four.
#[derive(Debug)]
pub(super) struct EncoderThread(Sender<Task>);

static IDLE: Mutex<Vec<EncoderThread>> = Mutex::new(Vec::new());

impl EncoderThread {
    /// Returns an idle thread, or starts one.
    pub(super) fn take() -> io::Result<Self> {
        let thread = idle().pop();
        thread.map_or_else(Self::start, Ok)
    }

    fn start() -> io::Result<Self> {
        let (sender, tasks) = channel::<Task>();
        let work = move || tasks.into_iter().for_each(|task| task());
        thread::Builder::new().name("larder-encode".to_owned()).spawn(work)?;
        Ok(Self(sender))
    }

    /// Runs `task` on the thread. The task puts the thread back when it has freed its memory. If it panics, the thread ends.
    pub(super) fn run(self, task: impl FnOnce(Self) + Send + 'static) {
        let Self(thread) = self;
        let own = Self(thread.clone());
        // The thread is waiting, so it receives the task.
        let _ = thread.send(Box::new(move || task(own)));
    }

    /// Makes the thread idle.
    pub(super) fn put_back(self) {
        idle().push(self);
    }
}

fn idle() -> MutexGuard<'static, Vec<EncoderThread>> {
    // A panic cannot leave the list half-changed.
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}
