//! Files that larder reads and writes in a project.
//!
//! A checkout or an archive can replace them with a FIFO that blocks, an endless device, or a symlink out of
//! the project. So these functions open a file without blocking, check its type, and limit its size.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
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
    let existing = match fs::symlink_metadata(path) {
        Ok(existing) if existing.is_file() => Some(existing),
        Ok(existing) if existing.is_symlink() => return Err(is_symlink()),
        Ok(existing) if existing.is_dir() => return Err(is_directory()),
        Ok(_) => return Err(is_special()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push("-");
    let mut file = tempfile::Builder::new()
        .prefix(&prefix)
        // The umask still applies. By default, a temporary file is private.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    if let Some(existing) = existing {
        file.as_file().set_permissions(existing.permissions())?;
    }
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
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
}
