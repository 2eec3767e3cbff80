//! Identities of files and directories.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use serde::{Deserialize, Serialize};

/// Distinguishes a file or directory from a later one with the same name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    /// The inode number. The device is left out: all paths of a move are on one file system, and device
    /// numbers may change on a reboot.
    pub(super) inode: u64,
    /// The creation time in seconds and nanoseconds since 1970, if the file system has it. It is needed
    /// because a new file often gets the inode number of a file that was just removed.
    #[serde(default)]
    pub(super) created: Option<(u64, u32)>,
}

impl PartialEq for FileIdentity {
    fn eq(&self, other: &Self) -> bool {
        let born_apart = self.created.zip(other.created).is_some_and(|(one, other)| one != other);
        self.inode == other.inode && !born_apart
    }
}

/// Returns an identity of a tree that stays the same while the tree is moved entry by entry.
///
/// An overlay copies a directory of a lower layer on its first change. The copy has the same inode number but
/// a new creation time. To trigger the copy, this sets the directory's modification time to its current
/// value. Without the permission for that, the identity has no creation time.
pub(super) fn lasting_identity(path: &Path) -> io::Result<Option<FileIdentity>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => found,
        _ => return identity(path),
    };
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() as _ },
    };
    let is_lasting = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let identity = identity(path)?;
    Ok(identity.map(|identity| FileIdentity { created: identity.created.filter(|_| is_lasting), ..identity }))
}

/// Returns the identity of what is at the path. Does not follow a link.
pub(super) fn identity(path: &Path) -> io::Result<Option<FileIdentity>> {
    match fs::symlink_metadata(path) {
        Ok(found) => {
            let created = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let created = created.map(|since| (since.as_secs(), since.subsec_nanos()));
            Ok(Some(FileIdentity { inode: found.ino(), created }))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
