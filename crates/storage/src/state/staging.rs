//! Staging directories. Outputs are restored there and then moved into place.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_tree::STAGING_PREFIX;

use super::directory::{STAGINGS, StateDirectory};
use super::journal::{ProcessJournal, is_journal_id};
use super::mounts::same_mount;
use super::record::JournalRecord;
use super::removal::remove;
use crate::error::{Error, Result};

/// The staging directory of one output, on the file system of its destination. Dropping it removes the directory.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    journal: Arc<ProcessJournal>,
}

impl Staging {
    /// Creates a staging in larder's own directory, or beside the destination if that is on another file
    /// system. Hashing and packing refuse a directory with the name of such a staging.
    pub(super) fn create(journal: Arc<ProcessJournal>, root: &Path, destination: &Path) -> Result<Self> {
        let anchor = existing_ancestor(destination);
        let shared = StateDirectory::create(root, &STAGINGS)?;
        let name = journal.staging_name();
        let path = if same_mount(shared.path(), &anchor).map_err(Error::io("look at", &anchor))? {
            let path = shared.path().join(&name);
            shared.create_dir(&name).map_err(Error::io("create", &path))?;
            path
        } else {
            let path = anchor.join(OsStr::from_bytes(&[STAGING_PREFIX, name.as_bytes()].concat()));
            journal.append(&JournalRecord::Staging { path: path.clone() })?;
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
            path
        };
        journal.staging_made();
        let staging = Self { path, journal };
        let new = staging.new_root();
        fs::create_dir(&new).map_err(Error::io("create", &new))?;
        Ok(staging)
    }

    /// Returns the directory below which the output is restored.
    pub(crate) fn new_root(&self) -> PathBuf {
        self.path.join("new")
    }

    /// Returns the path for the previous version if the file system cannot exchange two names.
    pub(crate) fn backup(&self) -> PathBuf {
        self.path.join("old")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.journal.is_unfinished() {
            // If this fails, the next command removes it after this process has ended.
            remove(&self.path).ok();
        }
        self.journal.staging_gone();
    }
}

/// Returns the id of the journal to which a staging in `.larder/tmp` belongs: see [`ProcessJournal::staging_name`].
pub(super) fn journal_of(staging: &OsStr) -> Option<&str> {
    let (id, number) = staging.to_str()?.rsplit_once('.')?;
    (is_journal_id(id) && number.parse::<u64>().is_ok()).then_some(id)
}

/// Returns the nearest existing parent directory of `path`.
fn existing_ancestor(path: &Path) -> PathBuf {
    let above = path.ancestors().skip(1).find(|ancestor| ancestor.is_dir());
    above.unwrap_or(Path::new("/")).to_owned()
}
