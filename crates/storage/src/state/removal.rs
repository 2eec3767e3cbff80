//! Removes larder's own trees, including protected directories. Never crosses a mount point.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mounts::MountIdentity;
use super::protected::OpenDirectory;

/// The maximum depth of a tree. Each level takes an open file and some stack space.
const MAX_DEPTH: usize = 512;

/// Removes a file, a link or a tree, including protected directories. Succeeds if the path does not exist.
///
/// # Errors
///
/// A directory is a mount point or on another device, so it and its contents stay. The file system refuses
/// the removal.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => remove_entry(parent.as_fd(), &CString::new(name.as_bytes())?, path),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes an entry of a directory in the same way. The path is for messages.
pub(super) fn remove_entry(parent: BorrowedFd<'_>, name: &CStr, path: &Path) -> io::Result<()> {
    let mount = MountIdentity::of(parent)?;
    Removal { mount }.entry(parent, name, FileType::Unknown, path, 0)
}

struct Removal {
    /// The mount and device that everything must be on.
    mount: MountIdentity,
}

impl Removal {
    fn entry(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        path: &Path,
        depth: usize,
    ) -> io::Result<()> {
        if !kind.is_dir() {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // The entry is a directory. Linux returns the first error, other systems the second.
                Err(error @ (Errno::ISDIR | Errno::PERM)) => {
                    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if !FileType::from_raw_mode(stat.st_mode).is_dir() {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        if depth >= MAX_DEPTH {
            return Err(io::Error::other(format!("{} is too deep", path.display())));
        }
        match self.directory(parent, name, path, depth) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn directory(&self, parent: BorrowedFd<'_>, name: &CStr, path: &Path, depth: usize) -> io::Result<()> {
        let directory = OpenDirectory::open(parent, name)?;
        if MountIdentity::of(&directory)? != self.mount {
            let text = format!("{} is a mount point or on another device", path.display());
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, text));
        }
        // If it belongs to another user, the removal of its entries fails below.
        directory.unprotect();
        let mut entries = Dir::new(directory.reopen()?)?;
        drop(directory);
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                let path = path.join(OsStr::from_bytes(name.to_bytes()));
                self.entry(entries.fd()?, name, entry.file_type(), &path, depth + 1)?;
            }
        }
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn files_and_links_are_removed_and_an_absent_path_is_a_success() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, kept) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("kept"));
        fs::write(&file, "").unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("f"), "").unwrap();
        symlink(&kept, &link).unwrap();
        for path in [&file, &link, &file] {
            remove(path).unwrap();
            assert!(fs::symlink_metadata(path).is_err());
        }
        assert!(kept.join("f").exists());
        remove(&dir.path().join("absent/below")).unwrap();
    }

    #[test]
    fn trees_are_removed_with_protected_directories_and_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "").unwrap();
        fs::write(tree.join("a/b/f"), "").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        for (path, mode) in [("a/b", 0), ("a", 0o555), ("", 0o100)] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists() && outside.join("f").exists());
    }

    #[test]
    fn a_tree_that_is_too_deep_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut deepest = std::os::fd::OwnedFd::from(fs::File::open(dir.path()).unwrap());
        for _ in 0..=MAX_DEPTH {
            rustix::fs::mkdirat(&deepest, "d", Mode::RWXU).unwrap();
            deepest = rustix::fs::openat(&deepest, "d", OFlags::RDONLY, Mode::empty()).unwrap();
        }
        remove(&dir.path().join("d")).unwrap_err();
    }
}
