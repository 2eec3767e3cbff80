//! The sessions with a server: a bounded number, each on a thread of its own, where it is made, used and closed.
//!
//! A session of libssh2 does one thing at a time, and its destructors block: nothing of it ever comes to the async side.
//! A job is a function that uses a connection and ends; what wants more of one runs another job.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use larder_backend::{Error, ErrorKind, Operation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::auth::{AgentLimits, LogIn, Passphrases};
use crate::config::SshConfig;
use crate::connection::Connection;
use crate::error::Trouble;
use crate::opening;
use crate::openssh::Target;
use crate::retry::Patience;

/// How many sessions there are at most: less than the 10 that sshd lets log in at once, by default.
pub(crate) const MAX_SESSIONS: usize = 8;

/// How often an idle session shows the server, and what is in between, that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After how long an idle session is closed.
const IDLE: Duration = Duration::from_mins(1);

type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// A thread that waits for jobs.
struct Link(mpsc::Sender<Job>);

/// The sessions with one server.
pub(crate) struct Pool {
    config: SshConfig,
    patience: Patience,
    target: Mutex<Option<Arc<Target>>>,
    passphrases: Arc<Passphrases>,
    /// For how long the agent did not answer, if it did not.
    silent_agent: Arc<OnceLock<Duration>>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Link>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// How many jobs wait for a session.
    waiting: AtomicUsize,
    /// The number of the next thread.
    number: AtomicUsize,
}

/// What a job is for, and when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) operation: Operation,
    pub(crate) location: String,
    /// Set where nobody wants it any more.
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    /// Grows as something moves.
    pub(crate) progress: Arc<AtomicU64>,
    /// For how long it is tried.
    pub(crate) patience: Patience,
}

/// What a job knows of those before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// An earlier attempt may have been done, because its answer never came.
    pub(crate) is_uncertain: bool,
}

/// How an attempt ended.
struct Outcome<T> {
    result: Result<T, Trouble>,
    /// The session was used before.
    was_used: bool,
    /// For how long nothing was heard of the server, at the end of an attempt that failed.
    silence: Duration,
}

impl<T> Outcome<T> {
    /// An attempt that did not come to a session.
    fn failed(trouble: Trouble) -> Self {
        Self { result: Err(trouble), was_used: false, silence: Duration::ZERO }
    }
}

impl Pool {
    pub(crate) fn new(config: SshConfig) -> Self {
        let patience = Patience { stall_timeout: config.stall_timeout };
        Self {
            config,
            patience,
            target: Mutex::default(),
            passphrases: Arc::default(),
            silent_agent: Arc::default(),
            permits: Arc::new(Semaphore::new(MAX_SESSIONS)),
            idle: Mutex::default(),
            threads: Mutex::default(),
            waiting: AtomicUsize::new(0),
            number: AtomicUsize::new(1),
        }
    }

    /// A task with the usual patience.
    pub(crate) fn task(&self, operation: Operation, location: impl Into<String>) -> Task {
        Task {
            operation,
            location: location.into(),
            cancel: None,
            progress: Arc::default(),
            patience: self.patience,
        }
    }

