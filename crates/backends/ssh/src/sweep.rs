//! Removes the temporaries of dead processes.

use std::time::{Duration, SystemTime};

use larder_backend::UploadToken;
use larder_backend_files::layout::TEMPORARIES;
use larder_backend_files::temporary_name::{TemporaryName, is_dead};
use ssh2::OpenFlags;

use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::root::FoundRoot;
use crate::temporary::remove;

/// Removes the temporaries that the journals of dead processes name, and old ones. Files of other names stay.
pub(crate) fn sweep(
    connection: &SftpConnection,
    root: &FoundRoot,
    orphans: &[UploadToken],
) -> Result<(), Trouble> {
    // A token comes from a file, so it could be any text.
    for orphan in orphans.iter().filter_map(|token| TemporaryName::parse(token.as_str())) {
        remove(connection, &root.temporary(orphan))?;
    }
    sweep_old(connection, root, None)
}

/// Removes the temporaries that are old by the server's clock. `now` is its time, if that is known.
pub(crate) fn sweep_old(
    connection: &SftpConnection,
    root: &FoundRoot,
    mut now: Option<SystemTime>,
) -> Result<(), Trouble> {
    let mut found = Vec::new();
    let read = connection.read_directory(&root.path_of(TEMPORARIES), |name, stat| {
        if let Some(name) = TemporaryName::parse(name).filter(|_| stat.is_file()) {
            found.push((name, modified(stat.mtime)));
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
        if is_dead(modified, now) {
            match remove(connection, &root.temporary(name)) {
                // The next command of its owner removes it.
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

/// The time of the server's clock: that of a file that was just made there.
fn clock(connection: &SftpConnection, root: &FoundRoot) -> Result<SystemTime, Trouble> {
    let path = root.temporary(TemporaryName::new());
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let time =
        connection.with_file(&path, flags, root.modes.file, |file| Ok(modified(file.stat()?.mtime)))?;
    remove(connection, &path)?;
    Ok(time)
}
