//! The walk: which entries a tree has, in order. One directory is listed at a time, and no file is opened.

use std::cmp::Ordering;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::file::{OPEN_FLAGS, open_error};
use super::{EntryKind, STAGING_PREFIX};
use crate::error::HashError;
use crate::options::TreeLimits;

/// The order of the children of a directory.
pub(super) type NameOrder = fn(&[u8], &[u8]) -> Ordering;

/// What a walk is to do with what it meets.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) order: NameOrder,
    pub(super) dereference: bool,
    /// Sockets, FIFOs and devices are passed over, and not refused.
    pub(super) skip_special: bool,
    pub(super) limits: TreeLimits,
}

/// What comes next in a tree.
pub(super) enum Step {
    /// A directory or a link, with its path.
    Entry { path: Vec<u8>, kind: EntryKind },
    /// A file, which is for others to open.
    File { path: Vec<u8>, place: Place },
}

/// Where a file is to be opened.
pub(super) enum Place {
    /// The output itself.
    Root(PathBuf),
    /// A child of a directory.
    Child { directory: Arc<File>, name: CString, follow: bool },
}

impl Place {
    pub(super) fn open(&self) -> Result<File, Errno> {
        match self {
            Self::Root(path) => rustix::fs::open(path, OPEN_FLAGS, Mode::empty()),
            Self::Child { directory, name, follow } => {
                let flags = if *follow { OPEN_FLAGS } else { OPEN_FLAGS | OFlags::NOFOLLOW };
                rustix::fs::openat(directory, name.as_c_str(), flags, Mode::empty())
            }
        }
        .map(File::from)
    }
}

pub(super) struct Walk {
    root: PathBuf,
    rules: Rules,
    /// The directories that are entered, the deepest last.
    frames: Vec<Frame>,
    /// The path of the deepest one.
    path: Vec<u8>,
    started: bool,
    entries: u64,
}

struct Frame {
    directory: Arc<File>,
    identity: (u64, u64),
    children: std::vec::IntoIter<Child>,
    /// How much of the walk's path is the path of the directory above.
    parent_len: usize,
}

struct Child {
    name: CString,
    kind: FileType,
}

impl Walk {
    pub(super) fn new(root: PathBuf, rules: Rules) -> Self {
        Self { root, rules, frames: Vec::new(), path: Vec::new(), started: false, entries: 0 }
    }

