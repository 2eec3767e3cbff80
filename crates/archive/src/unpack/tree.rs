//! Creates the entries of an archive. Each is new, and its path is relative to the output, so that the location of the
//! output does not limit its length.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use larder_tree::FileState;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::UnpackError;
use super::names::parent;

/// The output that is being created.
pub(super) struct Tree {
    path: PathBuf,
    /// The output itself, after it was created.
    root: OnceLock<OutputRoot>,
}

enum OutputRoot {
    File,
    Directory(OwnedFd),
}

/// Modes before the umask applies.
const PLAIN: Mode = Mode::from_raw_mode(0o666);
const EXECUTABLE: Mode = Mode::from_raw_mode(0o777);
const DIRECTORY: Mode = Mode::from_raw_mode(0o777);

impl Tree {
    /// Prepares an output at `path`, and creates nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, root: OnceLock::new() }
    }

    /// Returns the absolute path of an entry, for messages and for calls that need one.
    pub(super) fn place(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.path.clone() } else { self.path.join(OsStr::from_bytes(path)) }
    }

    /// Prepares the file at `path`: creates its parent directories, or claims the output itself.
    pub(super) fn prepare_file(&self, path: &[u8], made: &mut CreatedDirs) -> Result<(), UnpackError> {
        match parent(path) {
            Some(parent) => self.make_dir(parent, made),
            None if self.root.set(OutputRoot::File).is_err() => Err(already_there(path)),
            None => self.make_parents(),
        }
    }

    /// Creates the directory at `path` and those above it, unless this archive has created them before. An archive may
    /// name a directory several times, or after entries below it.
    pub(super) fn make_dir(&self, path: &[u8], made: &mut CreatedDirs) -> Result<(), UnpackError> {
        if made.contains(path) {
            return Ok(());
        }
        let Some(above) = parent(path) else { return self.make_root(made) };
        if self.root.get().is_none() {
            // The archive has no entry for the output itself.
            self.make_root(made)?;
        }
        let mut again = false;
        loop {
            match rustix::fs::mkdirat(self.root(path)?, path, DIRECTORY) {
                Ok(()) => {
                    made.created(path)?;
                    break;
                }
                // The names must be equal: a file system that folds case takes `D` for `d`.
                Err(Errno::EXIST) if made.has_created(path) => break,
                Err(Errno::EXIST | Errno::NOTDIR) => return Err(already_there(path)),
                Err(Errno::NOENT) if !again => {
                    self.make_dir(above, made)?;
                    again = true;
                }
                Err(error) => return Err(UnpackError::io("create", self.place(path))(error.into())),
            }
        }
        made.set(path);
        Ok(())
    }

    /// Creates the output itself, as a directory.
    fn make_root(&self, made: &mut CreatedDirs) -> Result<(), UnpackError> {
        match self.root.get() {
            Some(OutputRoot::Directory(_)) => {}
            Some(OutputRoot::File) => return Err(already_there(b"")),
            None => {
                self.make_parents()?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = rustix::fs::mkdir(&self.path, DIRECTORY)
                    .and_then(|()| rustix::fs::open(&self.path, flags, Mode::empty()))
                    .map_err(|error| UnpackError::io("create", &self.path)(error.into()))?;
                // Only this thread creates directories.
                let _ = self.root.set(OutputRoot::Directory(directory));
            }
        }
        made.set(b"");
        Ok(())
    }

    /// Creates the directories above the output.
    fn make_parents(&self) -> Result<(), UnpackError> {
        let Some(parents) = self.path.parent() else { return Ok(()) };
        fs::create_dir_all(parents).map_err(UnpackError::io("create", parents))
    }

    /// Creates the file at `path`, after [`Self::prepare_file`].
    pub(super) fn create(&self, path: &[u8], executable: bool) -> Result<NewFile, UnpackError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if executable { EXECUTABLE } else { PLAIN };
        let created = if path.is_empty() {
            rustix::fs::openat(CWD, &self.path, flags, mode)
        } else {
            rustix::fs::openat(self.root(path)?, path, flags, mode)
        };
        match created {
            Ok(descriptor) => Ok(NewFile { file: File::from(descriptor), path: self.place(path) }),
            Err(Errno::EXIST) if !path.is_empty() => Err(already_there(path)),
            Err(error) => Err(UnpackError::io("create", self.place(path))(error.into())),
        }
    }

    /// Creates a link at `path` with exactly this text.
    pub(super) fn make_symlink(&self, path: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        match rustix::fs::symlinkat(target, self.root(path)?, path) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTDIR) => Err(already_there(path)),
            Err(error) => Err(UnpackError::io("create", self.place(path))(error.into())),
        }
    }

    /// Creates a hard link at `path` to the file at `target`, or a copy.
    pub(super) fn make_hard_link(&self, path: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        let root = self.root(path)?;
        match rustix::fs::linkat(root, target, root, path, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTDIR) => Err(already_there(path)),
            // The file system has no hard links, or allows no more for this file.
            Err(_) => self.copy(path, target),
        }
    }

    fn copy(&self, path: &[u8], source: &[u8]) -> Result<(), UnpackError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |error: io::Error| UnpackError::io("copy", self.place(source))(error);
        let opened = rustix::fs::openat(self.root(path)?, source, flags, Mode::empty());
        let mut source = File::from(opened.map_err(|error| failed(error.into()))?);
        let mode = rustix::fs::fstat(&source).map_err(|error| failed(error.into()))?.st_mode;
        let mut copy = self.create(path, Mode::from_raw_mode(mode).contains(Mode::XUSR))?;
        io::copy(&mut source, &mut copy.file).map_err(failed)?;
        copy.close(false).map(|_| ())
    }

    /// Returns the directory of the output. `path` must be below the output.
    fn root(&self, path: &[u8]) -> Result<&OwnedFd, UnpackError> {
        match self.root.get() {
            Some(OutputRoot::Directory(directory)) => Ok(directory),
            // The entry is below an output that is a file.
            Some(OutputRoot::File) | None => Err(already_there(parent(path).unwrap_or(path))),
        }
    }
}

