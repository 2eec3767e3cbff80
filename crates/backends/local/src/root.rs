//! The directory of the remote, and the way from it to the directory of a key.
//!
//! Every step is taken by a descriptor of the parent and refuses links, so that nothing below the root leads out of it,
//! also where somebody changes the tree at the same time.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use larder_backend::{CreatedRoot, Error, ErrorKind, Key, Operation, seconds};
use rustix::fs::{CWD, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::config::{CreateRoot, LocalConfig};
use crate::error::{failed, is_unsupported};

/// The longest name that the usual file systems take, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 255;

/// What is larder's own, and where uploads are before they are published.
pub(crate) const OWN_DIRECTORIES: [&str; 3] = [".larder", "1", "tmp"];
const TEMPORARIES: &str = ".larder/1/tmp";

/// The owner of what an upload makes can always use it; whoever lost these bits could not even sweep.
const OWNER_OF_DIRECTORY: Mode = Mode::RWXU;
const OWNER_OF_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Everything of the root's mode but setuid, which means nothing on a directory.
const OF_DIRECTORY: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO).union(Mode::SGID).union(Mode::SVTX);
const OF_FILE: Mode =
    Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

/// How often something is tried again that others were faster with.
const ATTEMPTS: u32 = 100;
/// How often, and how long in between, something is tried again that was denied.
const DENIED_ATTEMPTS: u32 = 50;
const DENIED_PAUSE: Duration = Duration::from_millis(2);

/// Tells what is worth another attempt, and for how long.
///
/// A delete removes the directories that it empties, which others may be about to use: they make them again. And a
/// directory that a user of another umask made this very moment gets the bits of the root a moment later.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    attempts: u32,
}

