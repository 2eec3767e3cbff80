//! Files that are being written, in `.larder/1/tmp`.
//!
//! A temporary is locked with `flock` while its owner lives. The lock ends with the process, so a process that can take it
//! knows that the owner is dead. The maker in the name is the host, because other hosts do not see the locks of some network
//! file systems.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use bytes::Bytes;
use larder_backend_files::layout::OWN_DIRECTORIES;
use larder_backend_files::temporary_name::TemporaryName;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::is_unsupported;
use crate::root::{RaceRetries, RootDirectory};

/// An unpublished file. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) directory: OwnedFd,
    pub(crate) name: String,
    pub(crate) file: File,
    /// How many bytes were written to it.
    pub(crate) written: u64,
    /// The name is gone: the file was published or removed.
    pub(crate) gone: bool,
}

impl Temporary {
    /// Makes and locks an empty file.
    pub(crate) fn create(root: &RootDirectory) -> io::Result<Self> {
        let mut retries = RaceRetries::default();
        loop {
            match Self::create_once(root) {
                Ok(Some(temporary)) => return Ok(temporary),
                Ok(None) => retries.again(Errno::AGAIN.into())?,
                Err(error) => retries.again(error)?,
            }
        }
    }

    /// Returns `None` if a sweep was faster than the lock.
    fn create_once(root: &RootDirectory) -> io::Result<Option<Self>> {
        let directory = root.make(&OWN_DIRECTORIES.into_iter())?;
        let name = TemporaryName::of_maker(*HOST).to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&directory, name.as_str(), flags, root.file_mode) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let temporary = Self { directory, name, file, written: 0, gone: false };
        // The umask may have removed bits that the team needs.
        if Mode::from_raw_mode(rustix::fs::fstat(&temporary.file)?.st_mode) != root.file_mode {
            rustix::fs::fchmod(&temporary.file, root.file_mode)?;
        }
        match lock(&temporary.file)? {
            // Without locks nobody sweeps by them either.
            Lock::Taken | Lock::Impossible => {}
            Lock::HeldByAnother => return Ok(None),
        }
        // A sweep may have found it before it was locked.
        Ok(temporary.is_in_place()?.then_some(temporary))
    }

    /// Whether the name still belongs to this file.
    fn is_in_place(&self) -> io::Result<bool> {
        is_same_file(&self.directory, &self.name, &self.file)
    }

    /// Writes at the end.
    pub(crate) fn write(&mut self, mut chunks: &[Bytes]) -> io::Result<()> {
        let mut skip = 0;
        while let Some(first) = chunks.first() {
            if skip == first.len() {
                (chunks, skip) = (&chunks[1..], 0);
                continue;
            }
            let rest = chunks[1..].iter().map(|chunk| IoSlice::new(chunk));
            let slices: Vec<IoSlice<'_>> =
                std::iter::once(IoSlice::new(&first[skip..])).chain(rest).collect();
            let mut count = match self.file.write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.written += count as u64;
            while let Some(first) = chunks.first()
                && count >= first.len() - skip
            {
                count -= first.len() - skip;
                (chunks, skip) = (&chunks[1..], 0);
            }
            skip += count;
        }
        Ok(())
    }

    /// Removes the file.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.gone = true;
        match rustix::fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A published file no longer has this name.
        if !self.gone {
            let _ = rustix::fs::unlinkat(&self.directory, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// Whether `name` in `directory` is the open `file`.
pub(crate) fn is_same_file(directory: &OwnedFd, name: &str, file: &File) -> io::Result<bool> {
    let there = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let ours = rustix::fs::fstat(file)?;
    Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino))
}

/// The outcome of an attempt to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// The lock holds until the file is closed.
    Taken,
    /// A living process has the lock.
    HeldByAnother,
    /// The file system has no locks.
    Impossible,
}

/// Tries to lock a file.
pub(crate) fn lock(file: &File) -> io::Result<Lock> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock::Taken),
        Err(Errno::WOULDBLOCK) => Ok(Lock::HeldByAnother),
        Err(error) if is_unsupported(error) || error == Errno::NOLCK => Ok(Lock::Impossible),
        Err(error) => Err(error.into()),
    }
}

/// The number of the host whose locks this process sees: the beginning of the boot id, because `flock` is certain within one
/// running kernel. Without a boot id it is a number of this process, and only age shows which files are dead.
static HOST: LazyLock<u64> = LazyLock::new(|| {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = boot.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    let host = u64::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 16);
    host.unwrap_or_else(|| TemporaryName::new().maker)
});

/// Where a temporary was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// On this host, whose locks are seen.
    ThisHost,
    /// On another host, or before this one was started.
    AnotherHost,
}

/// Reads the name of a temporary. Returns `None` for other names.
pub(crate) fn maker(name: &str) -> Option<Maker> {
    let host = TemporaryName::parse(name)?.maker;
    Some(if host == *HOST { Maker::ThisHost } else { Maker::AnotherHost })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_they_were_made() {
        assert_eq!(maker(&TemporaryName::of_maker(*HOST).to_string()), Some(Maker::ThisHost));
        assert_eq!(maker(&TemporaryName::of_maker(!*HOST).to_string()), Some(Maker::AnotherHost));
        assert_eq!(maker(".nfs0001"), None);
    }
}
