//! Directories in which outputs are restored before they are put into place.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_hashing::STAGING_PREFIX;

use super::journal::{Record, Session};
use super::mounts::same_mount;
use super::removal::remove;
use crate::error::{Error, Result};

/// A directory of its own for one output, on the file system of its destination. Removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    session: Arc<Session>,
}

impl Staging {
    /// Creates a staging in `shared`, which is larder's own, or beside the destination where only that is on the same
    /// file system. There its name is one that hashing and packing refuse.
    pub(super) fn create(session: Arc<Session>, shared: &Path, destination: &Path) -> Result<Self> {
        let anchor = existing_ancestor(destination);
        fs::create_dir_all(shared).map_err(Error::io("create", shared))?;
        let name = session.staging_name();
        let path = if same_mount(shared, &anchor).map_err(Error::io("look at", &anchor))? {
            shared.join(name)
        } else {
            let path = anchor.join(OsStr::from_bytes(&[STAGING_PREFIX, name.as_bytes()].concat()));
            session.append(&Record::Staging { path: path.clone() })?;
            path
        };
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        session.staging_made();
        let staging = Self { path, session };
        let new = staging.new_root();
        fs::create_dir(&new).map_err(Error::io("create", &new))?;
        Ok(staging)
    }

    /// Below this directory the output is restored.
    pub(crate) fn new_root(&self) -> PathBuf {
        self.path.join("new")
    }

    /// Here goes what was at the destination, where it cannot be exchanged in one step.
    pub(crate) fn backup(&self) -> PathBuf {
        self.path.join("old")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.session.is_unfinished() {
            // What stays is swept by the next command, once this process is gone.
            remove(&self.path).ok();
        }
        self.session.staging_gone();
    }
}

/// The nearest directory above `path` that exists.
fn existing_ancestor(path: &Path) -> PathBuf {
    let above = path.ancestors().skip(1).find(|ancestor| ancestor.is_dir());
    above.unwrap_or(Path::new("/")).to_owned()
}
