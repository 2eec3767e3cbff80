//! Reads the user's files for SSH: configuration, known hosts and keys.
//!
//! A path may lead to a FIFO that blocks, or to a device without an end. So files are opened without waiting, and their size is
//! bounded.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The most bytes of a file. The keys of 10,000 hosts take less than a tenth of it.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a regular file. `/dev/null` counts as an empty file, because users name it instead of none.
///
/// # Errors
///
/// The file is missing, is not a regular file, is too large, or cannot be read. The error does not name the path.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // A socket cannot be opened.
        Err(Errno::NXIO) => return Err(is_special()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if is_null(&metadata) {
        return Ok(Vec::new());
    }
    if !metadata.is_file() {
        return Err(is_special());
    }
    // The size alone proves nothing: the file may grow, and files of /proc have none.
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_BYTES / 1024 / 1024)));
    }
    Ok(bytes)
}

/// Reads a regular file that is text.
///
/// # Errors
///
/// As [`read`], and where the file is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn is_null(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device()
        && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == metadata.rdev())
}

fn is_special() -> io::Error {
    io::Error::other("it is not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_and_the_null_device_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "text").unwrap();
        assert_eq!(read_text(&path("file")).unwrap(), "text");
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
        assert!(read(&path("missing")).is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        let made = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
        assert!(made.success());
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for special in [path("fifo"), path("socket"), "/dev/zero".into()] {
            let error = read(&special).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{}", special.display());
        }
        let large = File::create(path("large")).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&path("large")).unwrap_err().to_string(), "it is larger than 64 MiB");
    }
}
