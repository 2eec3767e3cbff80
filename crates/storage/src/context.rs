//! A project, its remote, and how to work: what every operation needs.

use std::collections::HashSet;
use std::mem::{self, Discriminant};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_backend::{Backend, CreatedRoot, error_chain};
use larder_hashing::OutputPath;
use tokio::sync::OnceCell;

use crate::error::{Error, Result};
use crate::layout::OutputKeys;
use crate::options::{FindOptions, StorageOptions};
use crate::place::{check_apart, check_not_reserved, lock_path, real_parent, real_path};
use crate::remote::RemoteUrl;
use crate::report::{Event, Phase, PhaseReport, Warning};
use crate::state::{BusyLock, LockAttempt, OutputLocks, ProjectState, UploadRecorder};
use crate::tasks::run_blocking;

/// The pauses between attempts to lock outputs grow from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A project, its remote, and how to work.
#[derive(Debug)]
pub(crate) struct StorageContext {
    pub(crate) root: PathBuf,
    remote_path: Option<PathBuf>,
    /// Whether the remote is the default one in the project, which the first push creates.
    is_embedded: bool,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: StorageOptions,
    pub(crate) state: Arc<ProjectState>,
    recovered: OnceCell<()>,
    swept: OnceCell<()>,
    /// The kinds of warnings that are given once, and were given.
    said: Mutex<HashSet<Discriminant<Warning>>>,
}

impl StorageContext {
    pub(crate) fn open(root: PathBuf, remote: &RemoteUrl, options: StorageOptions) -> Result<Self> {
        let backend = remote.open(&options.environment, options.stall_timeout)?;
        Ok(Self {
            remote_path: remote.local_path().map(Path::to_owned),
            is_embedded: remote.is_embedded(),
            ..Self::new(root, backend, options)
        })
    }

    pub(crate) fn new(root: PathBuf, backend: Arc<dyn Backend>, options: StorageOptions) -> Self {
        Self {
            state: Arc::new(ProjectState::new(&root)),
            root,
            remote_path: None,
            is_embedded: false,
            backend,
            options,
            recovered: OnceCell::new(),
            swept: OnceCell::new(),
            said: Mutex::default(),
        }
    }

    pub(crate) fn keys_of(&self, output: &OutputPath) -> Result<OutputKeys> {
        OutputKeys::new(self.backend.to_string(), self.backend.capabilities(), output)
    }

    pub(crate) fn warn(&self, warning: &Warning) {
        self.options.reporter.report(Event::Warning(warning));
    }

    /// Warns, unless a warning of this kind was given before.
    pub(crate) fn warn_once(&self, warning: &Warning) {
        // A panic cannot leave the set half-changed.
        let is_new =
            self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(mem::discriminant(warning));
        if is_new {
            self.warn(warning);
        }
    }

    /// Warns once that pushers may overwrite each other, if an upload has shown it.
    pub(crate) fn warn_where_not_exclusive(&self) {
        if !self.backend.capabilities().atomic_create {
            self.warn_once(&Warning::NotExclusive { remote: self.backend.to_string() });
        }
    }

    /// Warns once that an upload created the directory of the remote. Creating the embedded remote needs no warning.
    pub(crate) fn warn_where_created(&self) {
        if let Some(how) = self.backend.created_root()
            && !self.is_embedded
        {
            let is_parent_empty = how == CreatedRoot::InEmptyParent;
            self.warn_once(&Warning::CreatedRemote { remote: self.backend.to_string(), is_parent_empty });
        }
    }

    /// Returns the journal of uploads to the remote.
    pub(crate) fn upload_journal(&self) -> Arc<UploadRecorder> {
        Arc::new(UploadRecorder { state: Arc::clone(&self.state), remote: self.backend.to_string() })
    }

    /// Says once that a push would create the directory of the remote, if that is on this machine.
    pub(crate) fn warn_where_missing(&self) {
        let is_missing = self.remote_path.as_ref().is_some_and(|path| !path.exists());
        if is_missing && !self.is_embedded {
            self.warn_once(&Warning::WouldCreateRemote { remote: self.backend.to_string() });
        }
    }

    /// Reports that the remote is asked about an output, until the returned value is dropped.
    pub(crate) fn asking_about(&self, output: &OutputPath) -> Arc<PhaseReport> {
        PhaseReport::start(&self.options.reporter, &self.options.cancel, output, Phase::Ask, None)
    }

    /// Fails if the caller has asked to stop.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Completes or undoes the placings of dead processes, and removes their files in the project. For commands that change
    /// nothing themselves.
    pub(crate) async fn recover(&self) -> Result<()> {
        self.recover_for(true, None).await.map(drop)
    }

    /// Returns whether the caller must release its locks and try again.
    async fn recover_for(&self, only_reads: bool, held: Option<Arc<OutputLocks>>) -> Result<bool> {
        self.check_cancelled()?;
        if let Some(remote) = self.remote_path.as_deref().filter(|path| self.state.contains(path)) {
            self.state.check_no_symlinks(remote)?;
        }
        let state = Arc::clone(&self.state);
        let (warnings, is_blocked) = run_blocking(move || state.recover(only_reads, held.as_deref())).await?;
        for warning in &warnings {
            // A foreign file and a failure are found by each recovery.
            if matches!(warning, Warning::Recovered { .. }) {
                self.warn(warning);
            } else {
                self.warn_once(warning);
            }
        }
        Ok(is_blocked)
    }

