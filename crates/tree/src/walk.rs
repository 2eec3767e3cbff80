//! Walks a tree in order. It lists one directory at a time, and opens no file.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::entry::EntryKind;
use crate::error::TreeError;
use crate::ignore_rules::{IgnoreFile, IgnoreRules};
use crate::limits::TreeLimits;
use crate::opening::{OPEN_FLAGS, full_path, open_error};
use crate::options::{NameOrder, SpecialFiles, TreeOptions};

/// The prefix of the name of a staging directory that a pull creates beside the destination instead of in the
/// project's `.larder`. Trees that contain such a name are refused, so that a half-written output is never
/// read.
pub const STAGING_PREFIX: &[u8] = b".larder-tmp-";
/// The beginning of the names of outputs that failed commands left, where they cannot be moved to `.larder`.
pub const FAILED_PREFIX: &[u8] = b".larder-failed-";

/// The next entry of a tree.
pub(crate) enum WalkStep {
    /// A directory or a link, with its path.
    Entry { path: Vec<u8>, kind: EntryKind },
    /// A file, which the walk does not open.
    File { path: Vec<u8>, location: FileLocation },
}

/// The location from which a file is opened.
pub(crate) enum FileLocation {
    /// The root of the tree.
    Root(PathBuf),
    /// A child of a directory.
    Child { directory: Arc<File>, name: CString, follow: bool },
}

impl FileLocation {
    pub(crate) fn open(&self) -> Result<File, Errno> {
        match self {
            Self::Root(path) => rustix::fs::open(path, OPEN_FLAGS, Mode::empty()),
            Self::Child { directory, name, follow } => {
                let flags = if *follow { OPEN_FLAGS } else { OPEN_FLAGS | OFlags::NOFOLLOW };
                rustix::fs::openat(directory, name.as_c_str(), flags, Mode::empty())
            }
        }
        .map(File::from)
    }

    pub(crate) fn status(&self) -> Result<Stat, Errno> {
        match self {
            Self::Root(path) => rustix::fs::stat(path),
            Self::Child { directory, name, follow } => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                rustix::fs::statat(directory, name.as_c_str(), flags)
            }
        }
    }
}

pub(crate) struct TreeWalk {
    root: PathBuf,
    order: NameOrder,
    dereference: bool,
    special_files: SpecialFiles,
    ignore: Option<IgnoreRules>,
    limits: TreeLimits,
    /// The entered directories, the deepest last.
    entered: Vec<EnteredDirectory>,
    /// The path of the deepest entered directory.
    path: Vec<u8>,
    started: bool,
    entries: u64,
}

struct EnteredDirectory {
    directory: Arc<File>,
    identity: (u64, u64),
    children: std::vec::IntoIter<Child>,
    /// The length of the path of the parent directory.
    parent_len: usize,
    ignore_file: Option<IgnoreFile>,
}

struct Child {
    name: CString,
    kind: FileType,
}

impl TreeWalk {
    pub(crate) fn new(root: PathBuf, options: &TreeOptions) -> Self {
        Self {
            root,
            order: options.order,
            dereference: options.dereference,
            special_files: options.special_files,
            ignore: options.ignore.clone(),
            limits: options.limits,
            entered: Vec::new(),
            path: Vec::new(),
            started: false,
            entries: 0,
        }
    }

