//! What may be written, found out without a write.

use std::io;
use std::os::fd::AsFd;

use larder_backend::{Error, Key, Operation};
use larder_backend_files::layout::{self, OWN_DIRECTORIES};
use rustix::fs::{Access, AtFlags, CWD};

use crate::error::failed;
use crate::root::{LocalRoot, RootDirectory, open_directory};

/// Checks that an upload may create its temporary file and the directories of its key, or the root where that is missing.
/// A read-only file system is noticed too. Access lists, quotas, and a change in between can still make the upload fail.
pub(crate) fn check_put(root: &LocalRoot, key: &Key) -> Result<(), Error> {
    let operation = Operation::Put;
    root.check(key, operation)?;
    let Some(directory) = root.open(operation)? else {
        let checked = root.existing_parent().map_or(Ok(()), |parent| check_writable(CWD, parent));
        return checked.map_err(|error| failed(operation, root.path().display().to_string(), error));
    };
    let failed_for = |operation| move |error| failed(operation, root.location(key), error);
    check_below(&directory, OWN_DIRECTORIES).map_err(failed_for(operation))?;
    check_below(&directory, layout::parent(key).split_terminator('/')).map_err(failed_for(Operation::Commit))
}

/// Checks the last of these directories that exists: the missing ones would be created in it.
fn check_below<'a>(root: &RootDirectory, segments: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
    let mut deepest = root.directory.try_clone()?;
    for segment in segments {
        match open_directory(&deepest, segment) {
            Ok(child) => deepest = child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    check_writable(deepest, ".")
}

fn check_writable(directory: impl AsFd, path: impl rustix::path::Arg) -> io::Result<()> {
    let needed = Access::WRITE_OK | Access::EXEC_OK;
    Ok(rustix::fs::accessat(directory, path, needed, AtFlags::EACCESS)?)
}
