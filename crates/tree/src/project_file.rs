//! Files that larder reads and writes in a project.
//!
//! A checkout or an archive can replace them with a FIFO that blocks, an endless device, or a symlink out of
//! the project. So these functions open a file without blocking, check its type, and limit its size.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// The handling of a symlink in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// Reads the target of the symlink. For files that larder only reads.
    Follow,
    /// Fails. For files that larder also writes.
    Refuse,
}

/// Reads a regular file of at most `max_bytes` bytes.
///
/// # Errors
///
/// The file is missing, is not a regular file, is larger, or cannot be read. The error does not name the path.
pub fn read_project_file(path: &Path, max_bytes: u64, symlinks: Symlinks) -> io::Result<Vec<u8>> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if symlinks == Symlinks::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) if symlinks == Symlinks::Refuse => return Err(is_symlink()),
        // A socket cannot be opened at all.
        Err(Errno::NXIO) => return Err(is_special()),
        Err(error) => return Err(error.into()),
    };
    read_open_file(&file, max_bytes)
}

/// Reads an open file from its beginning, if it is a regular file of at most `max_bytes` bytes.
///
/// # Errors
///
/// The file is not a regular file, is larger, or cannot be read. The error does not name the path.
pub fn read_open_file(file: &File, max_bytes: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(is_directory());
    }
    if !metadata.is_file() {
        return Err(is_special());
    }
    // The reported size is not enough: the file may grow, and files in /proc have size 0.
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let text = format!("it is larger than {max_bytes} bytes, which is the limit; is it the right file?");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Replaces the contents of a file atomically: readers see the old contents or the new ones. An existing file
/// keeps its permissions.
///
/// # Errors
///
/// Something other than a regular file exists at the path, such as a symlink, or the file cannot be written.
/// The error does not name the path.
pub fn replace_project_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let existing = existing_permissions(path)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push("-");
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        // The umask still applies. By default, a temporary file is private.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory_of(path))?;
    write_and_sync(file.as_file_mut(), contents, existing)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Replaces the contents of a file as [`replace_project_file`] does, by way of a temporary file in `directory`, which must
/// be on the same file system. A file that has the name of the temporary file is removed: the caller holds a lock, so a dead
/// process left it.
///
/// # Errors
///
/// As for [`replace_project_file`]. The error is `CrossesDevices` if the directory is on another file system.
pub fn replace_project_file_from(
    directory: impl AsFd,
    temporary: &str,
    path: &Path,
    contents: &[u8],
) -> io::Result<()> {
    let existing = existing_permissions(path)?;
    let remove = || rustix::fs::unlinkat(&directory, temporary, AtFlags::empty());
    remove().ok();
    let write = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP | Mode::ROTH | Mode::WOTH;
        let mut file = File::from(rustix::fs::openat(&directory, temporary, flags, mode)?);
        write_and_sync(&mut file, contents, existing)?;
        Ok(rustix::fs::renameat(&directory, temporary, CWD, path)?)
    };
    write().inspect_err(|_| {
        remove().ok();
    })
}

/// Returns the directory of a path.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the permissions of the regular file at a path, if there is one. Fails if something else is there.
fn existing_permissions(path: &Path) -> io::Result<Option<Permissions>> {
    match fs::symlink_metadata(path) {
        Ok(existing) if existing.is_file() => Ok(Some(existing.permissions())),
        Ok(existing) if existing.is_symlink() => Err(is_symlink()),
        Ok(existing) if existing.is_dir() => Err(is_directory()),
        Ok(_) => Err(is_special()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_and_sync(file: &mut File, contents: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(contents)?;
    file.sync_all()
}

pub(crate) fn is_symlink() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is a symlink; replace it with a regular file")
}

pub(crate) fn is_special() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file; replace it with one")
}

fn is_directory() -> io::Error {
    io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; replace it with a regular file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn error(path: &Path, symlinks: Symlinks) -> String {
        read_project_file(path, 10, symlinks).unwrap_err().to_string()
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "0123456789").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();

        assert_eq!(read_project_file(&path("file"), 10, Symlinks::Refuse).unwrap(), b"0123456789");
        assert_eq!(read_project_file(&path("link"), 10, Symlinks::Follow).unwrap(), b"0123456789");
        assert!(error(&path("link"), Symlinks::Refuse).contains("it is a symlink"));
        for special in ["fifo", "zero", "socket"] {
            let said = error(&path(special), Symlinks::Follow);
            assert_eq!(said, "it is not a regular file; replace it with one", "{special}");
        }
        assert!(error(dir.path(), Symlinks::Follow).contains("is a directory"));
        fs::write(path("file"), "0123456789+").unwrap();
        assert!(error(&path("file"), Symlinks::Follow).contains("larger than 10 bytes"));
    }

    #[test]
    fn a_file_is_replaced_in_one_step_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        replace_project_file(&path("file"), b"one").unwrap();
        fs::set_permissions(path("file"), Permissions::from_mode(0o640)).unwrap();
        replace_project_file(&path("file"), b"two").unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"two");
        assert_eq!(fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);

        symlink("file", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), Mode::RWXU).unwrap();
        for name in ["link", "dangling", "fifo"] {
            replace_project_file(&path(name), b"three").unwrap_err();
        }
        assert_eq!(fs::read(path("file")).unwrap(), b"two");
        assert!(path("link").is_symlink() && !path("nowhere").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "no temporary file stays");
    }

    #[test]
    fn a_file_is_replaced_from_another_directory() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        let opened = File::open(other.path()).unwrap();
        let replace = |name: &str| replace_project_file_from(&opened, "new", &path(name), b"new");
        fs::write(path("file"), "old").unwrap();
        fs::set_permissions(path("file"), Permissions::from_mode(0o640)).unwrap();
        symlink("file", path("link")).unwrap();
        symlink(path("file"), other.path().join("new")).unwrap();
        assert!(replace("link").unwrap_err().to_string().contains("it is a symlink"));
        assert_eq!(fs::read(path("file")).unwrap(), b"old");
        replace("file").unwrap();
        replace("absent").unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        assert_eq!(fs::metadata(path("file")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read(path("absent")).unwrap(), b"new");
        replace("no/such").unwrap_err();
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "no temporary file stays");
    }
}
