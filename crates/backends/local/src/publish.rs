//! The one way in which an object gets its name.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_backend::{Error, ErrorKind, Key, ObjectMeta, Operation, PutMode};
use rustix::fs::{AtFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use crate::error::{failed, is_unsupported};
use crate::get::{describe, is_object};
use crate::root::{Patience, Root, RootDirectory, sync_directory};
use crate::temporary::{Temporary, is_same_file};

/// What is known of the file system of a remote.
#[derive(Debug, Default)]
pub(crate) struct FileSystem {
    /// It has neither an exclusive rename nor hard links.
    pub(crate) cannot_create_exclusively: AtomicBool,
}

/// What stands under the name.
enum Placed {
    Done,
    /// An object was there before.
    Exists,
    /// The directory or the object that was met is gone: the next attempt meets something else.
    Again,
}

/// Publishes a temporary under a key, durably and in one step. Where it fails, nothing is visible, and the temporary
/// is removed.
///
/// The order matters: the length is checked before anything is visible; the bytes are on disk before the name is;
/// the time is set last, because it is when the object was published; a closed descriptor has reported what some file
/// systems (NFS, FUSE) only report then; and the lock is held by another descriptor until the name is given, so that no
/// sweep can come in between.
pub(crate) fn publish(
    mut temporary: Temporary,
    root: &Root,
    key: &Key,
    mode: PutMode,
    file_system: &FileSystem,
) -> Result<ObjectMeta, Error> {
    let wrong = |error| failed(Operation::Commit, root.location(key), error);
    let directory = root.open(Operation::Commit)?.ok_or_else(|| root.missing(Operation::Commit))?;

    let size = temporary.file.metadata().map_err(wrong)?.len();
    if size != temporary.written {
        let source = format!("the temporary file has {size} bytes, and {} were written", temporary.written);
        return Err(
            Error::new(ErrorKind::Integrity, Operation::Commit, root.location(key)).with_source(source)
        );
    }
    temporary.file.sync_all().map_err(wrong)?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(&temporary.file, &times).map_err(|error| wrong(error.into()))?;
    // A descriptor that is dropped is closed without a look at the answer.
    let duplicate = temporary.file.try_clone().map_err(wrong)?;
    nix::unistd::close(duplicate).map_err(|error| wrong(error.into()))?;

    let parent = give_name(&mut temporary, &directory, root, key, mode, file_system)?;
    sync_directory(&parent).map_err(wrong)?;
    let stat = rustix::fs::fstat(&temporary.file).map_err(|error| wrong(error.into()))?;
    Ok(describe(key.clone(), &stat))
}

/// Gives the file its name, and the directory of the name back.
fn give_name(
    temporary: &mut Temporary,
    directory: &RootDirectory,
    root: &Root,
    key: &Key,
    mode: PutMode,
    file_system: &FileSystem,
) -> Result<OwnedFd, Error> {
    let wrong = |error| failed(Operation::Commit, root.location(key), error);
    let in_the_way =
        |hint: &str| Error::new(ErrorKind::Other, Operation::Commit, root.location(key)).with_hint(hint);
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    let mut patience = Patience::default();
    loop {
        let parent = directory.make(&segments).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR | Errno::LOOP) => {
                in_the_way("a directory has to be above it, and something else has that name")
                    .with_source(error)
            }
            _ => wrong(error),
        })?;
        let placed = match mode {
            PutMode::CreateOnly => create(temporary, &parent, name, file_system),
            PutMode::Overwrite => replace(temporary, &parent, name),
        };
        let error = match placed {
            Ok(Placed::Done) => return Ok(parent),
            Ok(Placed::Again) => Errno::NOENT.into(),
            Ok(Placed::Exists) => match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_object(&stat) => {
                    return Err(Error::new(ErrorKind::AlreadyExists, Operation::Commit, root.location(key)));
                }
                Ok(_) => return Err(in_the_way("what has this name is not a regular file: remove it")),
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        if let Err(error) = patience.again(error) {
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

/// Names the file where nothing has the name.
fn create(
    temporary: &mut Temporary,
    parent: &OwnedFd,
    name: &str,
    file_system: &FileSystem,
) -> io::Result<Placed> {
    let old = (&temporary.directory, temporary.name.as_str());
    match rustix::fs::renameat_with(old.0, old.1, parent, name, RenameFlags::NOREPLACE) {
        Ok(()) => {
            temporary.gone = true;
            return Ok(Placed::Done);
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
    // Neither is there: two creators at the same moment may both succeed, and the later one's object stays.
    file_system.cannot_create_exclusively.store(true, Ordering::Relaxed);
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => met_another(temporary, parent, name),
        Err(Errno::NOENT) => replace(temporary, parent, name),
        Err(error) => Err(error.into()),
    }
}

/// Names the file, whatever has the name.
fn replace(temporary: &mut Temporary, parent: &OwnedFd, name: &str) -> io::Result<Placed> {
    match rustix::fs::renameat(&temporary.directory, temporary.name.as_str(), parent, name) {
        Ok(()) => {
            temporary.gone = true;
            Ok(Placed::Done)
        }
        Err(Errno::NOENT) => vanished(temporary, parent, name),
        Err(error) => Err(error.into()),
    }
}

fn unlink(temporary: &mut Temporary) -> Placed {
    // What is left is a second name of the object, which a sweep removes.
    let _ = rustix::fs::unlinkat(&temporary.directory, temporary.name.as_str(), AtFlags::empty());
    temporary.gone = true;
    Placed::Done
}

/// The name exists. It may be our own: an NFS server that answered, and whose answer was lost, is asked again.
fn met_another(temporary: &mut Temporary, parent: &OwnedFd, name: &str) -> io::Result<Placed> {
    if is_same_file(parent, name, &temporary.file)? { Ok(unlink(temporary)) } else { Ok(Placed::Exists) }
}

/// Something on the way is missing: the old name, because the answer of an earlier attempt was lost or somebody removed
/// the file, or the new directory, because somebody removed it.
fn vanished(temporary: &mut Temporary, parent: &OwnedFd, name: &str) -> io::Result<Placed> {
    if is_same_file(parent, name, &temporary.file)? {
        temporary.gone = true;
        return Ok(Placed::Done);
    }
    if is_same_file(&temporary.directory, &temporary.name, &temporary.file)? {
        return Ok(Placed::Again);
    }
    Err(io::Error::other("somebody removed the temporary file of this upload"))
}
