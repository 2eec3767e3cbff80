//! Locks of outputs, so that only one command at a time changes an output.
//!
//! A command holds an exclusive lock on each of its outputs, and a shared lock on each directory above them. So a command
//! that makes `models/en` excludes one that makes `models`. A lock is an `flock` of a file in `.larder/locks`. These files
//! are never removed, because another process may be about to lock them.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use larder_hashing::{OutputPath, encode_file_name};
use rustix::io::{FdFlags, fcntl_setfd};

use super::directory::{LOCKS, StateDirectory};
use super::lock_file::{Holder, note_holder, read_holder};
use super::process_identity::{ProcessIdentity, has_inherited};
use super::waiting::WaitNote;
use crate::error::{Error, Result};

/// Keeps other commands away from some outputs until it is dropped.
#[derive(Debug)]
pub struct OutputGuard(#[expect(dead_code, reason = "holds the locks")] pub(crate) Option<Arc<OutputLocks>>);

/// The locks of some outputs. Dropping them releases them.
#[derive(Debug, Default)]
pub(crate) struct OutputLocks {
    held: Vec<HeldLock>,
    /// Whether the file system lets two holders have one exclusive lock.
    is_void: bool,
}

#[derive(Debug)]
struct HeldLock {
    file: File,
    path: String,
    kind: LockKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LockKind {
    Exclusive,
    Shared,
}

/// The result of one attempt to lock.
#[derive(Debug)]
pub(crate) enum LockAttempt {
    Locked(OutputLocks),
    /// Another process holds a lock.
    Busy(BusyLock),
}

/// A lock that another process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BusyLock {
    /// The output, or the directory above outputs.
    pub(crate) path: String,
    /// The larder process that locked it, if the lock file names one.
    pub(crate) holder: Option<u32>,
    /// Whether that process has ended, so that the command that it started holds the lock.
    pub(crate) is_orphaned: bool,
}

/// A set of locks that is being acquired, in the order of the paths. The order excludes deadlocks.
#[derive(Debug)]
pub(crate) struct LockRequest {
    directory: StateDirectory,
    /// The locks that are still to be acquired, the next one last.
    open: Vec<(String, LockKind)>,
    locks: OutputLocks,
    waiting: Option<WaitNote>,
}

impl LockRequest {
    /// Prepares the locks of `outputs`. Creates the directory of the lock files.
    pub(super) fn new(root: &Path, outputs: &[OutputPath]) -> Result<Self> {
        let directory = StateDirectory::create(root, &LOCKS)?;
        let mut kinds: BTreeMap<String, LockKind> = BTreeMap::new();
        for output in outputs {
            let path = output.as_str();
            for (end, _) in path.match_indices('/') {
                kinds.entry(path[..end].to_owned()).or_insert(LockKind::Shared);
            }
            kinds.insert(path.to_owned(), LockKind::Exclusive);
        }
        let open = kinds.into_iter().rev().collect();
        Ok(Self { directory, open, locks: OutputLocks::default(), waiting: None })
    }

    /// Acquires locks like [`LockRequest::attempt`], for a caller that waits until it has all of them.
    ///
    /// # Errors
    ///
    /// [`Error::HeldByAncestor`]; [`Error::WaitsForItself`]: the holder of the lock waits for this process.
    pub(crate) fn attempt_to_wait(&mut self, root: &Path) -> Result<LockAttempt> {
        let attempt = self.attempt()?;
        let LockAttempt::Busy(BusyLock { path, .. }) = &attempt else {
            self.waiting = None;
            return Ok(attempt);
        };
        if self.waiting.as_ref().is_none_or(|waiting| waiting.path() != path) {
            // The old note has the same name as the new one.
            self.waiting = None;
            self.waiting = WaitNote::new(root, path);
        }
        match &self.waiting {
            Some(waiting) if waiting.closes_a_circle(&self.directory)? => {
                Err(Error::WaitsForItself { path: path.clone() })
            }
            _ => Ok(attempt),
        }
    }

    /// Acquires locks until all are held or another process holds one. Call it again after [`LockAttempt::Busy`].
    ///
    /// # Errors
    ///
    /// [`Error::HeldByAncestor`]: a process that waits for this one holds the lock.
    pub(crate) fn attempt(&mut self) -> Result<LockAttempt> {
        while let Some((path, kind)) = self.open.last().cloned() {
            let name = encode_file_name(&path);
            let io_error = |error: io::Error| Error::io("lock", self.directory.path().join(&name))(error);
            let file = self.directory.open_for_lock(&name).map_err(io_error)?;
            let locked = match kind {
                LockKind::Exclusive => file.try_lock(),
                LockKind::Shared => file.try_lock_shared(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return self.busy(path, kind, &file).map(LockAttempt::Busy),
                Err(TryLockError::Error(error)) => return Err(io_error(error)),
            }
            if kind == LockKind::Exclusive {
                // Some network file systems grant every lock. A second descriptor shows that.
                let second = self.directory.open_for_lock(&name).map_err(io_error)?;
                self.locks.is_void |= second.try_lock().is_ok();
                note_holder(&file, &path);
            }
            self.locks.held.push(HeldLock { file, path, kind });
            self.open.pop();
        }
        Ok(LockAttempt::Locked(std::mem::take(&mut self.locks)))
    }

    fn busy(&self, path: String, kind: LockKind, file: &File) -> Result<BusyLock> {
        // If an outer larder was killed, its command holds the lock and is not noted. Its descendants have inherited it.
        if has_inherited(file) {
            return Err(Error::HeldByAncestor { path });
        }
        let mut holder = read_holder(file).map(|holder| holder.process);
        if kind == LockKind::Exclusive && holder.as_ref().is_none_or(|holder| !holder.is_ancestor()) {
            // The lock may be shared: its holders are named in the files of the outputs below the path.
            holder = self.ancestor_below(&path)?.or(holder);
        }
        match holder {
            Some(holder) if holder.is_ancestor() => Err(Error::HeldByAncestor { path }),
            holder => Ok(BusyLock {
                path,
                is_orphaned: holder.is_some_and(|holder| !holder.is_running()),
                holder: holder.map(|holder| holder.id()),
            }),
        }
    }

    /// Returns an ancestor of this process that holds an output below a path.
    fn ancestor_below(&self, path: &str) -> Result<Option<ProcessIdentity>> {
        for name in self.directory.names()? {
            let Some(name) = name.to_str() else { continue };
            let Ok(file) = self.directory.open_for_lock(name) else { continue };
            let Some(Holder { process, path: held }) = read_holder(&file) else { continue };
            let is_below = held.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
            if is_below && process.is_ancestor() {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }
}

impl OutputLocks {
    /// Returns whether these locks protect all of the outputs.
    pub(super) fn cover<'a>(&self, outputs: impl IntoIterator<Item = &'a str>) -> bool {
        let is_held =
            |path: &str| self.held.iter().any(|held| held.path == path && held.kind == LockKind::Exclusive);
        outputs.into_iter().all(is_held)
    }

    /// Returns whether one of the outputs is, contains, or lies inside one that these locks protect.
    pub(super) fn overlap<'a>(&self, outputs: impl IntoIterator<Item = &'a str>) -> bool {
        let is_inside = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let exclusive = || self.held.iter().filter(|held| held.kind == LockKind::Exclusive);
        outputs.into_iter().any(|output| {
            exclusive().any(|held| is_inside(output, &held.path) || is_inside(&held.path, output))
        })
    }

    /// Returns whether the file system grants every lock, so that these protect nothing.
    pub(crate) fn are_void(&self) -> bool {
        self.is_void
    }

    /// Lets the processes that this one starts inherit the locks, or ends that. They then hold the locks as well, even if
    /// this process is killed.
    pub(crate) fn set_inherited(&self, inherited: bool) -> io::Result<()> {
        let flags = if inherited { FdFlags::empty() } else { FdFlags::CLOEXEC };
        self.held.iter().try_for_each(|held| Ok(fcntl_setfd(&held.file, flags)?))
    }
}

impl Drop for OutputLocks {
    fn drop(&mut self) {
        for held in &self.held {
            // A process that inherited the descriptor may live on, so closing it is not enough.
            held.file.unlock().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(paths: &[&str]) -> Vec<OutputPath> {
        paths.iter().map(|path| OutputPath::new(path).unwrap()).collect()
    }

    fn try_lock(dir: &tempfile::TempDir, paths: &[&str]) -> Result<LockAttempt> {
        LockRequest::new(dir.path(), &outputs(paths)).and_then(|mut request| request.attempt())
    }

    fn locked(dir: &tempfile::TempDir, paths: &[&str]) -> OutputLocks {
        match try_lock(dir, paths).unwrap() {
            LockAttempt::Locked(locks) => locks,
            LockAttempt::Busy(busy) => panic!("{busy:?}"),
        }
    }

    fn busy(dir: &tempfile::TempDir, paths: &[&str]) -> BusyLock {
        match try_lock(dir, paths).unwrap() {
            LockAttempt::Busy(busy) => busy,
            LockAttempt::Locked(locks) => panic!("{locks:?}"),
        }
    }

    #[test]
    fn an_output_excludes_itself_and_what_is_above_and_below() {
        let dir = tempfile::tempdir().unwrap();
        let held = locked(&dir, &["a/b", "c"]);
        assert!(!held.are_void() && held.cover(["a/b", "c"]) && !held.cover(["a"]));
        for (other, overlaps) in [("a", true), ("a/b/c", true), ("c", true), ("a/bc", false), ("d", false)] {
            assert_eq!(held.overlap([other]), overlaps, "{other}");
        }
        for (taken, at) in [("a/b", "a/b"), ("a", "a"), ("a/b/c", "a/b"), ("c", "c")] {
            let found = busy(&dir, &[taken]);
            assert_eq!(found.path, at);
        }
        let other = locked(&dir, &["a/other", "ab", "d"]);
        drop(held);
        assert_eq!(busy(&dir, &["a"]).path, "a", "the other still holds an output below it");
        drop(other);
        locked(&dir, &["a"]);
    }

    #[test]
    fn a_request_goes_on_where_it_was_busy() {
        let dir = tempfile::tempdir().unwrap();
        let held = locked(&dir, &["b"]);
        let mut request = LockRequest::new(dir.path(), &outputs(&["b", "a"])).unwrap();
        assert!(
            matches!(request.attempt().unwrap(), LockAttempt::Busy(BusyLock { path, .. }) if path == "b")
        );
        assert_eq!(busy(&dir, &["a"]).path, "a", "the request holds the first lock");
        drop(held);
        assert!(matches!(request.attempt().unwrap(), LockAttempt::Locked(locks) if locks.cover(["a", "b"])));
    }

    #[test]
    fn the_holder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let _held = locked(&dir, &["with a space/b"]);
        let found = busy(&dir, &["with a space/b"]);
        let own = cfg!(target_os = "linux").then(std::process::id);
        assert_eq!(found.holder, own);
    }

    #[test]
    fn long_paths_have_short_names() {
        let dir = tempfile::tempdir().unwrap();
        let long = ["d/"; 400].concat() + "x";
        let _held = locked(&dir, &[&long]);
        assert_eq!(busy(&dir, &[&long]).path, long);
    }

    #[test]
    fn a_symlink_in_the_place_of_a_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        locked(&dir, &["a"]);
        std::fs::remove_file(dir.path().join(".larder/locks/a")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join(".larder/locks/a")).unwrap();
        assert!(matches!(try_lock(&dir, &["a"]), Err(Error::Io { .. })));
    }
}
