//! The storage: a project, a remote, and how to work.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{Stream, StreamExt as _, stream};
use larder_backend::{Backend, CreatedRoot, error_chain};
use larder_hashing::{CommandHash, ContentHash, OutputPath};
use tokio::sync::OnceCell;

use crate::error::{Error, Result};
use crate::layout::OutputKeys;
use crate::options::StorageOptions;
use crate::remote::RemoteUrl;
use crate::report::{Event, Warning};
use crate::state::ProjectState;

/// How many outputs are transferred at once. Each has its own buffers, so memory grows with it; threads do not.
pub(crate) const MAX_TRANSFERS: usize = 4;

/// Keeps the outputs of one project in one remote.
///
/// Call [`RemoteStorage::close`] at the end: what was aborted may still be under way, and a destructor cannot wait.
#[derive(Debug)]
pub struct RemoteStorage {
    root: PathBuf,
    remote_path: Option<PathBuf>,
    /// Whether the remote is the default one in the project, which the first push makes.
    is_embedded: bool,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: StorageOptions,
    pub(crate) state: Arc<ProjectState>,
    swept: OnceCell<()>,
    is_said_not_exclusive: AtomicBool,
    is_said_created: AtomicBool,
}

impl RemoteStorage {
    /// Joins the project at `root`, which must be absolute, with a remote. Makes no request and creates nothing.
    ///
    /// # Errors
    ///
    /// The remote cannot be used at all: this build has no backend for it, or it has an unknown option.
    pub fn open(root: impl Into<PathBuf>, remote: &RemoteUrl, options: StorageOptions) -> Result<Self> {
        let backend = remote.open(&options.environment, options.stall_timeout)?;
        let mut storage = Self::with_backend(root, backend, options);
        storage.remote_path = remote.local_path().map(Path::to_owned);
        storage.is_embedded = remote.is_embedded();
        Ok(storage)
    }

    /// Joins the project at `root` with a backend of one's own.
    pub fn with_backend(
        root: impl Into<PathBuf>,
        backend: Arc<dyn Backend>,
        options: StorageOptions,
    ) -> Self {
        let root = root.into();
        Self {
            state: Arc::new(ProjectState::new(&root)),
            root,
            remote_path: None,
            is_embedded: false,
            backend,
            options,
            swept: OnceCell::new(),
            is_said_not_exclusive: AtomicBool::new(false),
            is_said_created: AtomicBool::new(false),
        }
    }

    /// The project root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The remote, as URLs of objects begin.
    pub fn remote(&self) -> String {
        self.backend.to_string()
    }

    /// The URL of an object, whether it exists or not: remote, `/`, key.
    ///
    /// # Errors
    ///
    /// The name of the output is too long for the remote.
    pub fn make_url(
        &self,
        output: &OutputPath,
        command: &CommandHash,
        content: &ContentHash,
    ) -> Result<String> {
        let keys = self.keys_of(output)?;
        Ok(keys.url(&keys.key(command, content)?))
    }

    /// Waits for what is being aborted, removes what this process kept for a crash, and closes connections.
    ///
    /// # Errors
    ///
    /// Something could not be ended in order.
    pub async fn close(&self) -> Result<()> {
        let closed = self.backend.close().await;
        let state = Arc::clone(&self.state);
        run_blocking(move || state.close()).await;
        Ok(closed?)
    }

    pub(crate) fn keys_of(&self, output: &OutputPath) -> Result<OutputKeys> {
        OutputKeys::new(self.backend.to_string(), self.backend.capabilities(), output)
    }

    pub(crate) fn warn(&self, warning: &Warning) {
        self.options.reporter.report(Event::Warning(warning));
    }

    /// Says once that pushers may overwrite each other, where an upload has shown that.
    pub(crate) fn warn_where_not_exclusive(&self) {
        if !self.backend.capabilities().atomic_create
            && !self.is_said_not_exclusive.swap(true, Ordering::Relaxed)
        {
            self.warn(&Warning::NotExclusive { remote: self.backend.to_string() });
        }
    }

