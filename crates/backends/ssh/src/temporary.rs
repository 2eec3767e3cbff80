//! Files on the server that are not published.

use ssh2::OpenFlags;

use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::root::FoundRoot;

/// Makes an empty temporary. Its name is unique, so doing it twice does no harm.
pub(crate) fn create(connection: &SftpConnection, root: &FoundRoot, path: &str) -> Result<(), Trouble> {
    let make = || {
        connection.with_file(path, OpenFlags::WRITE | OpenFlags::CREATE, root.modes.file, |file| {
            // The umask of the server may have removed bits that the team needs.
            file.set_mode(root.modes.file)
        })
    };
    match make() {
        Err(trouble) if trouble.is_absent() => {
            root.make_own(connection)?;
            make()
        }
        done => done,
    }
}

/// Removes a file that may be gone.
pub(crate) fn remove(connection: &SftpConnection, path: &str) -> Result<(), Trouble> {
    match connection.remove(path) {
        Err(trouble) if !trouble.is_absent() => Err(trouble),
        _ => Ok(()),
    }
}
