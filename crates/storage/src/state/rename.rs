//! Renames files and directories, including protected directories, on every file system.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::protected::{Unprotected, is_protected};
use super::steps::{has_exchange, step};

/// The reason why a move stopped.
pub(super) enum Stopped {
    /// The target exists.
    Appeared,
    Io(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Exchanges two names atomically.
pub(super) fn exchange(one: &Path, other: &Path) -> rustix::io::Result<()> {
    if !has_exchange() {
        return Err(Errno::INVAL);
    }
    rename_with(one, other, RenameFlags::EXCHANGE, &[one, other])
}

/// Renames a file or directory, and replaces the target where the system allows it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rename_with(from, to, RenameFlags::empty(), &[from])?)
}

/// Creates a hard link to a file.
pub(super) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    step();
    fs::hard_link(from, to)
}

/// Renames a file or link, and replaces the target.
pub(super) fn rename_file(from: &Path, to: &Path) -> io::Result<()> {
    step();
    fs::rename(from, to)
}

/// Renames with these flags. A directory that gets another parent must be writable, because its `..` changes.
/// A protected directory is made writable for the duration of the rename.
fn rename_with(from: &Path, to: &Path, flags: RenameFlags, moved: &[&Path]) -> rustix::io::Result<()> {
    step();
    match renameat_with(CWD, from, CWD, to, flags) {
        Err(error) if is_protected(error) => {
            let unprotected: Vec<_> = moved.iter().filter_map(|path| Unprotected::new(path)).collect();
            if unprotected.is_empty() { Err(error) } else { renameat_with(CWD, from, CWD, to, flags) }
        }
        outcome => outcome,
    }
}

/// Renames a file or directory. Stops if the target exists.
pub(super) fn rename_noreplace(from: &Path, to: &Path) -> Result<(), Stopped> {
    match rename_with(from, to, RenameFlags::NOREPLACE, &[from]) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Stopped::Appeared),
        Err(error) if is_unsupported(error) => rename_if_absent(from, to),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

/// Does the work of [`rename_noreplace`] on a file system without that flag. A file is hard-linked to the
/// target instead. A directory can replace only an empty directory.
fn rename_if_absent(from: &Path, to: &Path) -> Result<(), Stopped> {
    if exists(to) {
        return Err(Stopped::Appeared);
    }
    if !is_dir(from) {
        match hard_link(from, to) {
            Ok(()) => {
                step();
                return Ok(fs::remove_file(from)?);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Stopped::Appeared),
            // The file system has no hard links either, so only the check above protects the target.
            Err(_) => {}
        }
    }
    match rename(from, to) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(Stopped::Appeared)
        }
        outcome => Ok(outcome?),
    }
}

/// Moves a file or a directory tree. Continues a move that an interrupted call left incomplete at `to`.
/// Overlay file systems cannot rename a directory of a lower layer, so its entries are moved one by one.
pub(super) fn move_tree(from: &Path, to: &Path) -> io::Result<()> {
    if !exists(from) {
        return Ok(());
    }
    if !is_dir(to) {
        match rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices && is_dir(from) => {
                step();
                fs::create_dir(to)?;
            }
            outcome => return outcome,
        }
    }
    let unprotected = Unprotected::new(from);
    // The directory at `to` is being restored, and keeps its own mode.
    let _other = Unprotected::new(to);
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        move_tree(&from.join(&name), &to.join(&name))?;
    }
    if let Some(unprotected) = unprotected {
        unprotected.protect(to)?;
    }
    step();
    fs::remove_dir(from)
}

/// Returns whether the file system lacks this kind of rename. Overlayfs returns EXDEV. NFS and some FUSE file
/// systems return EINVAL.
pub(super) fn is_unsupported(error: Errno) -> bool {
    [Errno::XDEV, Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP].contains(&error)
}

pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

pub(super) fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}
