//! What larder keeps in a project, below `<root>/.larder`: staging directories in `tmp`, and in `journal` one locked file
//! for each process that has something open. Whatever belongs to a journal that can be locked is left over from a
//! dead process, and the next command completes, undoes or removes it.

mod journal;
mod mounts;
mod placement;
mod protected;
mod recovery;
mod removal;
mod rename;
mod staging;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_backend::{UploadJournal, UploadToken};

pub(crate) use journal::Session;
pub(crate) use placement::{Planned, Unplaced, check_one_mount, place};
pub(crate) use staging::Staging;

use crate::error::{Error, Result};
use journal::DeadJournal;

/// The state of one project, as one storage sees it. Creates nothing before something has to be kept.
#[derive(Debug)]
pub(crate) struct ProjectState {
    dir: PathBuf,
    session: Mutex<Option<Arc<Session>>>,
    /// Journals of dead processes that still have something open on a remote. They stay locked until then.
    dead: Mutex<Vec<DeadJournal>>,
}

impl ProjectState {
    pub(crate) fn new(root: &Path) -> Self {
        Self { dir: root.join(".larder"), session: Mutex::default(), dead: Mutex::default() }
    }

    fn journal_dir(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn staging_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Whether `path` is in the directory of the state.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        path.starts_with(&self.dir)
    }

    /// Creates the directory of the state, which git ignores.
    pub(crate) fn ensure_dir(&self) -> Result<()> {
        fs::create_dir_all(&self.dir).map_err(Error::io("create", &self.dir))?;
        let ignore = self.dir.join(".gitignore");
        match fs::File::create_new(&ignore).and_then(|mut file| file.write_all(b"*\n")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io("create", &ignore)(error))
            }
            _ => Ok(()),
        }
    }

    /// The journal of this process, begun now if need be.
    pub(crate) fn session(&self) -> Result<Arc<Session>> {
        let mut session = lock(&self.session);
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        self.ensure_dir()?;
        let begun = Arc::new(Session::begin(&self.journal_dir())?);
        *session = Some(Arc::clone(&begun));
        Ok(begun)
    }

    /// A staging directory from which `destination` can be put into place by renaming.
    pub(crate) fn staging_for(&self, destination: &Path) -> Result<Staging> {
        Staging::create(self.session()?, &self.staging_dir(), destination)
    }

    /// What dead processes have open on `remote`.
    pub(crate) fn orphans(&self, remote: &str) -> Vec<UploadToken> {
        lock(&self.dead).iter().flat_map(|journal| journal.uploads(remote)).collect()
    }

    /// What dead processes had open on `remote` is gone.
    pub(crate) fn forget_orphans(&self, remote: &str) {
        lock(&self.dead).retain_mut(|journal| journal.forget_uploads(remote));
    }

    /// Ends the journal of this process, unless something is still open. May wait a moment for that.
    pub(crate) fn close(&self) {
        let session = lock(&self.session).take();
        if let Some(session) = session {
            session.wait_for_stagings();
            session.end();
        }
        lock(&self.dead).clear();
    }
}

/// Notes the uploads to one remote in the project's journal.
#[derive(Debug)]
pub(crate) struct RemoteJournal {
    pub(crate) state: Arc<ProjectState>,
    pub(crate) remote: String,
}

impl UploadJournal for RemoteJournal {
    fn opened(&self, token: &UploadToken) -> io::Result<()> {
        let session = self.state.session().map_err(io::Error::other)?;
        session.upload_opened(&self.remote, token).map_err(io::Error::other)
    }

    fn closed(&self, token: &UploadToken) {
        if let Ok(session) = self.state.session() {
            session.upload_closed(&self.remote, token);
        }
    }
}

/// A lock that outlives panics: what it guards is valid between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
