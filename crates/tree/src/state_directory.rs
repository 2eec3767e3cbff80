//! The directories of larder's own state in a project: `.larder` and its subdirectories.
//!
//! Git stores symlinks, so a checkout can replace any of them with a symlink. Because larder deletes and
//! writes files there, it opens each directory relative to its parent and never follows a link.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A directory of larder's own state could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirectoryError {
    /// The directory is a symlink.
    #[error("failed to use {}: it is a symlink; remove it, and larder creates a directory", path.display())]
    Symlink {
        /// The symlink.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// The operation, as a verb.
        operation: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StateDirectoryError {
    fn io(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, path: path.to_owned(), source: source.into() }
    }
}

type Result<T> = std::result::Result<T, StateDirectoryError>;

/// An open directory of larder's own state in a project: `.larder`, or a directory in it.
#[derive(Debug)]
pub struct StateDirectory {
    opened: OwnedFd,
    path: PathBuf,
}

impl StateDirectory {
    /// The name of the directory in the project root.
    pub const NAME: &str = ".larder";

    /// Opens `.larder`, and creates it if it does not exist, with a file that makes git ignore it.
    ///
    /// # Errors
    ///
    /// It is a symlink, or cannot be created or opened.
    pub fn ensure(root: &Path) -> Result<Self> {
        let directory = Self::create(root, &[Self::NAME])?;
        match directory.create_new(".gitignore").and_then(|mut file| file.write_all(b"*\n")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StateDirectoryError::io("create", &directory.path.join(".gitignore"), error))
            }
            _ => Ok(directory),
        }
    }

    /// Opens a directory below the project root. Returns `None` if it does not exist. `names` begins with
    /// [`Self::NAME`].
    ///
    /// # Errors
    ///
    /// One of the directories is a symlink or cannot be opened.
    pub fn open(root: &Path, names: &[&str]) -> Result<Option<Self>> {
        Self::descend(root, names, false)
    }

    /// Opens a directory below the project root, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// One of the directories is a symlink, or cannot be created or opened.
    pub fn create(root: &Path, names: &[&str]) -> Result<Self> {
        match Self::descend(root, names, true)? {
            Some(directory) => Ok(directory),
            None => Err(StateDirectoryError::io("create", &root.join(Self::NAME), io::ErrorKind::NotFound)),
        }
    }

    fn descend(root: &Path, names: &[&str], create: bool) -> Result<Option<Self>> {
        let mut path = root.to_owned();
        // The path of the project root may contain symlinks.
        let mut opened = match open_directory(CWD, root, OFlags::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) if !create => return Ok(None),
            Err(error) => return Err(StateDirectoryError::io("open", root, error)),
        };
        for name in names {
            path.push(name);
            if create {
                match rustix::fs::mkdirat(&opened, *name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                    // Opening it fails if it is not a directory.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(StateDirectoryError::io("create", &path, error)),
                }
            }
            opened = match open_directory(&opened, Path::new(name), OFlags::NOFOLLOW) {
                Ok(opened) => opened,
                Err(Errno::NOENT) if !create => return Ok(None),
                Err(error) => return Err(refused(&opened, name, error, &path)),
            };
        }
        Ok(Some(Self { opened, path }))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of all entries.
    ///
    /// # Errors
    ///
    /// It cannot be listed.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let list = || -> io::Result<_> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&self.opened)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if !matches!(name, b"." | b"..") {
                    names.push(std::ffi::OsStr::from_bytes(name).to_owned());
                }
            }
            Ok(names)
        };
        list().map_err(|error| StateDirectoryError::io("list", &self.path, error))
    }

    /// Creates a file of this name for appending.
    ///
    /// # Errors
    ///
    /// A file of this name exists, or it cannot be created.
    pub fn create_new(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        Ok(rustix::fs::openat(&self.opened, name, flags, mode)?.into())
    }

    /// Renames a file in this directory, and replaces the one that has the new name.
    ///
    /// # Errors
    ///
    /// It cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.opened, from, &self.opened, to)?)
    }

    /// Opens a regular file for reading, without blocking. Returns `None` if it does not exist or is something else.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open_regular(&self, name: &str) -> io::Result<Option<File>> {
        match self.open_existing(name, &[OFlags::RDONLY]) {
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(opened?),
        }
    }

    /// Opens a regular file for reading and, if possible, writing, without blocking. Returns `None` if it is something else.
    ///
    /// # Errors
    ///
    /// It does not exist, or cannot be opened.
    pub fn open_regular_to_write(&self, name: &str) -> rustix::io::Result<Option<File>> {
        // It may belong to another user, or the file system may be read-only now. A lock needs only read access.
        self.open_existing(name, &[OFlags::RDWR, OFlags::RDONLY])
    }

    /// Opens a file for an `flock`, and creates it if it does not exist. Does not wait for the other end of a FIFO.
    ///
    /// # Errors
    ///
    /// It is a symlink, or cannot be opened.
    pub fn open_for_lock(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        match rustix::fs::openat(&self.opened, name, flags | OFlags::RDWR, mode) {
            // It belongs to another user. A lock needs only read access.
            Err(Errno::ACCESS | Errno::PERM) => {
                let flags = flags.difference(OFlags::CREATE) | OFlags::RDONLY;
                Ok(rustix::fs::openat(&self.opened, name, flags, Mode::empty())?.into())
            }
            opened => Ok(opened?.into()),
        }
    }

    fn open_existing(&self, name: &str, accesses: &[OFlags]) -> rustix::io::Result<Option<File>> {
        // The type is checked first, because opening some devices has side effects.
        let stat = rustix::fs::statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut opened = Err(Errno::ACCESS);
        for access in accesses {
            opened = rustix::fs::openat(&self.opened, name, flags | *access, Mode::empty());
            if !matches!(opened, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS)) {
                break;
            }
        }
        opened.map(|file| Some(file.into()))
    }

    /// Returns when a file was changed last.
    pub fn modified(&self, name: &str) -> Option<SystemTime> {
        let stat = rustix::fs::statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let seconds = u64::try_from(stat.st_mtime).ok()?;
        UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).ok()?))
    }

    /// Replaces the contents of a file in one step.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn replace(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = format!(".{name}-{:x}-{counter:x}", std::process::id());
        let write = || {
            // A process of this number may have died here.
            self.remove_file(&temporary).ok();
            let mut file = self.create_new(&temporary)?;
            file.write_all(contents)?;
            self.rename(&temporary, name)
        };
        write().inspect_err(|_: &io::Error| {
            self.remove_file(&temporary).ok();
        })
    }

    /// Returns whether there is an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Creates a directory of this name.
    ///
    /// # Errors
    ///
    /// One exists, or it cannot be created.
    pub fn create_dir(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.opened, name, Mode::RWXU | Mode::RWXG | Mode::RWXO)?)
    }

    /// Removes the file of this name.
    ///
    /// # Errors
    ///
    /// It does not exist, or cannot be removed.
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.opened, name, AtFlags::empty())?)
    }
}

