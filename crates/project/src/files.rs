//! The files in a project's directory, as its commands see them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_hashing::{ContentHash, OutputPath, Scheme};
use larder_storage::RemoteStorage;

use crate::error::{Error, Result};
use crate::lock::FileInfo;
use crate::project::Project;

/// The maximum depth of the search for a file. Deeper directories and symlink loops count as holding a file.
const MAX_DEPTH: usize = 64;

/// The files of a project, with assumed hashes for those that a dry run would restore.
pub(crate) struct ProjectFiles<'a> {
    root: PathBuf,
    storage: &'a RemoteStorage,
    /// The project's `directories` and all their parents, normalized. They count as existing and empty.
    directories: BTreeSet<String>,
    state: Mutex<KnownHashes>,
}

#[derive(Default)]
struct KnownHashes {
    hashes: HashMap<PathBuf, ContentHash>,
    assumed: BTreeMap<String, ContentHash>,
}

/// What is known about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It does not exist.
    Absent,
    /// It exists, with this content hash.
    Hash(ContentHash),
    /// Its content is known only after another output is restored.
    Later,
}

impl<'a> ProjectFiles<'a> {
    pub(crate) fn new(project: &Project, storage: &'a RemoteStorage) -> Self {
        let mut directories = BTreeSet::new();
        // A directory outside of the project is not created.
        for directory in project.directories.iter().filter_map(|path| OutputPath::new(path).ok()) {
            let path = directory.as_str();
            directories.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
            directories.insert(path.to_owned());
        }
        Self { root: project.root.clone(), storage, directories, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, KnownHashes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the missing ones among the project's `directories`.
    pub(crate) fn make_directories(&self) -> Vec<Error> {
        self.directories.iter().filter_map(|path| self.make_directory(path).err()).collect()
    }

    fn make_directory(&self, directory: &str) -> Result<()> {
        let path = self.root.join(directory);
        if exists(&path) {
            return Ok(());
        }
        self.storage.check_destination(&OutputPath::new(directory)?)?;
        fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })
    }

    /// Returns the path as Python's `Path` normalizes it: it drops a trailing slash and keeps `..`.
    fn full(&self, path: &str) -> PathBuf {
        self.root.join(path).components().collect()
    }

    /// Returns whether the path exists, or would exist after a dry run.
    pub(crate) fn has(&self, path: &str) -> bool {
        if exists(&self.full(path)) {
            return true;
        }
        let Ok(normal) = OutputPath::new(path) else { return false };
        self.directories.contains(normal.as_str())
            || self
                .state()
                .assumed
                .keys()
                .any(|other| contains(other, normal.as_str()) || contains(normal.as_str(), other))
    }

    /// Assumes the content of a remote's object, in a dry run.
    pub(crate) fn assume(&self, output: &OutputPath, hash: ContentHash) {
        self.state().assumed.entry(output.as_str().to_owned()).or_insert(hash);
    }

    /// Remembers the content hash of a path.
    pub(crate) fn learn(&self, path: &str, hash: ContentHash) {
        let full = self.full(path);
        self.state().hashes.insert(full, hash);
    }

    /// Forgets all hashes after an output was restored, because any path may be a symlink into the output.
    pub(crate) fn changed(&self) {
        self.state().hashes.clear();
    }

    /// Returns the content hash of the path.
    pub(crate) async fn known(&self, path: &str) -> Result<Known> {
        let full = self.full(path);
        let normal = OutputPath::new(path).ok();
        if let Some(normal) = &normal {
            let state = self.state();
            if let Some(hash) = state.assumed.get(normal.as_str()) {
                return Ok(Known::Hash(hash.clone()));
            }
            let overlaps =
                |other: &String| contains(other, normal.as_str()) || contains(normal.as_str(), other);
            if state.assumed.keys().any(overlaps) {
                return Ok(Known::Later);
            }
        }
        if let Some(hash) = self.state().hashes.get(&full) {
            return Ok(Known::Hash(hash.clone()));
        }
        if !exists(&full) {
            let is_directory = normal.is_some_and(|normal| self.directories.contains(normal.as_str()));
            return Ok(if is_directory { Known::Hash(empty()) } else { Known::Absent });
        }
        let hash = self.storage.content_hash(&full, normal.as_ref()).await?;
        self.state().hashes.insert(full, hash.clone());
        Ok(Known::Hash(hash))
    }

    /// Returns the lock entry of a path. The entry has no hash if the content is not known yet.
    pub(crate) async fn info(&self, path: &str) -> Result<FileInfo> {
        let hash = match self.known(path).await? {
            Known::Hash(hash) => Some(hash),
            Known::Absent | Known::Later => None,
        };
        Ok(FileInfo { path: path.to_owned(), hash })
    }
}

/// Returns whether `outer` equals `inner` or is one of its parents. Both paths must be normalized.
fn contains(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the hash of a directory without files.
pub(crate) fn empty() -> ContentHash {
    ContentHash::of_tree(Scheme::Weasel, &Scheme::Weasel.digest(b""))
}

/// Returns whether a path exists and is not a dangling link. A path also counts as existing if permission to
/// inspect it is denied.
pub(crate) fn exists(path: &Path) -> bool {
    fs::metadata(path).map_or_else(|error| error.kind() == io::ErrorKind::PermissionDenied, |_| true)
}

/// Returns whether the path is a file, or a directory with a file somewhere below it.
pub(crate) fn holds_a_file(path: &Path) -> bool {
    fn holds(path: &Path, depth: usize) -> bool {
        if !path.is_dir() || depth > MAX_DEPTH {
            return true;
        }
        let Ok(mut entries) = fs::read_dir(path) else { return true };
        entries.any(|entry| entry.map_or(true, |entry| holds(&entry.path(), depth + 1)))
    }
    exists(path) && holds(path, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_without_files_hold_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = |path: &str| dir.path().join(path);
        fs::create_dir_all(path("a/b/c")).unwrap();
        assert!(!holds_a_file(&path("a")) && !holds_a_file(&path("absent")));
        std::os::unix::fs::symlink("../a", path("a/loop")).unwrap();
        assert!(holds_a_file(&path("a")), "a loop has an end");
        fs::remove_file(path("a/loop")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("a/b/c/link")).unwrap();
        assert!(holds_a_file(&path("a")), "weasel takes a link to nothing for a file");
        assert!(!exists(&path("a/b/c/link")));
    }
}
