//! Directories that their owner has protected from writing, where larder has to move or remove them all the same.
//!
//! `chmod -R a-w` on results is common. Who pulls over them with force has asked for their replacement, and must not be
//! left with a tree that can neither be moved nor removed. Only directories ever get another mode here: they are opened
//! without following a link, and changed through what was opened.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A directory whose mode can be changed, whatever its name is meanwhile.
struct Directory(OwnedFd);

impl Directory {
    /// Opens a directory, of which no more than its name need be accessible.
    fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<Self> {
        // Elsewhere what its owner may not even read cannot be opened, and stays.
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
        // `fchmod` refuses what was opened as a path only. This link leads to the open directory, not to a name.
        rustix::fs::chmod(format!("/proc/self/fd/{}", self.0.as_raw_fd()), mode)
    }

    #[cfg(not(target_os = "linux"))]
    fn set_mode(&self, mode: Mode) -> rustix::io::Result<()> {
        rustix::fs::fchmod(&self.0, mode)
    }

    /// Lets the owner do everything with it. `None` where that was so, or it is somebody else's.
    fn unprotect(&self) -> Option<Mode> {
        let mode = self.mode().ok()?;
        (!mode.contains(Mode::RWXU) && self.set_mode(mode | Mode::RWXU).is_ok()).then_some(mode)
    }
}

/// A directory that was protected, and is not while this lives. A process that dies meanwhile leaves it so.
pub(super) struct Unprotected {
    directory: Directory,
    before: Mode,
}

impl Unprotected {
    /// `None` where there is nothing to be done, or nothing that can be done.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let directory = Directory::open(CWD, path).ok()?;
        let before = directory.unprotect()?;
        Some(Self { directory, before })
    }

    /// Protects another directory like this one: the one that takes its place.
    pub(super) fn protect(&self, path: &Path) -> io::Result<()> {
        Ok(Directory::open(CWD, path)?.set_mode(self.before)?)
    }
}

impl Drop for Unprotected {
    fn drop(&mut self) {
        // It may be gone by now.
        self.directory.set_mode(self.before).ok();
    }
}

/// Removes a file, a link or a tree, with all that is protected in it. What is not there is a success.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if let Ok(directory) = Directory::open(CWD, path) {
                    unprotect_all(&directory);
                }
                // What is somebody else's is still in the way, and this says where it is not ours to mend.
                fs::remove_dir_all(path)
            }
            removed => removed,
        },
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Unprotects a directory and those below it, as far as they are ours: removing them tells where they are not.
fn unprotect_all(directory: &Directory) {
    directory.unprotect();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&directory.0, ".", flags, Mode::empty());
    let Ok(entries) = opened.and_then(Dir::new) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        // Some file systems do not tell the type: opening does.
        let may_be_dir = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if may_be_dir
            && !matches!(name.to_bytes(), b"." | b"..")
            && let Ok(child) = Directory::open(&directory.0, name)
        {
            unprotect_all(&child);
        }
    }
}

/// Whether something was refused that [`Unprotected`] may make possible.
pub(super) fn is_protected(error: Errno) -> bool {
    error == Errno::ACCESS
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_and_links_are_removed_and_what_is_absent_is_a_success() {
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
    }

    /// As root too, who is never refused and so does not come here by [`remove`].
    #[test]
    fn nothing_outside_gets_another_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, tree.join("a/b/link")).unwrap();
        symlink(&outside, dir.path().join("link")).unwrap();
        fs::write(tree.join("a/file"), "").unwrap();
        set_mode(&tree.join("a/file"), 0o400);
        set_mode(&outside, 0o500);
        set_mode(&tree.join("a/b"), 0);
        set_mode(&tree.join("a"), 0o555);
        set_mode(&tree, 0o100);
        assert!(Unprotected::new(&dir.path().join("link")).is_none());
        unprotect_all(&Directory::open(CWD, &tree).unwrap());
        let modes = [&tree, &tree.join("a"), &tree.join("a/b"), &tree.join("a/file"), &outside]
            .map(|path| mode(path));
        assert_eq!(modes, [0o700, 0o755, 0o700, 0o400, 0o500]);
        remove(&tree).unwrap();
        assert!(!tree.exists());
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