impl AsFd for StateDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_fd()
    }
}

fn open_directory(parent: impl AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, path, flags, Mode::empty())
}

fn refused(parent: &OwnedFd, name: &str, error: Errno, path: &Path) -> StateDirectoryError {
    let is_link = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    if is_link {
        StateDirectoryError::Symlink { path: path.to_owned() }
    } else {
        StateDirectoryError::io("open", path, error)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_at_any_component_is_refused_and_its_target_untouched() {
        let (project, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let refused = |path: &str| {
            for outcome in [
                StateDirectory::create(project.path(), &[".larder", "tmp"]).map(Some),
                StateDirectory::open(project.path(), &[".larder", "tmp"]),
            ] {
                let error = outcome.unwrap_err();
                assert!(
                    matches!(&error, StateDirectoryError::Symlink { path: found } if found.ends_with(path)),
                    "{error}"
                );
            }
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        };
        symlink(outside.path(), project.path().join(".larder")).unwrap();
        refused(".larder");
        fs::remove_file(project.path().join(".larder")).unwrap();
        fs::create_dir(project.path().join(".larder")).unwrap();
        symlink(outside.path(), project.path().join(".larder/tmp")).unwrap();
        refused(".larder/tmp");
    }

    #[test]
    fn the_project_root_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (root, link) = (dir.path().join("root"), dir.path().join("link"));
        fs::create_dir(&root).unwrap();
        symlink(&root, &link).unwrap();
        assert!(StateDirectory::open(&link, &[".larder", "journal"]).unwrap().is_none());
        StateDirectory::create(&link, &[".larder", "journal"]).unwrap();
        assert!(root.join(".larder/journal").is_dir());
        assert!(StateDirectory::open(&link, &[".larder", "journal"]).unwrap().is_some());
    }
}
