//! The state of one project.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use larder_backend::{UploadJournal, UploadToken};
use larder_hashing::{CommandHash, OutputPath};
use rustix::fs::{Access, AtFlags, CWD};

use super::aside::{OutputsAside, keep};
use super::changes::{OutputChanges, count_changes};
use super::dead_journal::DeadJournal;
use super::directory::{FAILED, REPLACED, STATE, StateDirectory};
use super::journal::ProcessJournal;
use super::local_runs::{LocalRun, newest_runs, read_run, write_run};
use super::lock::lock;
use super::output_locks::{LockRequest, OutputLocks};
use super::recovery::{Recovered, recover};
use super::remote_pause::{RemotePause, begin_pause, end_pause, read_pause};
use super::staging::Staging;
use crate::error::{Error, Result};
use crate::report::Warning;

/// The state of one project, for one storage. It creates the directory only when it has something to store.
#[derive(Debug)]
pub(crate) struct ProjectState {
    root: PathBuf,
    journal: Mutex<Option<Arc<ProcessJournal>>>,
    /// Journals of dead processes that still have open uploads. They stay locked until the uploads are
    /// aborted.
    with_uploads: Mutex<Vec<DeadJournal>>,
}

impl ProjectState {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), journal: Mutex::default(), with_uploads: Mutex::default() }
    }

    /// Returns whether `path` is in the directory of the state.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        path.starts_with(self.root.join(STATE))
    }

    /// Refuses a path whose state directory is reached through a symlink.
    pub(crate) fn check_no_symlinks(&self, path: &Path) -> Result<()> {
        let Ok(below) = path.strip_prefix(&self.root) else { return Ok(()) };
        let names: Option<Vec<&str>> = below.iter().map(|name| name.to_str()).collect();
        StateDirectory::open(&self.root, &names.unwrap_or_default())?;
        Ok(())
    }

    /// Creates the directory of the state, with a file that makes git ignore it.
    pub(crate) fn ensure_dir(&self) -> Result<()> {
        StateDirectory::ensure(&self.root)?;
        Ok(())
    }

    /// Checks, without writing, that the directory exists or that [`Self::ensure_dir`] can create it.
    pub(crate) fn check_dir(&self) -> Result<()> {
        if StateDirectory::open(&self.root, &[STATE])?.is_some() {
            return Ok(());
        }
        let needed = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(CWD, &self.root, needed, AtFlags::EACCESS)
            .map_err(|error| Error::io("create", self.root.join(STATE))(error.into()))
    }

    /// Returns the journal of this process, and begins it on the first call.
    pub(crate) fn journal(&self) -> Result<Arc<ProcessJournal>> {
        let mut journal = lock(&self.journal);
        if let Some(journal) = &*journal {
            return Ok(Arc::clone(journal));
        }
        self.ensure_dir()?;
        let begun = Arc::new(ProcessJournal::begin(&self.root)?);
        *journal = Some(Arc::clone(&begun));
        Ok(begun)
    }

    /// Creates a staging directory from which a rename can put `destination` into place.
    pub(crate) fn staging_for(&self, destination: &Path) -> Result<Staging> {
        let is_inside = || {
            let below = destination.strip_prefix(&self.root);
            below.is_ok_and(|below| !below.components().any(|part| part == Component::ParentDir))
        };
        let journal = match self.journal() {
            // Copies of outputs can be restored to other places.
            Err(error) if error.is_of_unwritable_project() && !is_inside() => self.journal_elsewhere()?,
            journal => journal?,
        };
        Staging::create(Arc::clone(&journal), journal.root(), destination)
    }

    /// Begins the journal of this process outside of the project.
    fn journal_elsewhere(&self) -> Result<Arc<ProcessJournal>> {
        let mut journal = lock(&self.journal);
        if let Some(journal) = &*journal {
            return Ok(Arc::clone(journal));
        }
        let begun = Arc::new(ProcessJournal::begin_elsewhere()?);
        *journal = Some(Arc::clone(&begun));
        Ok(begun)
    }

    /// Begins to lock outputs.
    pub(crate) fn request_locks(&self, outputs: &[OutputPath]) -> Result<LockRequest> {
        self.ensure_dir()?;
        LockRequest::new(&self.root, outputs)
    }

    /// Moves the existing versions of outputs aside, so that a command makes them anew. The outputs in `kept` stay.
    pub(crate) fn set_aside(&self, outputs: &[OutputPath], kept: &[OutputPath]) -> Result<OutputsAside> {
        OutputsAside::begin(self.journal()?, &self.root, outputs, kept)
    }

    /// Counts one more change of each output. The caller holds their locks.
    pub(crate) fn count_changes(&self, outputs: &[OutputPath]) {
        count_changes(&self.root, outputs);
    }

    /// Reads how often larder changed the outputs that some paths share files with.
    pub(crate) fn changes_of(&self, paths: &[PathBuf]) -> Result<OutputChanges> {
        OutputChanges::read(&self.root, paths)
    }

    /// Moves a version of an output that was replaced to `.larder/replaced`. Returns where it is.
    pub(crate) fn keep_replaced(&self, output: &OutputPath, version: &Path) -> Result<PathBuf> {
        self.ensure_dir()?;
        keep(&self.root, REPLACED, output.as_str(), version)
    }

    /// Refuses `.larder/failed` and `.larder/replaced` if they cannot be used.
    pub(crate) fn check_failed_directory(&self) -> Result<()> {
        for name in [FAILED, REPLACED] {
            StateDirectory::open(&self.root, &[STATE, name])?;
        }
        Ok(())
    }

    /// Reads the last run of a command here, as a check or not.
    pub(crate) fn last_run(&self, command: &CommandHash, is_check: bool) -> Result<Option<LocalRun>> {
        read_run(&self.root, command, is_check)
    }

    /// Reads the newest runs here that are wanted, the newest first.
    pub(crate) fn newest_runs(
        &self,
        limit: usize,
        is_wanted: impl Fn(&LocalRun) -> bool,
    ) -> Result<Vec<LocalRun>> {
        newest_runs(&self.root, limit, is_wanted)
    }

    /// Writes the last run of a command here.
    pub(crate) fn record_run(&self, run: &LocalRun) -> Result<()> {
        self.ensure_dir()?;
        write_run(&self.root, run)
    }

    /// Returns the pause of a remote, if it is not over.
    pub(crate) fn pause_of(&self, remote: &str) -> Option<RemotePause> {
        read_pause(&self.root, remote)
    }

    /// Begins the pause of a remote.
    pub(crate) fn begin_pause(&self, remote: &str, reason: &str) -> Result<()> {
        self.ensure_dir()?;
        begin_pause(&self.root, remote, reason)
    }

    /// Ends the pause of any remote.
    pub(crate) fn end_pause(&self) -> Result<()> {
        end_pause(&self.root)
    }

    /// Completes or undoes the placings of dead processes, and removes their stagings. Their uploads are kept for
    /// [`ProjectState::orphans`].
    ///
    /// Fails only if a wrong tree may remain at a destination. With `only_reads`, a read-only file system of
    /// the project causes only a warning.
    /// A command that still runs keeps its outputs: they are recovered once it has ended. `held` are locks of the caller.
    /// Returns whether the caller must release its locks and try again, because what a dead process left cannot be
    /// recovered with them.
    pub(crate) fn recover(
        &self,
        only_reads: bool,
        held: Option<&OutputLocks>,
    ) -> Result<(Vec<Warning>, bool)> {
        let Recovered { warnings, is_blocked, with_uploads } = recover(&self.root, only_reads, held)?;
        lock(&self.with_uploads).extend(with_uploads);
        Ok((warnings, is_blocked))
    }

    /// Returns the uploads that dead processes have open on `remote`.
    pub(crate) fn orphans(&self, remote: &str) -> Vec<UploadToken> {
        lock(&self.with_uploads).iter().flat_map(|journal| journal.uploads(remote)).collect()
    }

    /// Forgets the uploads of dead processes to `remote`.
    pub(crate) fn forget_orphans(&self, remote: &str) {
        lock(&self.with_uploads).retain_mut(|journal| journal.forget_uploads(remote));
    }

    /// Ends the journal of this process, unless something is still open. Waits briefly for threads that were
    /// told to stop.
    pub(crate) fn close(&self) {
        let journal = lock(&self.journal).take();
        if let Some(journal) = journal {
            journal.wait_for_stagings();
            journal.end();
        }
        lock(&self.with_uploads).clear();
    }
}

/// Records the uploads to one remote in the project's journal.
#[derive(Debug)]
pub(crate) struct UploadRecorder {
    pub(crate) state: Arc<ProjectState>,
    pub(crate) remote: String,
}

impl UploadJournal for UploadRecorder {
    fn opened(&self, token: &UploadToken) -> io::Result<()> {
        let journal = self.state.journal().map_err(io::Error::other)?;
        journal.upload_opened(&self.remote, token).map_err(io::Error::other)
    }

    fn closed(&self, token: &UploadToken) {
        if let Ok(journal) = self.state.journal() {
            journal.upload_closed(&self.remote, token);
        }
    }
}
