//! Write-protected directories that larder must move or remove.
//!
//! Users often run `chmod -R a-w` on results, and `pull --force` must be able to replace such a tree. Only
//! the modes of directories change here. A directory is opened without following a link, and changed through
//! its descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// An open directory. Its mode can be changed even after a rename.
pub(super) struct OpenDirectory(OwnedFd);

impl OpenDirectory {
    /// Opens a directory. Needs no permission on the directory itself.
    pub(super) fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<Self> {
        // Other systems cannot open a directory that its owner may not read. It stays as it is.
        #[cfg(target_os = "linux")]
        let access = OFlags::PATH;
        #[cfg(not(target_os = "linux"))]
        let access = OFlags::RDONLY;
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::empty()).map(Self)
    }

    fn mode(&self) -> rustix::io::Result<Mode> {
        Ok(Mode::from_raw_mode(rustix::fs::fstat(&self.0)?.st_mode))
    }

    #[cfg(target_os = "linux")]
    fn set_mode(&self, mode: Mode) -> rustix::io::Result<()> {
        use std::os::fd::AsRawFd as _;
        // `fchmod` refuses a descriptor opened with `O_PATH`. This link leads to the open directory even
        // after a rename.
        rustix::fs::chmod(format!("/proc/self/fd/{}", self.0.as_raw_fd()), mode)
    }

    #[cfg(not(target_os = "linux"))]
    fn set_mode(&self, mode: Mode) -> rustix::io::Result<()> {
        rustix::fs::fchmod(&self.0, mode)
    }

    /// Opens it for listing.
    pub(super) fn reopen(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, ".", flags, Mode::empty())
    }

    /// Gives the owner all permissions. Returns `None` if the owner already has them, or if the directory
    /// belongs to another user.
    pub(super) fn unprotect(&self) -> Option<Mode> {
        let mode = self.mode().ok()?;
        (!mode.contains(Mode::RWXU) && self.set_mode(mode | Mode::RWXU).is_ok()).then_some(mode)
    }
}

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A protected directory that is writable until this is dropped. If the process dies first, the directory
/// stays writable.
pub(super) struct Unprotected {
    directory: OpenDirectory,
    before: Mode,
}

impl Unprotected {
    /// Makes the directory writable. Returns `None` if it is not protected, or if its mode cannot be changed.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let directory = OpenDirectory::open(CWD, path).ok()?;
        let before = directory.unprotect()?;
        Some(Self { directory, before })
    }

    /// Gives the original mode to another directory, which takes the place of this one.
    pub(super) fn protect(&self, path: &Path) -> io::Result<()> {
        Ok(OpenDirectory::open(CWD, path)?.set_mode(self.before)?)
    }
}

impl Drop for Unprotected {
    fn drop(&mut self) {
        // This fails if the directory is gone.
        self.directory.set_mode(self.before).ok();
    }
}

/// Returns whether [`Unprotected`] may help against this error.
pub(super) fn is_protected(error: Errno) -> bool {
    error == Errno::ACCESS
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_link_to_a_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, link) = (dir.path().join("outside"), dir.path().join("link"));
        fs::create_dir(&outside).unwrap();
        set_mode(&outside, 0o500);
        symlink(&outside, &link).unwrap();
        assert!(Unprotected::new(&link).is_none());
        assert_eq!(mode(&outside), 0o500);
    }

    #[test]
    fn what_was_protected_is_protected_again_under_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::create_dir(&old).unwrap();
        set_mode(&old, 0o555);
        let unprotected = Unprotected::new(&old).unwrap();
        assert_eq!(mode(&old), 0o755);
        fs::rename(&old, &new).unwrap();
        fs::create_dir(&old).unwrap();
        set_mode(&old, 0o711);
        drop(unprotected);
        assert_eq!((mode(&new), mode(&old)), (0o555, 0o711));
        assert!(Unprotected::new(&old).is_none(), "there is nothing to be done");
    }
}
