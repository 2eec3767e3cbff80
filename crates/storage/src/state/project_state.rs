//! The state of one project.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use larder_backend::{UploadJournal, UploadToken};
use rustix::fs::{Access, AtFlags, CWD};

use super::dead_journal::DeadJournal;
use super::directory::{STATE, StateDirectory};
use super::journal::ProcessJournal;
use super::lock::lock;
use super::recovery::{Recovered, recover};
use super::staging::Staging;
use crate::error::{Error, Result};
use crate::report::Warning;

/// The state of one project, as one storage sees it. Creates nothing before something has to be kept.
#[derive(Debug)]
pub(crate) struct ProjectState {
    root: PathBuf,
    journal: Mutex<Option<Arc<ProcessJournal>>>,
    /// Journals of dead processes that still have something open on a remote. They stay locked until then.
    with_uploads: Mutex<Vec<DeadJournal>>,
}

impl ProjectState {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), journal: Mutex::default(), with_uploads: Mutex::default() }
    }

    /// Whether `path` is in the directory of the state.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        path.starts_with(self.root.join(STATE))
    }

    /// Refuses a directory of the state that is reached through a symlink.
    pub(crate) fn check_no_symlinks(&self, path: &Path) -> Result<()> {
        let Ok(below) = path.strip_prefix(&self.root) else { return Ok(()) };
        let names: Option<Vec<&str>> = below.iter().map(|name| name.to_str()).collect();
        StateDirectory::open(&self.root, &names.unwrap_or_default()).map(|_| ())
    }

    /// Creates the directory of the state, which git ignores.
    pub(crate) fn ensure_dir(&self) -> Result<()> {
        let directory = StateDirectory::create(&self.root, &[STATE])?;
        match directory.create_new(".gitignore").and_then(|mut file| file.write_all(b"*\n")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create", directory.path().join(".gitignore"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Checks, without a write, that [`Self::ensure_dir`] can create the directory where it is missing.
    pub(crate) fn check_dir(&self) -> Result<()> {
        if StateDirectory::open(&self.root, &[STATE])?.is_some() {
            return Ok(());
        }
        let needed = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(CWD, &self.root, needed, AtFlags::EACCESS)
            .map_err(|error| Error::io("create", self.root.join(STATE))(error.into()))
    }

    /// The journal of this process, begun now if need be.
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

    /// A staging directory from which `destination` can be put into place by renaming.
    pub(crate) fn staging_for(&self, destination: &Path) -> Result<Staging> {
        Staging::create(self.journal()?, &self.root, destination)
    }

    /// Completes or undoes what dead processes were putting into place, and removes their stagings. Their uploads are
    /// kept for [`ProjectState::orphans`].
    ///
    /// Only what could leave a wrong tree behind is an error. `only_reads`: where the file system of the project is
    /// read-only, that is a warning too.
    pub(crate) fn recover(&self, only_reads: bool) -> Result<Vec<Warning>> {
        let Recovered { warnings, with_uploads } = recover(&self.root, only_reads)?;
        lock(&self.with_uploads).extend(with_uploads);
        Ok(warnings)
    }

    /// What dead processes have open on `remote`.
    pub(crate) fn orphans(&self, remote: &str) -> Vec<UploadToken> {
        lock(&self.with_uploads).iter().flat_map(|journal| journal.uploads(remote)).collect()
    }

    /// What dead processes had open on `remote` is gone.
    pub(crate) fn forget_orphans(&self, remote: &str) {
        lock(&self.with_uploads).retain_mut(|journal| journal.forget_uploads(remote));
    }

    /// Ends the journal of this process, unless something is still open. May wait a moment for that.
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
