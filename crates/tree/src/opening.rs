//! Opens the files of a tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::TreeError;

/// The flags for opening a file. If a FIFO has replaced the file, opening must not wait for its other end.
pub(crate) const OPEN_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Returns the error of an `open` that failed after its directory was listed.
pub(crate) fn open_error(error: Errno, path: PathBuf) -> TreeError {
    match error {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR => TreeError::Changed { path },
        error => TreeError::Io { operation: "open", path, source: error.into() },
    }
}

/// Joins the root of a tree and a path relative to it. The path is empty for the root itself.
pub(crate) fn full_path(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}
