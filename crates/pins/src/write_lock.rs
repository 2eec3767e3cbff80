//! The lock under which larder changes the files of a project that git tracks.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use larder_tree::{StateDirectory, replace_project_file_from};
use rustix::fs::{Access, AtFlags, CWD};

use crate::error::{Error, Result};

/// The file that is locked, in `.larder`. The changed file itself is replaced, so its lock would protect nothing.
const LOCK: &str = "pins.lock";

/// The temporary file of a change, in `.larder`. Only the holder of the lock has one.
const TEMPORARY: &str = "pins.new";

/// How long to wait for another larder. It holds the lock while it writes small files.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two attempts to lock.
const PAUSE: Duration = Duration::from_millis(10);

/// The exclusive right to change `larder.lock` and `.gitignore` of a project. Dropping it ends it.
///
/// If a process dies with it, the next one removes its temporary file.
#[derive(Debug)]
pub struct ProjectWriteLock {
    root: PathBuf,
    state: StateDirectory,
    _locked: File,
}

impl ProjectWriteLock {
    /// Waits for the lock of the project at `root`. Creates `.larder`, if it does not exist.
    ///
    /// # Errors
    ///
    /// The project root or `.larder` cannot be written, or another process keeps the lock.
    pub fn acquire(root: &Path) -> Result<Self> {
        Self::acquire_within(root, PATIENCE)
    }

    fn acquire_within(root: &Path, patience: Duration) -> Result<Self> {
        let needed = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(CWD, root, needed, AtFlags::EACCESS)
            .map_err(|error| Error::NotWritable { root: root.to_owned(), source: error.into() })?;
        let state = StateDirectory::ensure(root)?;
        let path = state.path().join(LOCK);
        let failed = |source| Error::Lock { path: path.clone(), source };
        let file = state.open_for_lock(LOCK).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy { path, seconds: patience.as_secs() });
                }
            }
        }
        // A process that died here may have left it.
        state.remove_file(TEMPORARY).ok();
        Ok(Self { root: root.to_owned(), state, _locked: file })
    }

    /// The project root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a file at the project root in one step. Returns false, and changes nothing, if anything of this name exists.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn create(&self, name: &str, contents: &[u8]) -> Result<bool> {
        let path = self.root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.replace(name, contents)?;
                Ok(true)
            }
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    /// Replaces a file at the project root in one step. It keeps its permissions.
    pub(crate) fn replace(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        // A process that died here may have left it, if `.larder` was on another file system.
        let beside = format!(".{name}.larder-new");
        fs::remove_file(self.root.join(&beside)).ok();
        let replaced = match replace_project_file_from(&self.state, TEMPORARY, &path, contents) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => File::open(&self.root)
                .and_then(|root| replace_project_file_from(&root, &beside, &path, contents)),
            replaced => replaced,
        };
        replaced.map_err(|source| Error::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_lock_excludes_others_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let held = ProjectWriteLock::acquire(dir.path()).unwrap();
        let busy = ProjectWriteLock::acquire_within(dir.path(), Duration::ZERO).unwrap_err();
        let expected =
            format!("{} is locked by another larder", dir.path().join(".larder/pins.lock").display());
        assert!(busy.to_string().starts_with(&expected) && !busy.is_content(), "{busy}");
        drop(held);
        ProjectWriteLock::acquire_within(dir.path(), Duration::ZERO).unwrap();
        assert_eq!(fs::read(dir.path().join(".larder/.gitignore")).unwrap(), b"*\n");
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_never_through_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "old").unwrap();
        fs::set_permissions(path("file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", path("link")).unwrap();
        let lock = ProjectWriteLock::acquire(dir.path()).unwrap();
        lock.replace("file", b"new").unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        assert_eq!(fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(matches!(lock.replace("link", b"x"), Err(Error::Write { .. })));
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
    }

    #[test]
    fn nothing_that_exists_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "old").unwrap();
        symlink("nowhere", path("link")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        let lock = ProjectWriteLock::acquire(dir.path()).unwrap();
        for name in ["file", "link", "directory"] {
            assert!(!lock.create(name, b"new").unwrap(), "{name}");
        }
        assert!(lock.create("absent", b"new").unwrap());
        assert_eq!(fs::read(path("absent")).unwrap(), b"new");
        assert_eq!(fs::read(path("file")).unwrap(), b"old");
        assert!(path("link").is_symlink() && !path("nowhere").exists());
    }

    #[test]
    fn a_temporary_file_of_a_dead_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        drop(ProjectWriteLock::acquire(dir.path()).unwrap());
        let temporary = dir.path().join(".larder").join(TEMPORARY);
        fs::write(&temporary, "x").unwrap();
        let lock = ProjectWriteLock::acquire(dir.path()).unwrap();
        assert!(!temporary.exists());
        let beside = dir.path().join(".file.larder-new");
        fs::write(&beside, "x").unwrap();
        lock.replace("file", b"new").unwrap();
        assert!(!beside.exists());
    }

    #[test]
    fn a_project_that_is_missing_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = ProjectWriteLock::acquire(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(&error, Error::NotWritable { .. }) && !error.is_content());
    }

    #[test]
    fn a_symlink_in_the_place_of_the_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".larder")).unwrap();
        symlink("../file", dir.path().join(".larder").join(LOCK)).unwrap();
        assert!(matches!(ProjectWriteLock::acquire(dir.path()), Err(Error::Lock { .. })));
        assert!(!dir.path().join("file").exists());
    }
}