    /// Says once that an upload created the directory of the remote. The embedded remote is always created.
    pub(crate) fn warn_where_created(&self) {
        if let Some(how) = self.backend.created_root()
            && !self.is_embedded
            && !self.is_said_created.swap(true, Ordering::Relaxed)
        {
            let is_parent_empty = how == CreatedRoot::InEmptyParent;
            self.warn(&Warning::CreatedRemote { remote: self.backend.to_string(), is_parent_empty });
        }
    }

    /// Fails where the caller has asked to stop.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Completes or undoes what dead processes of this project had begun, and removes what they left in it: before a
    /// command reads anything that changes nothing itself.
    pub(crate) async fn recover(&self) -> Result<()> {
        self.recover_for(true).await
    }

    async fn recover_for(&self, only_reads: bool) -> Result<()> {
        self.check_cancelled()?;
        if let Some(remote) = self.remote_path.as_deref().filter(|path| self.state.contains(path)) {
            self.state.check_no_symlinks(remote)?;
        }
        let state = Arc::clone(&self.state);
        for warning in run_blocking(move || state.recover(only_reads)).await? {
            self.warn(&warning);
        }
        Ok(())
    }

    /// The same for a command that changes something, and removes what dead processes left on the remote. Once for each storage.
    pub(crate) async fn sweep(&self) -> Result<()> {
        self.swept
            .get_or_try_init(|| async {
                self.recover_for(false).await?;
                let remote = self.backend.to_string();
                let orphans = self.state.orphans(&remote);
                match self.backend.sweep(&orphans).await {
                    Ok(()) => self.state.forget_orphans(&remote),
                    // Of nothing that was interrupted anything is known, and why the remote cannot be used is what
                    // the operation itself is about to say.
                    Err(error) if orphans.is_empty() && is_of_remote(error.kind()) => {}
                    Err(error) => self.warn(&Warning::Sweep { reason: error_chain(&error) }),
                }
                Ok(())
            })
            .await
            .copied()
    }

    /// Whether the remote is the embedded one, in the directory of the project's state.
    pub(crate) fn keeps_remote_in_state(&self) -> bool {
        self.remote_path.as_deref().is_some_and(|path| self.state.contains(path))
    }

    /// Refuses a destination in larder's own directory, where it would be swept.
    pub(crate) fn check_outside_state(&self, destination: &Path) -> Result<()> {
        if real_path(destination).starts_with(real_path(&self.root).join(".larder")) {
            let place = destination.display();
            return Err(Error::Usage(format!(
                "{place} is in larder's own directory: restore to another place"
            )));
        }
        Ok(())
    }

    /// Refuses to put a remote into an output, or an output into a remote.
    pub(crate) fn check_apart(&self, output: &OutputPath, path: &Path) -> Result<()> {
        let Some(remote) = &self.remote_path else { return Ok(()) };
        let (remote_real, path_real) = (real_path(remote), real_path(path));
        if remote_real.starts_with(&path_real) {
            return Err(Error::Usage(format!(
                "the remote {} lies inside the output {output}: keep it elsewhere",
                remote.display()
            )));
        }
        if path_real.starts_with(&remote_real) {
            return Err(Error::Usage(format!(
                "the output {output} lies inside the remote {}: nothing but larder writes there",
                remote.display()
            )));
        }
        Ok(())
    }
}

/// The path with symlinks resolved as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = existing.canonicalize() {
            return missing.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                existing = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// Runs futures in order, at most [`MAX_TRANSFERS`] at once.
pub(crate) fn few_at_once<F: Future>(futures: impl IntoIterator<Item = F>) -> impl Stream<Item = F::Output> {
    // Collected, because the compiler cannot prove that a stream which borrows in a closure may move between threads.
    let futures: Vec<F> = futures.into_iter().collect();
    stream::iter(futures).buffered(MAX_TRANSFERS)
}

/// Runs `work` on a thread that may block.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("blocking tasks are never aborted, and the runtime outlives this future"),
        },
    }
}

/// Whether the remote as a whole refuses, or cannot be reached.
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
