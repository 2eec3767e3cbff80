//! The directory of the remote, and the path from it to the directory of a key.
//!
//! Each directory is opened from the descriptor of its parent, without following links. So nothing below the root leads out
//! of it, even if somebody changes the tree at the same time.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use larder_backend::{CreatedRoot, Error, ErrorKind, Key, Operation, seconds};
use larder_backend_files::modes::Modes;
use larder_backend_files::{advice, layout};
use rustix::fs::{CWD, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

use crate::config::{CreateRoot, LocalConfig};
use crate::error::{failed, is_unsupported};

/// The number of attempts at something that other processes undo.
const ATTEMPTS: u32 = 100;
/// The number of attempts at something that is denied, and the pause between them.
const DENIED_ATTEMPTS: u32 = 50;
const DENIED_PAUSE: Duration = Duration::from_millis(2);

/// The attempts at an operation that races with other processes.
///
/// A deletion removes the directories that it empties. Others may be about to use them, and make them again. A directory that
/// a user with another umask has just made gets the bits of the root a moment later.
#[derive(Debug, Default)]
pub(crate) struct RaceRetries {
    attempts: u32,
}

impl RaceRetries {
    /// Returns the error if there is no further attempt.
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
pub(crate) struct LocalRoot {
    path: PathBuf,
    create: CreateRoot,
    stall_timeout: Option<Duration>,
    created: OnceLock<CreatedRoot>,
}

/// The open directory of a remote.
#[derive(Debug)]
pub(crate) struct RootDirectory {
    pub(crate) directory: OwnedFd,
    modes: Modes,
    directory_mode: Mode,
    pub(crate) file_mode: Mode,
}

impl LocalRoot {
    pub(crate) fn new(config: &LocalConfig) -> Result<Self, Error> {
        let path = std::path::absolute(&config.root)
            .map_err(|error| failed(Operation::Open, config.root.display().to_string(), error))?;
        let (create, stall_timeout) = (config.create, config.stall_timeout);
        Ok(Self { path, create, stall_timeout, created: OnceLock::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an object, for messages.
    pub(crate) fn location(&self, key: &Key) -> String {
        self.path.join(key.as_str()).display().to_string()
    }

    fn error(&self, kind: ErrorKind, operation: Operation) -> Error {
        Error::new(kind, operation, self.path.display().to_string())
    }

    fn not_a_directory(&self, operation: Operation) -> Error {
        self.error(ErrorKind::RootMissing, operation).with_problem(advice::ROOT_IS_NO_DIRECTORY)
    }

    /// Waits for a blocking thread, up to the stall timeout. The thread cannot be stopped, and goes on alone.
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

    /// Returns how [`LocalRoot::open_or_create`] created the root, if it did.
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
            // Somebody else has created it, or it is not a directory. Opening it shows which.
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
        layout::check_key(key, operation, || self.location(key))
    }
}

/// Whether a directory looks like a mount point without its mount: it is empty, and on the device of `/`.
fn may_be_unmounted(directory: &Path) -> bool {
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    is_empty && device(directory) == device(Path::new("/"))
}

impl RootDirectory {
    fn new(directory: OwnedFd) -> io::Result<Self> {
        let modes = Modes::of_root(mode_of(&rustix::fs::fstat(&directory)?));
        let (directory_mode, file_mode) = (system_mode(modes.directory), system_mode(modes.file));
        Ok(Self { directory, modes, directory_mode, file_mode })
    }

    /// Opens the directory of these segments below the root.
    pub(crate) fn descend<'a>(&self, segments: impl Iterator<Item = &'a str>) -> io::Result<OwnedFd> {
        let mut directory = self.directory.try_clone()?;
        for segment in segments {
            directory = open_directory(&directory, segment)?;
        }
        Ok(directory)
    }

    /// Opens the directory of these segments below the root, and durably creates its missing parts.
    pub(crate) fn make<'a>(&self, segments: &(impl Iterator<Item = &'a str> + Clone)) -> io::Result<OwnedFd> {
        let mut retries = RaceRetries::default();
        loop {
            match self.make_once(segments.clone()) {
                Ok(made) => return Ok(made),
                Err(error) => retries.again(error)?,
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
            // Before the flush, which takes time: until then the team is denied.
            self.share(&child)?;
            if is_new {
                sync_directory(&directory)?;
            }
            directory = child;
        }
        Ok(directory)
    }

    /// Adds the bits of the root that a directory of this user lacks. The umask may have removed them, its maker may have been
    /// killed before this call, or the root may have been opened to a team later.
    fn share(&self, directory: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(directory)?;
        let mode = mode_of(&stat);
        if mode & self.modes.directory != self.modes.directory && is_ours(&stat) {
            rustix::fs::fchmod(directory, system_mode(self.modes.completed(mode)))?;
        }
        Ok(())
    }

    /// Removes the directories above a key that have become empty. Others who are about to use one make it again. A failure
    /// does no harm.
    pub(crate) fn prune(&self, key: &Key) {
        for directory in layout::parents(key) {
            let (above, name) = directory.rsplit_once('/').unwrap_or(("", directory));
            let removed = self
                .descend(above.split_terminator('/'))
                .and_then(|parent| Ok(rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::REMOVEDIR)?));
            if removed.is_err() {
                return;
            }
        }
    }
}

/// The mode of a file. Its type differs between systems.
#[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "here the type is `u32`"))]
fn mode_of(stat: &Stat) -> u32 {
    u32::from(stat.st_mode)
}

fn system_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
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

/// Makes the names in a directory durable, if the file system can.
pub(crate) fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    match rustix::fs::fsync(directory) {
        // Some FUSE and CIFS have no fsync of directories.
        Ok(()) => Ok(()),
        Err(error) if is_unsupported(error) || error == Errno::BADF => Ok(()),
        Err(error) => Err(error.into()),
    }
}
