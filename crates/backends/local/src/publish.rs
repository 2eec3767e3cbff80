//! The only way in which an object gets its name.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_backend::{Error, ErrorKind, Key, ObjectMeta, Operation, PutMode};
use larder_backend_files::advice;
use larder_backend_files::naming::NamingOutcome;
use rustix::fs::{AtFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::error::{failed, is_unsupported};
use crate::object::{describe, is_object};
use crate::root::{LocalRoot, RaceRetries, RootDirectory, sync_directory};
use crate::temporary::{Temporary, is_same_file};

/// What is known of the file system of a remote.
#[derive(Debug, Default)]
pub(crate) struct FileSystem {
    /// It has neither an exclusive rename nor hard links.
    pub(crate) cannot_create_exclusively: AtomicBool,
}

/// Publishes a temporary under a key, durably and in one step. After a failure nothing is visible, and the temporary is
/// removed.
///
/// The order matters:
///
/// 1. The length is checked before anything is visible.
/// 2. The bytes are on disk before the name.
/// 3. The time is set last, because it is the time of publication.
/// 4. A duplicate descriptor is closed: some file systems (NFS, FUSE) report errors only then. The original one keeps the lock
///    until the file has its name, so that no sweep removes it.
pub(crate) fn publish(
    mut temporary: Temporary,
    root: &LocalRoot,
    key: &Key,
    mode: PutMode,
    file_system: &FileSystem,
) -> Result<ObjectMeta, Error> {
    let wrong = |error| failed(Operation::Commit, root.location(key), error);
    let directory = root.open(Operation::Commit)?.ok_or_else(|| root.missing(Operation::Commit))?;

    let size = temporary.file.metadata().map_err(wrong)?.len();
    if size != temporary.written {
        let source = advice::wrong_length(size, temporary.written);
        return Err(
            Error::new(ErrorKind::Integrity, Operation::Commit, root.location(key)).with_source(source)
        );
    }
    temporary.file.sync_all().map_err(wrong)?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(&temporary.file, &times).map_err(|error| wrong(error.into()))?;
    // Dropping a descriptor ignores the error of closing it.
    let duplicate = temporary.file.try_clone().map_err(wrong)?;
    nix::unistd::close(duplicate).map_err(|error| wrong(error.into()))?;

    let parent = give_name(&mut temporary, &directory, root, key, mode, file_system)?;
    sync_directory(&parent).map_err(wrong)?;
    let stat = rustix::fs::fstat(&temporary.file).map_err(|error| wrong(error.into()))?;
    Ok(describe(key.clone(), &stat))
}

/// Gives the file its name. Returns the directory of the name.
fn give_name(
    temporary: &mut Temporary,
    directory: &RootDirectory,
    root: &LocalRoot,
    key: &Key,
    mode: PutMode,
    file_system: &FileSystem,
) -> Result<OwnedFd, Error> {
    let wrong = |error| failed(Operation::Commit, root.location(key), error);
    let in_the_way =
        |hint: &str| Error::new(ErrorKind::Other, Operation::Commit, root.location(key)).with_hint(hint);
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    let mut retries = RaceRetries::default();
    loop {
        let parent = directory.make(&segments).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR | Errno::LOOP) => {
                in_the_way(advice::PARENT_IS_NO_DIRECTORY).with_source(error)
            }
            _ => wrong(error),
        })?;
        let named = match mode {
            PutMode::CreateOnly => create(temporary, &parent, name, file_system),
            PutMode::Overwrite => replace(temporary, &parent, name),
        };
        let error = match named {
            Ok(NamingOutcome::Done) => return Ok(parent),
            Ok(NamingOutcome::Again) => Errno::NOENT.into(),
            Ok(NamingOutcome::Exists) => match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_object(&stat) => {
                    return Err(Error::new(ErrorKind::AlreadyExists, Operation::Commit, root.location(key)));
                }
                Ok(_) => return Err(in_the_way(advice::NAME_IS_NO_OBJECT)),
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        if let Err(error) = retries.again(error) {
            directory.prune(key);
            return Err(match Errno::from_io_error(&error) {
                Some(Errno::ISDIR | Errno::NOTEMPTY) => in_the_way("a directory has this name: remove it"),
                Some(Errno::XDEV) => in_the_way("the directory of a remote has to be one file system"),
                _ => return Err(wrong(error)),
            }
            .with_source(error));
        }
    }
}

/// Names the file if nothing has the name.
fn create(
    temporary: &mut Temporary,
    parent: &OwnedFd,
    name: &str,
    file_system: &FileSystem,
) -> io::Result<NamingOutcome> {
    let old = (&temporary.directory, temporary.name.as_str());
    match rustix::fs::renameat_with(old.0, old.1, parent, name, RenameFlags::NOREPLACE) {
        Ok(()) => {
            temporary.gone = true;
            return Ok(NamingOutcome::Done);
        }
        Err(Errno::EXIST) => return met_another(temporary, parent, name),
        Err(Errno::NOENT) => return vanished(temporary, parent, name),
        Err(error) if is_unsupported(error) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::linkat(old.0, old.1, parent, name, AtFlags::empty()) {
        // The second name is removed when the temporary is dropped.
        Ok(()) => return Ok(unlink(temporary)),
        Err(Errno::EXIST) => return met_another(temporary, parent, name),
        Err(Errno::NOENT) => return vanished(temporary, parent, name),
        Err(error) if is_unsupported(error) || matches!(error, Errno::PERM | Errno::MLINK) => {}
        Err(error) => return Err(error.into()),
    }
    // Without both, two creators at the same moment may both succeed. The object of the later one stays.
    file_system.cannot_create_exclusively.store(true, Ordering::Relaxed);
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => met_another(temporary, parent, name),
        Err(Errno::NOENT) => replace(temporary, parent, name),
        Err(error) => Err(error.into()),
    }
}

/// Names the file, and replaces what has the name.
fn replace(temporary: &mut Temporary, parent: &OwnedFd, name: &str) -> io::Result<NamingOutcome> {
    match rustix::fs::renameat(&temporary.directory, temporary.name.as_str(), parent, name) {
        Ok(()) => {
            temporary.gone = true;
            Ok(NamingOutcome::Done)
        }
        Err(Errno::NOENT) => vanished(temporary, parent, name),
        Err(error) => Err(error.into()),
    }
}

fn unlink(temporary: &mut Temporary) -> NamingOutcome {
    // After a failure the object has a second name, which a sweep removes.
    let _ = rustix::fs::unlinkat(&temporary.directory, temporary.name.as_str(), AtFlags::empty());
    temporary.gone = true;
    NamingOutcome::Done
}

/// The name exists. It may be this file's: after a lost answer, the NFS client asks again.
fn met_another(temporary: &mut Temporary, parent: &OwnedFd, name: &str) -> io::Result<NamingOutcome> {
    if is_same_file(parent, name, &temporary.file)? {
        Ok(unlink(temporary))
    } else {
        Ok(NamingOutcome::Exists)
    }
}

/// The old name or the new directory is missing. Somebody removed one of them, or the answer to an earlier attempt was lost.
fn vanished(temporary: &mut Temporary, parent: &OwnedFd, name: &str) -> io::Result<NamingOutcome> {
    if is_same_file(parent, name, &temporary.file)? {
        temporary.gone = true;
        return Ok(NamingOutcome::Done);
    }
    if is_same_file(&temporary.directory, &temporary.name, &temporary.file)? {
        return Ok(NamingOutcome::Again);
    }
    Err(io::Error::other(advice::TEMPORARY_REMOVED))
}
