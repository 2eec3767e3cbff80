//! Finds mount points below a path. Files of another file system are never moved or removed.

use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// The mount and device of a file. A bind mount has the device of its source, so the mount is compared too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MountIdentity {
    device: (u32, u32),
    /// `None` if the system does not provide it.
    mount: Option<u64>,
}

impl MountIdentity {
    /// Returns the identity of an open file.
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        let found = Self::at(&file, c"", AtFlags::EMPTY_PATH)?;
        Ok(Self { mount: found.mount.or_else(|| mount_of_descriptor(file)), ..found })
    }

    /// Returns the identity of an entry of a directory. Does not follow a link.
    fn of_entry(directory: impl AsFd, name: &CStr) -> io::Result<Self> {
        Self::at(directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    #[cfg(target_os = "linux")]
    fn at(directory: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<Self> {
        use rustix::fs::{StatxFlags, statx};
        match statx(&directory, name, flags | AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID) {
            Ok(stat) => {
                let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
                Ok(Self {
                    device: (stat.stx_dev_major, stat.stx_dev_minor),
                    mount: is_known.then_some(stat.stx_mnt_id),
                })
            }
            // Some sandboxes forbid the call.
            Err(Errno::NOSYS | Errno::PERM) => Self::without_mount(directory, name, flags),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn at(directory: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<Self> {
        Self::without_mount(directory, name, flags)
    }

    fn without_mount(directory: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<Self> {
        let stat = if name.is_empty() {
            rustix::fs::fstat(directory)?
        } else {
            rustix::fs::statat(directory, name, flags)?
        };
        let device = (rustix::fs::major(stat.st_dev as _), rustix::fs::minor(stat.st_dev as _));
        Ok(Self { device, mount: None })
    }
}

/// Returns the mount of an open file, for kernels before 5.8.
#[cfg(target_os = "linux")]
fn mount_of_descriptor(file: impl AsFd) -> Option<u64> {
    use std::os::fd::AsRawFd as _;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

#[cfg(not(target_os = "linux"))]
fn mount_of_descriptor(_file: impl AsFd) -> Option<u64> {
    None
}

/// Returns whether a rename between the two directories can succeed. A rename between two mounts of one file system
/// fails.
pub(super) fn same_mount(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(MountIdentity::of(fs::File::open(a)?)? == MountIdentity::of(fs::File::open(b)?)?)
}

/// Finds a mount point, or a directory on another device, at `path` or below it. Does not follow links.
///
/// In directories that this process cannot list, it finds only mounts in the system's table.
pub(super) fn mount_within(path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(Some(path.to_owned())) };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if let Some(mount) = listed_mount_within(parent, name) {
        return Ok(Some(mount));
    }
    let Some(directory) = open_directory(parent, OFlags::empty())? else { return Ok(None) };
    let outside = MountIdentity::of(&directory)?;
    let name = std::ffi::CString::new(name.as_bytes())?;
    let kind = match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if is_elsewhere(&directory, &name, kind, outside)? {
        return Ok(Some(path.to_owned()));
    }
    // One directory is open at a time, because a tree may be deeper than the limit of open files.
    let mut directories = if kind.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(path) = directories.pop() {
        let Some(directory) = open_directory(&path, OFlags::NOFOLLOW)? else { continue };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            let below = || path.join(OsStr::from_bytes(name.to_bytes()));
            if is_elsewhere(&directory, name, kind, outside)? {
                return Ok(Some(below()));
            }
            if kind.is_dir() {
                directories.push(below());
            }
        }
    }
    Ok(None)
}

/// Returns whether an entry of a directory is on another mount or device. The device counts for directories
/// only, because a file on an overlay may have the device of its layer.
fn is_elsewhere(
    directory: &OwnedFd,
    name: &CStr,
    kind: FileType,
    outside: MountIdentity,
) -> io::Result<bool> {
    let found = match MountIdentity::of_entry(directory, name) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_other_mount = found.mount.zip(outside.mount).is_some_and(|(found, outside)| found != outside);
    Ok(is_other_mount || (kind.is_dir() && found.device != outside.device))
}

/// Opens a directory. Returns `None` if this process may not open it, or if it is gone.
fn open_directory(path: &Path, flags: OFlags) -> io::Result<Option<OwnedFd>> {
    let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Finds the first mount at or below an entry of `parent` in the system's table. The table also covers
/// directories that this process cannot list.
fn listed_mount_within(parent: &Path, name: &OsStr) -> Option<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    let path = parent.canonicalize().ok()?.join(name);
    mount_points(&table).find(|point| point.starts_with(&path))
}

/// Returns the fifth field of each line, which is the mount point. Its blanks and backslashes are octal
/// escapes.
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    fields.map(|field| {
        let mut path = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some((&first, after)) = rest.split_first() {
            let escape = after.get(..3).filter(|_| first == b'\\').and_then(|digits| {
                let digits = std::str::from_utf8(digits).ok()?;
                u8::from_str_radix(digits, 8).ok()
            });
            path.push(escape.unwrap_or(first));
            rest = if escape.is_some() { &after[3..] } else { after };
        }
        PathBuf::from(OsString::from_vec(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let table = b"36 35 98:0 / /mnt/a\\040b\\134c rw,noatime - ext3 /dev/root rw\n37 36 0:5 /x /mnt/d rw - tmpfs t rw\nbad\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [Path::new("/mnt/a b\\c"), Path::new("/mnt/d")]);
    }

    #[test]
    fn a_tree_on_one_mount_has_no_mount_within() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        assert_eq!(mount_within(&path).unwrap(), None, "nothing is there");
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/f"), "").unwrap();
        std::os::unix::fs::symlink("/proc", path.join("a/link")).unwrap();
        assert_eq!(mount_within(&path).unwrap(), None);
        assert_eq!(mount_within(&path.join("a/f")).unwrap(), None);
        assert_eq!(mount_within(&path.join("a/link")).unwrap(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn mounts_are_found_by_the_table_and_without_it() {
        assert_eq!(listed_mount_within(Path::new("/"), OsStr::new("proc")), Some("/proc".into()));
        let root = open_directory(Path::new("/"), OFlags::empty()).unwrap().unwrap();
        let outside = MountIdentity::of(&root).unwrap();
        assert!(is_elsewhere(&root, c"proc", FileType::Directory, outside).unwrap());
        let proc_dir = open_directory(Path::new("/proc"), OFlags::empty()).unwrap().unwrap();
        assert_ne!(mount_of_descriptor(&proc_dir), mount_of_descriptor(&root));
        assert!(mount_of_descriptor(&root).is_some());
    }
}