impl Patience {
    /// Gives the error back where another attempt is not worth it.
    pub(crate) fn again(&mut self, error: io::Error) -> io::Result<()> {
        self.attempts += 1;
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::WouldBlock if self.attempts < ATTEMPTS => Ok(()),
            io::ErrorKind::PermissionDenied if self.attempts < DENIED_ATTEMPTS => {
                std::thread::sleep(DENIED_PAUSE);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// The root of a remote, which need not exist yet.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    create: CreateRoot,
    stall_timeout: Option<Duration>,
    created: OnceLock<CreatedRoot>,
}

/// The open directory of a remote.
#[derive(Debug)]
pub(crate) struct RootDirectory {
    pub(crate) directory: OwnedFd,
    /// The mode of every directory below.
    directory_mode: Mode,
    /// The mode of every file below.
    pub(crate) file_mode: Mode,
}

impl Root {
    pub(crate) fn new(config: &LocalConfig) -> Result<Self, Error> {
        let path = std::path::absolute(&config.root)
            .map_err(|error| failed(Operation::Open, config.root.display().to_string(), error))?;
        let root = Self {
            path,
            create: config.create,
            stall_timeout: config.stall_timeout,
            created: OnceLock::new(),
        };
        match fs::metadata(&root.path) {
            Ok(metadata) if !metadata.is_dir() => Err(root.not_a_directory(Operation::Open)),
            _ => Ok(root),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where an object is, for people.
    pub(crate) fn location(&self, key: &Key) -> String {
        self.path.join(key.as_str()).display().to_string()
    }

    fn error(&self, kind: ErrorKind, operation: Operation) -> Error {
        Error::new(kind, operation, self.path.display().to_string())
    }

    fn not_a_directory(&self, operation: Operation) -> Error {
        self.error(ErrorKind::RootMissing, operation).with_hint("the path exists and is not a directory")
    }

    /// Waits for a blocking thread, but not longer than an answer may take. The thread cannot be stopped: it goes on, or
    /// hangs, by itself.
    pub(crate) async fn wait<T>(
        &self,
        operation: Operation,
        answer: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let Some(limit) = self.stall_timeout else { return Ok(answer.await) };
        tokio::time::timeout(limit, answer).await.map_err(|_| {
            self.error(ErrorKind::Timeout, operation).with_hint(format!(
                "no answer for {}: check whether the share is still there",
                seconds(limit)
            ))
        })
    }

    /// Returns how [`Root::open_or_create`] created the root, if it did.
    pub(crate) fn created(&self) -> Option<CreatedRoot> {
        self.created.get().copied()
    }

    /// The root is missing, and an upload would not create it.
    pub(crate) fn missing(&self, operation: Operation) -> Error {
        let missing =
            self.error(ErrorKind::RootMissing, operation).with_source(io::Error::from(Errno::NOENT));
        let has_parent = self.path.parent().is_some_and(Path::is_dir);
        missing.with_hint(if has_parent {
            "check the path, and whether a share has to be mounted there"
        } else {
            "the directory above it is missing too: check the path, and whether a share has to be mounted there"
        })
    }

    /// Whether an upload would create the root, which is missing. A symlink to nothing cannot be replaced by a directory.
    fn can_be_created(&self) -> bool {
        let is_free =
            fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        is_free
            && match self.create {
                CreateRoot::Never => false,
                CreateRoot::LastComponent => self.path.parent().is_some_and(Path::is_dir),
                CreateRoot::All => true,
            }
    }

    /// Opens the root for an operation that never creates it. Returns `None` where the root is missing and an upload
    /// would create it: such a remote is empty.
    pub(crate) fn open(&self, operation: Operation) -> Result<Option<RootDirectory>, Error> {
        let open =
            || rustix::fs::openat(CWD, &self.path, directory_flags() - OFlags::NOFOLLOW, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) if self.can_be_created() => return Ok(None),
            // Another process may have created it since.
            Err(Errno::NOENT) => open(),
            opened => opened,
        };
        match opened {
            Ok(directory) => RootDirectory::new(directory)
                .map(Some)
                .map_err(|error| failed(operation, self.path.display().to_string(), error)),
            Err(Errno::NOENT) => Err(self.missing(operation)),
            Err(Errno::NOTDIR) => Err(self.not_a_directory(operation)),
            Err(error) => Err(failed(operation, self.path.display().to_string(), error.into())),
        }
    }

    /// The nearest directory above the root that exists.
    pub(crate) fn existing_parent(&self) -> Option<&Path> {
        self.path.ancestors().skip(1).find(|above| above.is_dir())
    }

    /// Opens the root for an upload, which creates it as far as it may.
    pub(crate) fn open_or_create(&self, operation: Operation) -> Result<RootDirectory, Error> {
        if let Some(directory) = self.open(operation)? {
            return Ok(directory);
        }
        let how = match self.path.parent() {
            Some(parent) if may_be_unmounted(parent) => CreatedRoot::InEmptyParent,
            _ => CreatedRoot::InUsedParent,
        };
        let created = match self.create {
            CreateRoot::Never => return Err(self.missing(operation)),
            CreateRoot::LastComponent => fs::create_dir(&self.path),
            CreateRoot::All => fs::create_dir_all(&self.path),
        };
        match created {
            Ok(()) => {
                self.created.get_or_init(|| how);
                if let Some(parent) = self.path.parent()
                    && let Ok(parent) = fs::File::open(parent)
                {
                    sync_directory(&parent)
                        .map_err(|error| failed(operation, self.path.display().to_string(), error))?;
                }
            }
            // Somebody else was faster, or it is not a directory: opening it tells.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing(operation));
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(self.not_a_directory(operation));
            }
            Err(error) => return Err(failed(operation, self.path.display().to_string(), error)),
        }
        self.open(operation)?.ok_or_else(|| self.missing(operation))
    }

    /// Refuses keys that this backend does not take.
    pub(crate) fn check(&self, key: &Key, operation: Operation) -> Result<(), Error> {
        let refuse = |hint: &str| {
            Err(Error::new(ErrorKind::InvalidInput, operation, self.location(key)).with_hint(hint))
        };
        if key.segments().any(|segment| segment.len() > MAX_NAME_LEN) {
            return refuse("a part of the name is longer than the 255 bytes that file systems take");
        }
        if is_temporary(key.as_str()) {
            return refuse("`.larder/1/tmp` is for uploads that are under way");
        }
        Ok(())
    }
}

/// Whether a directory looks like a mount point without its mount: it is empty, and on the device of `/`.
fn may_be_unmounted(directory: &Path) -> bool {
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    is_empty && device(directory) == device(Path::new("/"))
}

/// Whether a path below the root is the place of temporaries, or is in it.
pub(crate) fn is_temporary(path: &str) -> bool {
    path.strip_prefix(TEMPORARIES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl RootDirectory {
    fn new(directory: OwnedFd) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
        Ok(Self {
            directory,
            directory_mode: (mode & OF_DIRECTORY) | OWNER_OF_DIRECTORY,
            file_mode: (mode & OF_FILE) | OWNER_OF_FILE,
        })
    }

    /// Opens the directory of these segments below the root, where it exists.
    pub(crate) fn descend<'a>(&self, segments: impl Iterator<Item = &'a str>) -> io::Result<OwnedFd> {
        let mut directory = self.directory.try_clone()?;
        for segment in segments {
            directory = open_directory(&directory, segment)?;
        }
        Ok(directory)
    }

    /// Opens the directory of these segments below the root, and makes what is missing of it, durably.
    pub(crate) fn make<'a>(&self, segments: &(impl Iterator<Item = &'a str> + Clone)) -> io::Result<OwnedFd> {
        let mut patience = Patience::default();
        loop {
            match self.make_once(segments.clone()) {
                Ok(made) => return Ok(made),
                Err(error) => patience.again(error)?,
            }
        }
    }

