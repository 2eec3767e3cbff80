//! Objects as files on the server.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_backend::{ErrorKind, Key, ObjectMeta, Version};
use larder_backend_files::{advice, layout};
use ssh2::FileStat;

use crate::connection::{Open, SftpConnection};
use crate::error::Trouble;
use crate::root::FoundRoot;

/// Describes an object. Its version is its length and its time, because SFTP gives nothing else. An overwrite makes sure
/// that the time differs.
pub(crate) fn describe(key: Key, size: u64, modified: u64) -> ObjectMeta {
    let last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
    ObjectMeta::new(key, size, last_modified).with_version(Version::new(format!("{size}-{modified}")))
}

/// Tells the contents of a file from earlier ones: its length and its time.
pub(crate) type Identity = (Option<u64>, Option<u64>);

pub(crate) fn identity(stat: &FileStat) -> Identity {
    (stat.size, stat.mtime)
}

/// Looks at an object. Returns `None` if a link leads to it, or if it is not a regular file.
pub(crate) fn look(
    connection: &SftpConnection,
    root: &FoundRoot,
    key: &Key,
) -> Result<Option<FileStat>, Trouble> {
    let stat = match connection.lstat(&root.path_of(key.as_str())) {
        Ok(stat) if stat.is_file() => stat,
        Ok(_) => return Ok(None),
        Err(trouble) if trouble.is_absent() => return Ok(None),
        Err(trouble) => return Err(trouble),
    };
    Ok(root.is_straight(connection, layout::parent(key))?.then_some(stat))
}

pub(crate) fn absent() -> Trouble {
    Trouble::new(ErrorKind::NotFound)
}

/// Reads a piece. After the last one, checks that the file has not changed.
pub(crate) fn read_piece(
    file: &mut Open<'_>,
    expected: Identity,
    range: Range<u64>,
    is_last: bool,
) -> Result<Bytes, Trouble> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
    let bytes = if length == 0 { Vec::new() } else { file.read(range.start, length)? };
    if bytes.len() < length {
        return Err(changed(advice::SHORTENED));
    }
    if is_last && length > 0 && identity(&file.stat()?) != expected {
        return Err(changed(advice::WRITTEN));
    }
    Ok(bytes.into())
}

pub(crate) fn changed(how: &'static str) -> Trouble {
    Trouble::new(ErrorKind::Conflict).with_source(how)
}
