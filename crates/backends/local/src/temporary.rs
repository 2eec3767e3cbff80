//! Files that are being written, in `.larder/1/tmp`.
//!
//! A temporary is locked with `flock` while its owner lives: the lock ends with the process, however it ends, and
//! whoever can take it knows that the owner is dead. Its name says on which host it was made, because on some network
//! file systems locks are not seen by other hosts: `put-<host>-<unique>`, both 16 hexadecimal digits.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::is_unsupported;
use crate::root::{OWN_DIRECTORIES, Patience, RootDirectory};

/// A file under a name of its own, removed when it is dropped.
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
        let mut patience = Patience::default();
        loop {
            match Self::create_once(root) {
                Ok(Some(temporary)) => return Ok(temporary),
                Ok(None) => patience.again(Errno::AGAIN.into())?,
                Err(error) => patience.again(error)?,
            }
        }
    }

    /// `None` where a sweep was faster than the lock.
    fn create_once(root: &RootDirectory) -> io::Result<Option<Self>> {
        let directory = root.make(&OWN_DIRECTORIES.into_iter())?;
        let name = unique_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&directory, name.as_str(), flags, root.file_mode) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let temporary = Self { directory, name, file, written: 0, gone: false };
        // The umask has had its say: the team has the last word.
        if Mode::from_raw_mode(rustix::fs::fstat(&temporary.file)?.st_mode) != root.file_mode {
            rustix::fs::fchmod(&temporary.file, root.file_mode)?;
        }
        match lock(&temporary.file)? {
            // Where there are no locks at all, nobody sweeps by them either.
            Lock::Taken | Lock::Impossible => {}
            Lock::HeldByAnother => return Ok(None),
        }
        // Between making and locking it, a sweep may have found it unlocked.
        Ok(temporary.is_in_place()?.then_some(temporary))
    }

    /// Whether the name still is this file.
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
        // Only while the name is ours: it is unique, but what a sweep removed is not ours to remove again.
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

/// What became of an attempt to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It is ours until the file is closed.
    Taken,
    /// Somebody alive has it.
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

/// The host whose locks this process sees, as 16 hexadecimal digits.
///
/// The boot id is that of the running kernel, which is where `flock` is certain. Where there is none, a number of this
/// process: then only age tells what is dead.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = boot.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    if digits.len() == 16 { digits.to_ascii_lowercase() } else { random_digits() }
});

/// Enough randomness for a name: the names of a directory are exclusive anyway.
fn random_digits() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let unique = (std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    format!("{:016x}", RandomState::new().hash_one(unique))
}

fn unique_name() -> String {
    format!("put-{}-{}", *HOST, random_digits())
}

/// Whose a file in the directory of temporaries is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// A process whose locks are seen here.
    ThisHost,
    /// A process elsewhere, or before the machine was started anew.
    AnotherHost,
}

/// Reads the name of a temporary. `None` for what is not one of ours.
pub(crate) fn maker(name: &str) -> Option<Maker> {
    let (host, unique) = name.strip_prefix("put-")?.split_once('-')?;
    let digits = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits(host) && digits(unique)).then(|| if host == *HOST { Maker::ThisHost } else { Maker::AnotherHost })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_they_were_made() {
        let name = unique_name();
        assert_eq!(maker(&name), Some(Maker::ThisHost));
        assert_ne!(name, unique_name());
        assert_eq!(maker("put-ffffffffffffffff-0000000000000000"), Some(Maker::AnotherHost));
        for foreign in
            ["put", "put-", "x", "put-12-34", &format!("{name}0"), &format!("{name}-x"), ".nfs0001"]
        {
            assert_eq!(maker(foreign), None, "{foreign}");
        }
    }
}
