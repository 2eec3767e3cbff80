//! Removes what dead processes left behind.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::is_absent;
use crate::get::modified;
use crate::root::{OWN_DIRECTORIES, RootDirectory};
use crate::temporary::{Lock, Maker, Temporary, is_same_file, lock, maker};

/// What nothing else is known of is dead when it was not written to for so long.
const DEAD_AFTER: Duration = Duration::from_hours(24);

/// Removes the temporaries whose owners are dead: of this host those that can be locked, of others, and where locks
/// are impossible or denied, those that are old. Files of other names are left alone.
///
/// What cannot be removed does not keep the others from it; the first such error comes back.
pub(crate) fn sweep(root: &RootDirectory) -> io::Result<()> {
    let directory = match root.descend(OWN_DIRECTORIES.into_iter()) {
        Ok(directory) => directory,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut clock = Clock { root, now: None };
    let mut first_error = None;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let Some(maker) = maker(name) else { continue };
        match sweep_one(&directory, name, maker, &mut clock) {
            // Somebody else sweeps too, or the owner ended.
            Err(error) if is_absent(&error) => {}
            Err(error) => first_error = first_error.or(Some(error)),
            Ok(()) => {}
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn sweep_one(directory: &OwnedFd, name: &str, maker: Maker, clock: &mut Clock<'_>) -> io::Result<()> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    // NFS locks a range of bytes in truth, which takes a descriptor that may write.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let dead = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            let dead = match lock(&file)? {
                Lock::HeldByAnother => false,
                Lock::Taken if maker == Maker::ThisHost => true,
                Lock::Taken | Lock::Impossible => clock.is_old(&stat)?,
            };
            // While the lock is held nobody can begin to use it.
            return if dead && is_same_file(directory, name, &file)? {
                remove(directory, name)
            } else {
                Ok(())
            };
        }
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => clock.is_old(&stat)?,
        Err(error) => return Err(error.into()),
    };
    match if dead { remove(directory, name) } else { Ok(()) } {
        // Neither ours nor to be removed by us: its owner's next command does.
        Err(error)
            if matches!(Errno::from_io_error(&error), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) =>
        {
            Ok(())
        }
        done => done,
    }
}

fn remove(directory: &OwnedFd, name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
}

/// The remote's clock, which on a share is not ours: the time of a file that was made there just now.
struct Clock<'a> {
    root: &'a RootDirectory,
    now: Option<SystemTime>,
}

impl Clock<'_> {
    fn is_old(&mut self, stat: &Stat) -> io::Result<bool> {
        let now = if let Some(now) = self.now {
            now
        } else {
            let probe = Temporary::create(self.root)?;
            *self.now.insert(modified(&rustix::fs::fstat(&probe.file)?))
        };
        Ok(now.duration_since(modified(stat)).is_ok_and(|age| age > DEAD_AFTER))
    }
}