    /// Whether somebody waits for a session.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Runs a job on a session, again where the connection is lost. It must not matter whether it was done before.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        task: Task,
        job: impl Fn(&Connection, Attempt) -> Result<T, Trouble> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let job = Arc::new(job);
        let mut attempts = task.patience.attempts();
        let mut attempt = Attempt { is_uncertain: false };
        loop {
            let Outcome { result, was_used, silence } = self.attempt(&task, attempt, Arc::clone(&job)).await;
            let trouble = match result {
                Ok(value) => return Ok(value),
                Err(trouble) => trouble,
            };
            attempt.is_uncertain |= trouble.is_broken;
            // A session that died while nobody used it says nothing about the next.
            if was_used && trouble.is_retryable && trouble.kind != ErrorKind::Timeout {
                continue;
            }
            match attempts.pause_after(trouble, silence, task.progress.load(Ordering::Relaxed)) {
                Ok(pause) => tokio::time::sleep(pause).await,
                Err(trouble) => return Err(trouble.at(task.operation, task.location)),
            }
        }
    }

    async fn attempt<T: Send + 'static>(
        self: &Arc<Self>,
        task: &Task,
        attempt: Attempt,
        job: Arc<impl Fn(&Connection, Attempt) -> Result<T, Trouble> + Send + Sync + 'static>,
    ) -> Outcome<T> {
        let gone =
            || Outcome::failed(Trouble::new(ErrorKind::Other).with_source("the thread of the session ended"));
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Released where this future is dropped, too.
        let waiting = Waiting(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        drop(waiting);
        let Ok(permit) = permit else { return gone() };
        let link = match self.link() {
            Ok(link) => link,
            Err(trouble) => return Outcome::failed(trouble),
        };
        let (sender, receiver) = oneshot::channel();
        let (pool, task) = (Arc::clone(self), task.clone());
        let sending = link.0.clone();
        let run: Job = Box::new(move |slot| {
            let outcome = pool.perform(slot, &task, attempt, &*job);
            drop(job);
            pool.give_back(link, permit);
            // Nobody may be waiting any more.
            let _ = sender.send(outcome);
        });
        if sending.send(run).is_err() {
            return gone();
        }
        receiver.await.unwrap_or_else(|_| gone())
    }

    /// On the thread of the session.
    fn perform<T>(
        &self,
        slot: &mut Option<Connection>,
        task: &Task,
        attempt: Attempt,
        job: &impl Fn(&Connection, Attempt) -> Result<T, Trouble>,
    ) -> Outcome<T> {
        let is_cancelled = task.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed));
        if is_cancelled {
            return Outcome::failed(Trouble::cancelled());
        }
        let was_used = slot.is_some();
        let begun = Instant::now();
        let mut connection = match slot.take().map_or_else(|| self.connect(task), Ok) {
            Ok(connection) => connection,
            Err(trouble) => return Outcome { silence: begun.elapsed(), ..Outcome::failed(trouble) },
        };
        connection.wire.limit = task.patience.answer_limit();
        connection.wire.cancel.clone_from(&task.cancel);
        let result = job(&connection, attempt);
        connection.wire.cancel = None;
        let silence = connection.wire.silence().min(begun.elapsed());
        if result.as_ref().is_err_and(|trouble| trouble.is_broken) {
            connection.cut();
        } else {
            *slot = Some(connection);
        }
        Outcome { result, was_used, silence }
    }

    fn connect(&self, task: &Task) -> Result<Connection, Trouble> {
        let target = {
            let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
            match &*target {
                Some(target) => Arc::clone(target),
                None => Arc::clone(target.insert(Arc::new(Target::resolve(&self.config)?))),
            }
        };
        let log_in = LogIn {
            ask: self.config.passphrase.clone(),
            passphrases: Arc::clone(&self.passphrases),
            limit: task.patience.answer_limit(),
            cancel: task.cancel.clone(),
            // Not the task's: one that cleans up hurries, and would take an agent for dead that asks its user.
            agent_limits: AgentLimits::within(self.patience.stall_timeout),
            silent_agent: Arc::clone(&self.silent_agent),
        };
        opening::open(&target, &Arc::new(log_in))
    }

    fn link(self: &Arc<Self>) -> Result<Link, Trouble> {
        if let Some(link) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(link);
        }
        let (sender, jobs) = mpsc::channel();
        let name = format!("larder-ssh-{}", self.number.fetch_add(1, Ordering::Relaxed));
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || work(&jobs))
            .map_err(|error| Trouble::new(ErrorKind::Other).with_source(error))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(Link(sender))
    }

    fn give_back(&self, link: Link, permit: OwnedSemaphorePermit) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        drop(permit);
    }

    /// Waits for jobs that are running, and closes all sessions.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(MAX_SESSIONS).unwrap_or(1);
        // A job ends within the limit for its answer, or sooner.
        let quiet = tokio::time::timeout(self.patience.stall_timeout, self.permits.acquire_many(all)).await;
        let threads = {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if quiet.is_ok() {
            // Each says goodbye, which takes a second at most.
            let joined = tokio::task::spawn_blocking(|| {
                for thread in threads {
                    let _ = thread.join();
                }
            });
            let _ = joined.await;
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Counts one that waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The life of a session's thread. Ends when nobody can send jobs any more.
fn work(jobs: &mpsc::Receiver<Job>) {
    let mut slot: Option<Connection> = None;
    let mut used = Instant::now();
    loop {
        match jobs.recv_timeout(KEEP_ALIVE) {
            Ok(job) => {
                job(&mut slot);
                used = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) if used.elapsed() > IDLE => {
                if let Some(connection) = slot.take() {
                    connection.close();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(connection) = &slot {
                    // Where that fails, the next job finds out.
                    let _ = connection.wire.session.keepalive_send();
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Some(connection) = slot {
        connection.close();
    }
}