    /// The same for commands that change something. Also removes what dead processes left on the remote. Once per storage.
    pub(crate) async fn sweep(&self) -> Result<()> {
        self.recovered.get_or_try_init(|| async { self.recover_for(false, None).await.map(drop) }).await?;
        self.swept
            .get_or_try_init(|| async {
                let remote = self.backend.to_string();
                let orphans = self.state.orphans(&remote);
                match self.backend.sweep(&orphans).await {
                    Ok(()) => self.state.forget_orphans(&remote),
                    // No interrupted upload is known, and the operation will report the remote's error itself.
                    Err(error) if orphans.is_empty() && is_of_remote(error.kind()) => {}
                    Err(error) => self.warn(&Warning::Sweep { reason: error_chain(&error) }),
                }
                Ok(())
            })
            .await
            .copied()
    }

    /// Locks outputs, and brings back what dead processes had begun to change in them.
    ///
    /// # Errors
    ///
    /// Those of [`StorageContext::acquire_locks`], and those of the recovery.
    pub(crate) async fn lock_outputs(&self, outputs: &[OutputPath]) -> Result<Arc<OutputLocks>> {
        let outputs: Vec<OutputPath> = outputs.iter().map(|output| lock_path(&self.root, output)).collect();
        let mut pause = FIRST_PAUSE;
        loop {
            let locks = self.acquire_locks(&outputs).await?;
            if !self.recover_for(false, Some(Arc::clone(&locks))).await? {
                return Ok(locks);
            }
            // A dead process had these outputs and others. All of them come back together, under all their locks.
            drop(locks);
            self.recover_for(false, None).await?;
            self.or_cancelled(tokio::time::sleep(pause)).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Locks outputs, and waits while other commands use them. Warns if it has to wait.
    ///
    /// # Errors
    ///
    /// [`Error::HeldByAncestor`] and [`Error::WaitsForItself`], so that a command never waits for itself.
    async fn acquire_locks(&self, outputs: &[OutputPath]) -> Result<Arc<OutputLocks>> {
        let state = Arc::clone(&self.state);
        let wanted = outputs.to_vec();
        let mut request = run_blocking(move || state.request_locks(&wanted)).await?;
        let mut last = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let root = self.root.clone();
            let (returned, attempt) = run_blocking(move || {
                let attempt = request.attempt_to_wait(&root);
                (request, attempt)
            })
            .await;
            request = returned;
            match attempt? {
                LockAttempt::Locked(locks) => {
                    if locks.are_void() {
                        let project = self.root.display().to_string();
                        self.warn_once(&Warning::NoLocks { project });
                    }
                    return Ok(Arc::new(locks));
                }
                LockAttempt::Busy(busy) => {
                    let BusyLock { path, holder, is_orphaned } = busy;
                    if last.as_ref() != Some(&path) {
                        self.warn(&Warning::Waiting { path: path.clone(), process: holder, is_orphaned });
                        last = Some(path);
                    }
                    self.or_cancelled(tokio::time::sleep(pause)).await?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Returns whether the remote is the embedded one, in the directory of the project's state.
    pub(crate) fn keeps_remote_in_state(&self) -> bool {
        self.remote_path.as_deref().is_some_and(|path| self.state.contains(path))
    }

    /// Refuses to push from the files of git, of larder or of the project. An output that is a symlink is followed.
    pub(crate) fn check_source(&self, path: &Path) -> Result<()> {
        check_not_reserved(&self.root, path, &real_path(path))
    }

    /// Refuses to restore among the files of git, of larder or of the project. A destination that is a symlink is replaced.
    pub(crate) fn check_destination(&self, path: &Path) -> Result<()> {
        check_not_reserved(&self.root, path, &real_parent(path))
    }

    /// Refuses a remote inside an output, and an output inside a remote.
    pub(crate) fn check_apart(&self, output: &OutputPath, path: &Path) -> Result<()> {
        self.remote_path.as_deref().map_or(Ok(()), |remote| check_apart(remote, output, path))
    }

    /// The directory of the remote, if it is on this machine.
    pub(crate) fn remote_path(&self) -> Option<&Path> {
        self.remote_path.as_deref()
    }

    pub(crate) fn not_found(&self, output: &OutputPath, options: &FindOptions) -> Error {
        Error::NotFound {
            remote: self.backend.to_string(),
            outputs: vec![output.clone()],
            narrowed: options.command_hash.is_some() || options.content_hash.is_some(),
        }
    }

    /// Waits for `future`, unless the caller asks to stop.
    pub(crate) async fn or_cancelled<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => Err(Error::Cancelled),
            value = future => Ok(value),
        }
    }
}

/// Returns whether the error concerns the remote as a whole.
fn is_of_remote(kind: larder_backend::ErrorKind) -> bool {
    use larder_backend::ErrorKind as Kind;
    matches!(
        kind,
        Kind::RootMissing
            | Kind::PermissionDenied
            | Kind::Unauthenticated
            | Kind::Untrusted
            | Kind::RateLimited
            | Kind::Timeout
            | Kind::Unavailable
    )
}