    fn make_once<'a>(&self, segments: impl Iterator<Item = &'a str>) -> io::Result<OwnedFd> {
        let mut directory = self.directory.try_clone()?;
        for segment in segments {
            let (child, is_new) = match open_directory(&directory, segment) {
                Ok(child) => (child, false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let is_new = match rustix::fs::mkdirat(&directory, segment, self.directory_mode) {
                        Ok(()) => true,
                        Err(Errno::EXIST) => false,
                        Err(error) => return Err(error.into()),
                    };
                    (open_directory(&directory, segment)?, is_new)
                }
                Err(error) => return Err(error),
            };
            // Before the disk is waited for: until then the team is denied.
            self.share(&child)?;
            if is_new {
                sync_directory(&directory)?;
            }
            directory = child;
        }
        Ok(directory)
    }

    /// Gives a directory of ours the bits of the root that it lacks: because of the umask, because its maker was
    /// killed before it came here, or because the root was opened to a team later. What others own is theirs.
    fn share(&self, directory: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(directory)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if !mode.contains(self.directory_mode) && is_ours(&stat) {
            rustix::fs::fchmod(directory, (mode & OF_DIRECTORY) | self.directory_mode)?;
        }
        Ok(())
    }

    /// Removes the directories above a key that have become empty. Others may be about to use one of them: they make
    /// it again. Nothing depends on its success.
    pub(crate) fn prune(&self, key: &Key) {
        let mut segments: Vec<&str> = key.segments().collect();
        segments.pop();
        while let Some(name) = segments.pop() {
            let removed = self
                .descend(segments.iter().copied())
                .and_then(|parent| Ok(rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::REMOVEDIR)?));
            if removed.is_err() {
                return;
            }
        }
    }
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

const fn directory_flags() -> OFlags {
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC)
}

/// Opens a directory that is not a link.
pub(crate) fn open_directory(parent: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, directory_flags(), Mode::empty())?)
}

/// Makes the names in a directory durable, where the file system has that.
pub(crate) fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    match rustix::fs::fsync(directory) {
        // Some FUSE and CIFS have no fsync of directories.
        Ok(()) => Ok(()),
        Err(error) if is_unsupported(error) || error == Errno::BADF => Ok(()),
        Err(error) => Err(error.into()),
    }
}