    /// The next step; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Step>, HashError> {
        let step = if self.started {
            self.advance()?
        } else {
            self.started = true;
            Some(self.begin()?)
        };
        if step.is_some() {
            self.entries += 1;
            if self.entries > self.rules.limits.entries {
                return Err(HashError::TooManyEntries {
                    path: self.root.clone(),
                    limit: self.rules.limits.entries,
                });
            }
        }
        Ok(step)
    }

    fn begin(&mut self) -> Result<Step, HashError> {
        let path = || self.root.clone();
        let status = rustix::fs::stat(&self.root).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => HashError::Missing { path: path() },
            Errno::LOOP => HashError::Loop { path: path() },
            error => HashError::Io { operation: "look at", path: path(), source: error.into() },
        })?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => Ok(Step::File { path: Vec::new(), place: Place::Root(path()) }),
            FileType::Directory => {
                let opened = rustix::fs::open(&self.root, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty());
                self.enter(opened.map(File::from), 0)
            }
            other => Err(HashError::Special { path: path(), what: name_of(other) }),
        }
    }

    fn advance(&mut self) -> Result<Option<Step>, HashError> {
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            let directory = Arc::clone(&frame.directory);
            let Some(child) = frame.children.next() else {
                let left = self.frames.pop().map_or(0, |frame| frame.parent_len);
                self.path.truncate(left);
                continue;
            };
            if let Some(step) = self.step(&directory, child)? {
                return Ok(Some(step));
            }
        }
    }

    fn step(&mut self, directory: &Arc<File>, child: Child) -> Result<Option<Step>, HashError> {
        let path = self.child_path(child.name.to_bytes())?;
        let place = |shown: &[u8]| self.root.join(OsStr::from_bytes(shown));
        let status = |flags| rustix::fs::statat(directory, child.name.as_c_str(), flags);
        let mut kind = child.kind;
        if kind == FileType::Unknown {
            let found = status(AtFlags::SYMLINK_NOFOLLOW).map_err(|error| open_error(error, place(&path)))?;
            kind = FileType::from_raw_mode(found.st_mode);
        }
        let follow = kind == FileType::Symlink && self.rules.dereference;
        if follow {
            let found = status(AtFlags::empty()).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR => HashError::Dangling { path: place(&path) },
                Errno::LOOP => HashError::Loop { path: place(&path) },
                error => {
                    HashError::Io { operation: "follow the link", path: place(&path), source: error.into() }
                }
            })?;
            kind = FileType::from_raw_mode(found.st_mode);
        }
        match kind {
            FileType::RegularFile => {
                let place = Place::Child { directory: Arc::clone(directory), name: child.name, follow };
                Ok(Some(Step::File { path, place }))
            }
            FileType::Directory => {
                let flags = OPEN_FLAGS | OFlags::DIRECTORY;
                let flags = if follow { flags } else { flags | OFlags::NOFOLLOW };
                let opened = rustix::fs::openat(directory, child.name.as_c_str(), flags, Mode::empty());
                let parent_len = self.path.len();
                self.path = path;
                self.enter(opened.map(File::from), parent_len).map(Some)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, child.name.as_c_str(), Vec::new()).map_err(
                    |error| HashError::Io {
                        operation: "read the link",
                        path: place(&path),
                        source: error.into(),
                    },
                )?;
                Ok(Some(Step::Entry { path, kind: EntryKind::Symlink { target: target.into_bytes() } }))
            }
            _ if self.rules.skip_special => Ok(None),
            other => Err(HashError::Special { path: place(&path), what: name_of(other) }),
        }
    }

    /// Enters the directory that `self.path` names.
    fn enter(&mut self, opened: Result<File, Errno>, parent_len: usize) -> Result<Step, HashError> {
        let shown = || {
            if self.path.is_empty() {
                self.root.clone()
            } else {
                self.root.join(OsStr::from_bytes(&self.path))
            }
        };
        let directory = opened.map_err(|error| open_error(error, shown()))?;
        let metadata = directory.metadata().map_err(|source| HashError::Io {
            operation: "look at",
            path: shown(),
            source,
        })?;
        let identity = (metadata.dev(), metadata.ino());
        if self.rules.dereference && self.frames.iter().any(|frame| frame.identity == identity) {
            return Err(HashError::Loop { path: shown() });
        }
        let mut children = list(&directory, self.rules.skip_special).map_err(|source| HashError::Io {
            operation: "list",
            path: shown(),
            source,
        })?;
        if let Some(child) = children.iter().find(|child| child.name.to_bytes().starts_with(STAGING_PREFIX)) {
            return Err(HashError::Staging { path: shown().join(OsStr::from_bytes(child.name.to_bytes())) });
        }
        let order = self.rules.order;
        children.sort_unstable_by(|a, b| order(a.name.to_bytes(), b.name.to_bytes()));
        let kind = EntryKind::Directory { is_empty: children.is_empty() };
        let path = self.path.clone();
        self.frames.push(Frame {
            directory: Arc::new(directory),
            identity,
            children: children.into_iter(),
            parent_len,
        });
        Ok(Step::Entry { path, kind })
    }

    fn child_path(&self, name: &[u8]) -> Result<Vec<u8>, HashError> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let limits = &self.rules.limits;
        let shown = || self.root.join(OsStr::from_bytes(&path));
        if self.frames.len() > limits.depth {
            return Err(HashError::TooDeep { path: shown(), limit: limits.depth });
        }
        if path.len() > limits.path_bytes {
            return Err(HashError::PathTooLong { path: shown(), limit: limits.path_bytes });
        }
        Ok(path)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

/// The children of a directory, in no order. Where special files are passed over they are not even listed, so that
/// a directory with nothing else in it counts as empty.
fn list(directory: &File, skip_special: bool) -> io::Result<Vec<Child>> {
    let mut children = Vec::new();
    // A duplicate, so that the descriptor stays for opening the children: cheaper than opening the directory twice.
    for entry in Dir::new(rustix::io::fcntl_dupfd_cloexec(directory, 0)?)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        let kind = entry.file_type();
        let ordinary = matches!(
            kind,
            FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown
        );
        let passed_over = skip_special && !ordinary;
        if !passed_over && !matches!(name.to_bytes(), b"." | b"..") {
            children.push(Child { name: name.to_owned(), kind });
        }
    }
    Ok(children)
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no file, directory or link",
    }
}
