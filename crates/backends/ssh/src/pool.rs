//! The sessions with a server. Their number is bounded, and each has a thread, which uses and closes it.
//!
//! A session of libssh2 does one thing at a time, and its destructors block. So no session ever comes to the async side. A job is
//! a function that uses a connection once.

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
use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::opening;
use crate::openssh::HostSettings;
use crate::retry::Patience;

/// The most sessions. By default, sshd lets 10 log in at once.
pub(crate) const MAX_SESSIONS: usize = 8;

/// The interval of keepalives of an idle session, for the server and the routers in between.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The time after which an idle session is closed.
const IDLE: Duration = Duration::from_mins(1);

type Job = Box<dyn FnOnce(&mut Option<SftpConnection>) + Send>;

/// A thread that waits for jobs.
struct SessionThread(mpsc::Sender<Job>);

/// The sessions with one server.
pub(crate) struct SessionPool {
    config: SshConfig,
    patience: Patience,
    settings: Mutex<Option<Arc<HostSettings>>>,
    passphrases: Arc<Passphrases>,
    /// For how long the agent did not answer, if it did not.
    silent_agent: Arc<OnceLock<Duration>>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<SessionThread>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    /// The number of jobs that wait for a session.
    waiting: AtomicUsize,
    /// The number of the next thread.
    number: AtomicUsize,
}

/// The purpose of a job, and the conditions of its end.
#[derive(Clone, Debug)]
pub(crate) struct SessionTask {
    pub(crate) operation: Operation,
    pub(crate) location: String,
    /// Set when nobody wants the result any more.
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    /// Grows with the progress of the operation.
    pub(crate) progress: Arc<AtomicU64>,
    /// How long the job is tried.
    pub(crate) patience: Patience,
}

/// What a job knows about earlier attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// The server may have done an earlier attempt, because its answer was lost.
    pub(crate) is_uncertain: bool,
}

/// How an attempt ended.
struct AttemptOutcome<T> {
    result: Result<T, Trouble>,
    /// The session was used before.
    was_used: bool,
    /// How long the server was silent at the end of a failed attempt.
    silence: Duration,
}

impl<T> AttemptOutcome<T> {
    /// An attempt that did not get a session.
    fn failed(trouble: Trouble) -> Self {
        Self { result: Err(trouble), was_used: false, silence: Duration::ZERO }
    }
}

impl SessionPool {
    pub(crate) fn new(config: SshConfig) -> Self {
        let patience = Patience { stall_timeout: config.stall_timeout };
        Self {
            config,
            patience,
            settings: Mutex::default(),
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
    pub(crate) fn task(&self, operation: Operation, location: impl Into<String>) -> SessionTask {
        SessionTask {
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

    /// Runs a job on a session, and again on another one if the connection is lost. The job must be idempotent.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        task: SessionTask,
        job: impl Fn(&SftpConnection, Attempt) -> Result<T, Trouble> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let job = Arc::new(job);
        let mut attempts = task.patience.attempts();
        let mut attempt = Attempt { is_uncertain: false };
        loop {
            let AttemptOutcome { result, was_used, silence } =
                self.attempt(&task, attempt, Arc::clone(&job)).await;
            let trouble = match result {
                Ok(value) => return Ok(value),
                Err(trouble) => trouble,
            };
            attempt.is_uncertain |= trouble.is_broken;
            // The next session may work after one that died while it was idle.
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
        task: &SessionTask,
        attempt: Attempt,
        job: Arc<impl Fn(&SftpConnection, Attempt) -> Result<T, Trouble> + Send + Sync + 'static>,
    ) -> AttemptOutcome<T> {
        let gone = || {
            AttemptOutcome::failed(
                Trouble::new(ErrorKind::Other).with_source("the thread of the session ended"),
            )
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Released where this future is dropped, too.
        let waiting = WaitingJob(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        drop(waiting);
        let Ok(permit) = permit else { return gone() };
        let link = match self.link() {
            Ok(link) => link,
            Err(trouble) => return AttemptOutcome::failed(trouble),
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
        slot: &mut Option<SftpConnection>,
        task: &SessionTask,
        attempt: Attempt,
        job: &impl Fn(&SftpConnection, Attempt) -> Result<T, Trouble>,
    ) -> AttemptOutcome<T> {
        let is_cancelled = task.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed));
        if is_cancelled {
            return AttemptOutcome::failed(Trouble::cancelled());
        }
        let was_used = slot.is_some();
        let begun = Instant::now();
        let mut connection = match slot.take().map_or_else(|| self.connect(task), Ok) {
            Ok(connection) => connection,
            Err(trouble) => {
                return AttemptOutcome { silence: begun.elapsed(), ..AttemptOutcome::failed(trouble) };
            }
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
        AttemptOutcome { result, was_used, silence }
    }

    fn connect(&self, task: &SessionTask) -> Result<SftpConnection, Trouble> {
        let settings = {
            let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            match &*settings {
                Some(settings) => Arc::clone(settings),
                None => Arc::clone(settings.insert(Arc::new(HostSettings::resolve(&self.config)?))),
            }
        };
        let log_in = LogIn {
            ask: self.config.passphrase.clone(),
            passphrases: Arc::clone(&self.passphrases),
            limit: task.patience.answer_limit(),
            cancel: task.cancel.clone(),
            // A task that cleans up has less time. It would give up an agent that asks its user.
            agent_limits: AgentLimits::within(self.patience.stall_timeout),
            silent_agent: Arc::clone(&self.silent_agent),
        };
        opening::open(&settings, &Arc::new(log_in))
    }

    fn link(self: &Arc<Self>) -> Result<SessionThread, Trouble> {
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
        Ok(SessionThread(sender))
    }

    fn give_back(&self, link: SessionThread, permit: OwnedSemaphorePermit) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        drop(permit);
    }

    /// Waits for jobs that are running, and closes all sessions.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(MAX_SESSIONS).unwrap_or(1);
        // Every job ends within the limit for its answer.
        let quiet = tokio::time::timeout(self.patience.stall_timeout, self.permits.acquire_many(all)).await;
        let threads = {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if quiet.is_ok() {
            // Each ends its session in order, which takes a second at most.
            let joined = tokio::task::spawn_blocking(|| {
                for thread in threads {
                    let _ = thread.join();
                }
            });
            let _ = joined.await;
        }
    }
}

impl fmt::Debug for SessionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPool").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Counts a job that waits.
struct WaitingJob<'a>(&'a AtomicUsize);

impl Drop for WaitingJob<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread of a session. It ends when nobody can send jobs any more.
fn work(jobs: &mpsc::Receiver<Job>) {
    let mut slot: Option<SftpConnection> = None;
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
                    // If it fails, the next job reports it.
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
