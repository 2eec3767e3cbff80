//! Removes what dead processes left behind.

use std::time::{Duration, SystemTime};

use larder_backend::UploadToken;
use ssh2::OpenFlags;

use crate::connection::Connection;
use crate::error::Trouble;
use crate::publish::{is_unique_name, remove, unique_name};
use crate::root::{Root, TEMPORARIES};

/// What nothing else is known of is dead when it was not written to for so long.
const DEAD_AFTER: Duration = Duration::from_hours(24);

/// Removes the temporaries that dead processes noted, and those that are old. Files of other names are left alone.
pub(crate) fn sweep(connection: &Connection, root: &Root, orphans: &[UploadToken]) -> Result<(), Trouble> {
    // A token comes from a file, and must not lead anywhere else.
    for orphan in orphans.iter().map(UploadToken::as_str).filter(|name| is_unique_name(name)) {
        remove(connection, &root.temporary(orphan))?;
    }
    sweep_old(connection, root, None)
}

/// Removes what is old by the server's clock, whose time is `now` where that is known.
pub(crate) fn sweep_old(
    connection: &Connection,
    root: &Root,
    mut now: Option<SystemTime>,
) -> Result<(), Trouble> {
    let mut found = Vec::new();
    let read = connection.read_directory(&root.path_of(TEMPORARIES), |name, stat| {
        if stat.is_file() && is_unique_name(name) {
            found.push((name.to_owned(), modified(stat.mtime)));
        }
        Ok(())
    });
    match read {
        Err(trouble) if trouble.is_absent() => return Ok(()),
        read => read?,
    }
    for (name, modified) in found {
        let now = match now {
            Some(now) => now,
            None => *now.insert(clock(connection, root)?),
        };
        if now.duration_since(modified).is_ok_and(|age| age > DEAD_AFTER) {
            match remove(connection, &root.temporary(&name)) {
                // Neither ours nor to be removed by us: its owner's next command does.
                Err(trouble) if trouble.is_denied() => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

fn modified(seconds: Option<u64>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or_default())
}

/// The server's clock: the time of a file that was made there just now.
fn clock(connection: &Connection, root: &Root) -> Result<SystemTime, Trouble> {
    let path = root.temporary(&unique_name());
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let time = connection.with_file(&path, flags, root.file_mode, |file| Ok(modified(file.stat()?.mtime)))?;
    remove(connection, &path)?;
    Ok(time)
}
