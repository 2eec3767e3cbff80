//! The clock of a file system.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::file::FileState;

/// The time that a file system gave to a file that was just touched on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystemTime {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
    /// The device of the file system.
    pub(super) device: u64,
}

/// The margin on file systems with coarse times, in seconds. FAT's times have a resolution of two seconds.
const COARSE_MARGIN: i64 = 2;

/// A time that no clock shows any more, in seconds: the beginning of 1980, the earliest that all file systems can store.
const PAST: i64 = 315_532_800;

impl FileSystemTime {
    /// Reads the clock of the file system of `directory`: touches a file there that has no name. Where files without a name
    /// are not supported, the file has a name for a moment if `may_name` allows it. Returns `None` if no file can be
    /// touched, or if the file system does not keep the times of status changes.
    pub(super) fn now(directory: impl AsFd, may_name: bool) -> Option<Self> {
        let directory = directory.as_fd();
        if loses_change_times(directory) {
            return None;
        }
        let file = match unnamed_file(directory) {
            Ok(file) => file,
            Err(_) if may_name => named_file(directory).ok()?,
            Err(_) => return None,
        };
        let past = Timespec { tv_sec: PAST, tv_nsec: 0 };
        rustix::fs::futimens(&file, &Timestamps { last_access: past, last_modification: past }).ok()?;
        let state = FileState::of_status(&rustix::fs::fstat(&file).ok()?);
        let (seconds, nanoseconds) = state.changed;
        // Some file systems report the time of modification as that of the status change.
        let keeps_change_times = state.changed > (PAST + 1, 0);
        keeps_change_times.then_some(Self { seconds, nanoseconds, device: state.device })
    }

    /// Returns whether a file in this state was last changed before this time. If its content is read after this time, a
    /// later change gives it another state.
    pub(super) fn is_after(&self, state: &FileState) -> bool {
        let is_coarse = self.nanoseconds == 0 || state.changed.1 == 0;
        let limit = (self.seconds - if is_coarse { COARSE_MARGIN } else { 0 }, self.nanoseconds);
        state.device == self.device && state.modified < limit && state.changed < limit
    }

    /// Returns whether the clock was set back since it showed `earlier`.
    pub(super) fn is_before(&self, earlier: (i64, i64)) -> bool {
        (self.seconds, self.nanoseconds) < earlier
    }
}

#[cfg(target_os = "linux")]
fn unnamed_file(directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, Mode::RUSR | Mode::WUSR)
}

#[cfg(not(target_os = "linux"))]
fn unnamed_file(_directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOTSUP)
}

/// Creates a file and removes its name.
fn named_file(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for attempt in 0..8 {
        let name = format!("tmp-{}-clock-{attempt}", std::process::id());
        match rustix::fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => {
                rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
                return Ok(file);
            }
            // Of another thread, or of a dead process.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Returns whether the file system forgets the times of status changes when it forgets an inode. FAT stores none, so a
/// program can set all times of a file.
#[cfg(target_os = "linux")]
fn loses_change_times(directory: BorrowedFd<'_>) -> bool {
    const FAT: u32 = 0x4d44;
    const EXFAT: u32 = 0x2011_bab0;
    rustix::fs::fstatfs(directory)
        .is_ok_and(|found| u32::try_from(found.f_type).is_ok_and(|kind| matches!(kind, FAT | EXFAT)))
}

#[cfg(not(target_os = "linux"))]
fn loses_change_times(_directory: BorrowedFd<'_>) -> bool {
    false
}
