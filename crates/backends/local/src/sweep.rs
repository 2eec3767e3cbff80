//! Removes the temporaries of dead processes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use larder_backend_files::layout::OWN_DIRECTORIES;
use larder_backend_files::temporary_name::is_dead;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::is_absent;
use crate::object::modified;
use crate::root::RootDirectory;
use crate::temporary::{Lock, Maker, Temporary, is_same_file, lock, maker};

/// Removes the temporaries whose owners are dead. Those of this host are dead if they can be locked. Those of other hosts, and
/// those that cannot be locked at all, are dead if they are old. Files of other names stay.
///
/// A file that cannot be removed does not end the sweep. The first such error is returned.
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
            // Another sweep, or its owner, has removed it.
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
    // NFS locks a range of bytes instead, for which it needs a writable descriptor.
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
        // The next command of its owner removes it.
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

/// The clock of the remote, which on a share is another machine's: the time of a file that was just made there.
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
        Ok(is_dead(modified(stat), now))
    }
}