/// A file that is being written.
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), UnpackError> {
        self.file.write_all(bytes).map_err(UnpackError::io("write", &self.path))
    }

    /// Closes the file, and returns its state if it is wanted. Some file systems report a full disk only now, and dropping
    /// the file would hide that.
    pub(super) fn close(self, keeps_state: bool) -> Result<Option<FileState>, UnpackError> {
        let metadata = if keeps_state { self.file.metadata().ok() } else { None };
        nix::unistd::close(self.file).map_err(|error| UnpackError::io("write", &self.path)(error.into()))?;
        Ok(metadata.map(|metadata| FileState::of(&metadata)))
    }
}

/// The directories that were created.
pub(super) struct CreatedDirs {
    /// The last directory. It and its parents contain most of the next entries.
    last: Option<Vec<u8>>,
    /// The hashes of the paths of all of them. They cost less memory than the paths, and an archive cannot know the key
    /// of the hash.
    hashes: HashSet<u64>,
    hasher: RandomState,
    limit: u64,
}

impl CreatedDirs {
    pub(super) fn new(limit: u64) -> Self {
        Self { last: None, hashes: HashSet::new(), hasher: RandomState::new(), limit }
    }

    fn created(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        if self.hashes.len() as u64 >= self.limit {
            let why = format!("and more than {} directories, which is the limit", self.limit);
            return Err(UnpackError::refused(path, why));
        }
        self.hashes.insert(self.hasher.hash_one(path));
        Ok(())
    }

    fn has_created(&self, path: &[u8]) -> bool {
        self.hashes.contains(&self.hasher.hash_one(path))
    }

    fn contains(&self, path: &[u8]) -> bool {
        self.last.as_ref().is_some_and(|made| match made.strip_prefix(path) {
            Some(rest) => path.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        })
    }

    fn set(&mut self, path: &[u8]) {
        let made = self.last.get_or_insert_default();
        made.clear();
        made.extend_from_slice(path);
    }
}

/// The error of an entry that exists. Its name occurs twice, or the file system folds it into another.
fn already_there(path: &[u8]) -> UnpackError {
    let name = Path::new(OsStr::from_bytes(path)).file_name().map_or(&b"."[..], OsStr::as_bytes);
    UnpackError::refused(
        name,
        "which exists already: its name occurs twice, or this file system takes it for the name of another entry",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_made_vouches_for_those_above_it() {
        let mut made = CreatedDirs::new(100);
        assert!(!made.contains(b""));
        made.set(b"a/bc");
        for (path, contained) in [("", true), ("a", true), ("a/bc", true), ("a/b", false), ("a/bc/d", false)]
        {
            assert_eq!(made.contains(path.as_bytes()), contained, "{path}");
        }
    }

    /// On a file system that folds case, creating `d` creates `D` too. Here the test creates it.
    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().join("m"));
        let mut made = CreatedDirs::new(3);
        tree.make_dir(b"d", &mut made).unwrap();
        tree.make_dir(b"e/f", &mut made).unwrap();
        tree.make_dir(b"d", &mut made).unwrap();
        tree.make_dir(b"e", &mut made).unwrap();
        fs::create_dir(dir.path().join("m/D")).unwrap();
        for path in [&b"D"[..], b"D/below"] {
            let refused = tree.make_dir(path, &mut made);
            assert!(matches!(refused, Err(UnpackError::Refused { .. })), "{refused:?}");
        }
        assert!(matches!(tree.prepare_file(b"D/file", &mut made), Err(UnpackError::Refused { .. })));
        assert!(matches!(tree.make_dir(b"g", &mut made), Err(UnpackError::Refused { .. })), "the limit");
    }

    #[test]
    fn without_hard_links_a_copy_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().join("m"));
        let mut made = CreatedDirs::new(100);
        tree.prepare_file(b"a", &mut made).unwrap();
        let mut file = tree.create(b"a", true).unwrap();
        file.write(b"content").unwrap();
        file.close(false).unwrap();
        tree.copy(b"b", b"a").unwrap();
        let there = dir.path().join("m");
        assert_eq!(fs::read(there.join("b")).unwrap(), b"content");
        assert_eq!(
            fs::metadata(there.join("b")).unwrap().permissions(),
            fs::metadata(there.join("a")).unwrap().permissions()
        );
        assert!(matches!(tree.copy(b"b", b"a"), Err(UnpackError::Refused { .. })), "exclusively");
    }
}