    /// Returns the next entry, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<WalkStep>, TreeError> {
        let step = if self.started {
            self.advance()?
        } else {
            self.started = true;
            Some(self.begin()?)
        };
        if step.is_some() {
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(TreeError::TooManyEntries {
                    path: self.root.clone(),
                    limit: self.limits.entries,
                });
            }
        }
        Ok(step)
    }

    fn begin(&mut self) -> Result<WalkStep, TreeError> {
        let path = || self.root.clone();
        let status = rustix::fs::stat(&self.root).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => TreeError::Missing { path: path() },
            Errno::LOOP => TreeError::Loop { path: path() },
            error => TreeError::Io { operation: "look at", path: path(), source: error.into() },
        })?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {
                Ok(WalkStep::File { path: Vec::new(), location: FileLocation::Root(path()) })
            }
            FileType::Directory => {
                let opened = rustix::fs::open(&self.root, OPEN_FLAGS | OFlags::DIRECTORY, Mode::empty());
                self.enter(opened.map(File::from), 0)
            }
            other => Err(TreeError::Special { path: path(), what: name_of(other) }),
        }
    }

    fn advance(&mut self) -> Result<Option<WalkStep>, TreeError> {
        loop {
            let Some(entered) = self.entered.last_mut() else { return Ok(None) };
            let directory = Arc::clone(&entered.directory);
            let Some(child) = entered.children.next() else {
                let left = self.entered.pop().map_or(0, |directory| directory.parent_len);
                self.path.truncate(left);
                continue;
            };
            if let Some(step) = self.step(&directory, child)? {
                return Ok(Some(step));
            }
        }
    }

    fn step(&mut self, directory: &Arc<File>, child: Child) -> Result<Option<WalkStep>, TreeError> {
        let path = self.child_path(child.name.to_bytes())?;
        let shown = |path: &[u8]| full_path(&self.root, path);
        let status = |flags| rustix::fs::statat(directory, child.name.as_c_str(), flags);
        let mut kind = child.kind;
        if kind == FileType::Unknown {
            let found = status(AtFlags::SYMLINK_NOFOLLOW).map_err(|error| open_error(error, shown(&path)))?;
            kind = FileType::from_raw_mode(found.st_mode);
        }
        let follow = kind == FileType::Symlink && self.dereference;
        if follow {
            let found = status(AtFlags::empty()).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR => TreeError::Dangling { path: shown(&path) },
                Errno::LOOP => TreeError::Loop { path: shown(&path) },
                error => {
                    TreeError::Io { operation: "follow the link", path: shown(&path), source: error.into() }
                }
            })?;
            kind = FileType::from_raw_mode(found.st_mode);
        }
        match kind {
            FileType::RegularFile => {
                let location =
                    FileLocation::Child { directory: Arc::clone(directory), name: child.name, follow };
                Ok(Some(WalkStep::File { path, location }))
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
                    |error| TreeError::Io {
                        operation: "read the link",
                        path: shown(&path),
                        source: error.into(),
                    },
                )?;
                Ok(Some(WalkStep::Entry { path, kind: EntryKind::Symlink { target: target.into_bytes() } }))
            }
            _ if self.special_files == SpecialFiles::Skip => Ok(None),
            other => Err(TreeError::Special { path: shown(&path), what: name_of(other) }),
        }
    }

    /// Enters the directory that `self.path` names.
    fn enter(&mut self, opened: Result<File, Errno>, parent_len: usize) -> Result<WalkStep, TreeError> {
        let shown = || full_path(&self.root, &self.path);
        let directory = opened.map_err(|error| open_error(error, shown()))?;
        let metadata = directory.metadata().map_err(|source| TreeError::Io {
            operation: "look at",
            path: shown(),
            source,
        })?;
        let identity = (metadata.dev(), metadata.ino());
        if self.dereference && self.entered.iter().any(|directory| directory.identity == identity) {
            return Err(TreeError::Loop { path: shown() });
        }
        let mut children = list(&directory, self.special_files).map_err(|source| TreeError::Io {
            operation: "list",
            path: shown(),
            source,
        })?;
        if let Some(child) = children.iter().find(|child| child.name.to_bytes().starts_with(STAGING_PREFIX)) {
            return Err(TreeError::Staging { path: shown().join(OsStr::from_bytes(child.name.to_bytes())) });
        }
        if let Some(child) = children.iter().find(|child| child.name.to_bytes().starts_with(FAILED_PREFIX)) {
            return Err(TreeError::Failed { path: shown().join(OsStr::from_bytes(child.name.to_bytes())) });
        }
        let order = self.order;
        children.sort_unstable_by(|a, b| order(a.name.to_bytes(), b.name.to_bytes()));
        let ignore_file = self.leave_out(&directory, &mut children)?;
        let kind = EntryKind::Directory { is_empty: children.is_empty() };
        let path = self.path.clone();
        self.entered.push(EnteredDirectory {
            directory: Arc::new(directory),
            identity,
            children: children.into_iter(),
            parent_len,
            ignore_file,
        });
        Ok(WalkStep::Entry { path, kind })
    }

    /// Removes the ignored children of the directory that `self.path` names, so that a directory with only such children
    /// counts as empty. Returns the ignore file of the directory.
    fn leave_out(
        &self,
        directory: &File,
        children: &mut Vec<Child>,
    ) -> Result<Option<IgnoreFile>, TreeError> {
        let Some(rules) = &self.ignore else { return Ok(None) };
        let shown = full_path(&self.root, &self.path);
        let has_file = children.iter().any(|child| rules.is_name(child.name.to_bytes()));
        let file = has_file.then(|| rules.read_in(directory, &self.path, &shown)).transpose()?;
        let mut kept = Vec::with_capacity(children.len());
        for mut child in children.drain(..) {
            let name = child.name.to_bytes();
            if child.kind == FileType::Unknown {
                let found = rustix::fs::statat(directory, child.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| open_error(error, shown.join(OsStr::from_bytes(name))))?;
                child.kind = FileType::from_raw_mode(found.st_mode);
            }
            let path = joined(&self.path, name);
            let above = self.entered.iter().rev().filter_map(|directory| directory.ignore_file.as_ref());
            if !rules.ignores(&path, child.kind == FileType::Directory, file.iter().chain(above)) {
                kept.push(child);
            }
        }
        *children = kept;
        Ok(file)
    }

    fn child_path(&self, name: &[u8]) -> Result<Vec<u8>, TreeError> {
        let path = joined(&self.path, name);
        let limits = &self.limits;
        let shown = || self.root.join(OsStr::from_bytes(&path));
        if self.entered.len() > limits.depth {
            return Err(TreeError::TooDeep { path: shown(), limit: limits.depth });
        }
        if path.len() > limits.path_bytes {
            return Err(TreeError::PathTooLong { path: shown(), limit: limits.path_bytes });
        }
        Ok(path)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Joins the path of a directory of the tree, which is empty for the root, and a name in it.
fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Lists the children of a directory, in no order. Skipped special files are not listed, so that a directory
/// with only such files counts as empty.
fn list(directory: &File, special_files: SpecialFiles) -> io::Result<Vec<Child>> {
    let mut children = Vec::new();
    // Listing uses a duplicate, because the original descriptor later opens the children. Duplicating is
    // cheaper than opening the directory twice.
    for entry in Dir::new(rustix::io::fcntl_dupfd_cloexec(directory, 0)?)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        let kind = entry.file_type();
        let ordinary = matches!(
            kind,
            FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown
        );
        let skipped = special_files == SpecialFiles::Skip && !ordinary;
        if !skipped && !matches!(name.to_bytes(), b"." | b"..") {
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
        _ => "neither a file nor a directory nor a link",
    }
}
