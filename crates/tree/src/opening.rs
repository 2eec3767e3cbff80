//! How files of a tree are opened.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::TreeError;

/// Opening must not wait for the other end of a FIFO that has replaced a file.
pub(crate) const OPEN_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// The error of an `open`, where the directory was listed before.
pub(crate) fn open_error(error: Errno, path: PathBuf) -> TreeError {
    match error {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR => TreeError::Changed { path },
        error => TreeError::Io { operation: "open", path, source: error.into() },
    }
}

/// Joins the root of a tree and a path relative to it, which is empty for the root itself.
pub(crate) fn full_path(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}
