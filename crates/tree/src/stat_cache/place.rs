//! The directory of the cache.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::AtFlags;

use crate::state_directory::StateDirectory;

/// The path of the directory in the project.
const DIRECTORY: [&str; 2] = [StateDirectory::NAME, "stat"];

/// The largest number of files. There is one for each output and dependency. A project may have a thousand of them, each under
/// two schemes.
const MAX_FILES: usize = 4096;

/// The names of temporary files begin with this.
pub(super) const TEMPORARY: &str = "tmp-";

/// A temporary file of this age, in seconds, belongs to a dead process: nothing is written for that long.
const STALE: i64 = 24 * 60 * 60;

/// The directory `.larder/stat` of a project.
#[derive(Debug)]
pub(super) struct CachePlace {
    root: PathBuf,
    /// The path of `.larder` without symlinks.
    state: PathBuf,
    /// Whether a large pass creates `.larder`.
    creates: bool,
    swept: AtomicBool,
}

impl CachePlace {
    pub(super) fn new(root: &Path, creates: bool) -> Self {
        // The name of a file of the cache must not depend on the working directory.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let state = root.canonicalize().unwrap_or_else(|_| root.clone()).join(StateDirectory::NAME);
        Self { root, state, creates, swept: AtomicBool::new(false) }
    }

    pub(super) fn with_creates(&self, creates: bool) -> Self {
        Self::new(&self.root, creates)
    }

    /// Opens the directory, and creates it if there is a `.larder`. A symlink in its place is not followed: then there is no
    /// cache.
    pub(super) fn open(&self) -> Option<StateDirectory> {
        if let Some(directory) = StateDirectory::open(&self.root, &DIRECTORY).ok()? {
            return Some(directory);
        }
        StateDirectory::open(&self.root, &DIRECTORY[..1]).ok()??;
        StateDirectory::create(&self.root, &DIRECTORY).ok()
    }

    /// Opens the directory, and creates it, with `.larder`, if a large pass may.
    pub(super) fn create(&self, is_large: bool) -> io::Result<StateDirectory> {
        let found = match self.open() {
            None if self.creates && is_large => {
                StateDirectory::ensure(&self.root).map_err(io::Error::other)?;
                self.open()
            }
            found => found,
        };
        let directory = found.ok_or(io::ErrorKind::NotFound)?;
        if !self.swept.swap(true, Ordering::Relaxed) {
            sweep(&directory);
        }
        Ok(directory)
    }

    /// Returns whether a tree contains the directory, or is in the state of larder itself.
    pub(super) fn is_within(&self, tree: &Path) -> bool {
        // A tree that is named through a link may contain it too.
        tree.canonicalize().is_ok_and(|tree| self.state.starts_with(&tree) || tree.starts_with(&self.state))
    }

    /// Returns the text that distinguishes a tree from others: its path relative to the project, so that a project can be moved,
    /// and `kind`. Also returns the name of its file.
    pub(super) fn key(&self, tree: &Path, kind: &str) -> (Vec<u8>, String) {
        let tree = std::path::absolute(tree).unwrap_or_else(|_| tree.to_owned());
        let path = tree.strip_prefix(&self.root).unwrap_or(&tree);
        let key = [kind.as_bytes(), b"\n", path.as_os_str().as_bytes()].concat();
        // Whatever has the same name by accident has another key in its header.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        (key, format!("{:016x}", hasher.finish()))
    }
}

/// Removes temporary files of dead processes, and the files that were written first if there are too many.
fn sweep(directory: &StateDirectory) {
    let Ok(names) = directory.names() else { return };
    let written = |name: &OsStr| {
        let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((found.st_mtime, name.to_owned()))
    };
    let is_temporary = |name: &OsStr| name.as_bytes().starts_with(TEMPORARY.as_bytes());
    let (temporary, mut files): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_temporary(name));
    let remove = |name: &OsStr| name.to_str().map(|name| directory.remove_file(name));
    if !temporary.is_empty() {
        let newest = files.iter().filter_map(|name| written(name)).map(|(time, _)| time).max();
        for (time, name) in temporary.iter().filter_map(|name| written(name)) {
            if newest.is_some_and(|newest| time < newest - STALE) {
                remove(&name);
            }
        }
    }
    if files.len() > MAX_FILES {
        let mut files: Vec<_> = std::mem::take(&mut files).iter().filter_map(|name| written(name)).collect();
        files.sort_unstable();
        for (_, name) in &files[..files.len().saturating_sub(MAX_FILES / 2)] {
            remove(name);
        }
    }
}
