//! The only way in which an object gets its name.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_backend::{ErrorKind, Key, ObjectMeta, PutMode};
use larder_backend_files::naming::NamingOutcome;
use larder_backend_files::temporary_name::TemporaryName;
use larder_backend_files::{advice, layout};
use ssh2::OpenFlags;

use crate::connection::SftpConnection;
use crate::error::Trouble;
use crate::object::describe;
use crate::pool::Attempt;
use crate::root::FoundRoot;
use crate::sweep;
use crate::temporary::remove;

/// The number of attempts at something that other clients undo.
const ATTEMPTS: u32 = 100;

/// One of so many uploads also removes old temporaries of dead processes.
const SWEEP_ONE_OF: u32 = 16;

/// A temporary that will be published.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) root: Arc<FoundRoot>,
    pub(crate) key: Key,
    pub(crate) mode: PutMode,
    pub(crate) temporary: String,
    /// The number of bytes in the file.
    pub(crate) position: u64,
    /// The bytes that follow.
    pub(crate) rest: Bytes,
}

impl Publication {
    fn size(&self) -> u64 {
        self.position + self.rest.len() as u64
    }

    /// Publishes, durably and in one step. The order matters: the bytes are flushed to the server's disk, then the length is
    /// checked, then the file is closed, and only after all that succeeded does it get its name.
    pub(crate) fn publish(
        &self,
        connection: &SftpConnection,
        attempt: Attempt,
    ) -> Result<ObjectMeta, Trouble> {
        let flags = OpenFlags::READ | OpenFlags::WRITE;
        let finished = connection.with_file(&self.temporary, flags, 0o600, |file| {
            if !self.rest.is_empty() {
                file.write(self.position, &self.rest, || {})?;
            }
            file.sync()?;
            file.stat()
        });
        let stat = match finished {
            Ok(stat) => stat,
            Err(trouble) if trouble.is_absent() => {
                return match self.own(connection, attempt)? {
                    Some(meta) => Ok(meta),
                    None => Err(Trouble::new(ErrorKind::Other).with_source(advice::TEMPORARY_REMOVED)),
                };
            }
            Err(trouble) => return Err(trouble),
        };
        if stat.size != Some(self.size()) {
            let has = stat.size.unwrap_or_default();
            let source = advice::wrong_length(has, self.size());
            return Err(Trouble::new(ErrorKind::Integrity).with_source(source));
        }
        let modified = self.give_name(connection, attempt, stat.mtime.unwrap_or_default())?;
        if fastrand::u32(..SWEEP_ONE_OF) == 0 {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
            // The object is published. A later sweep removes what this one cannot.
            let _ = sweep::sweep_old(connection, &self.root, Some(now));
        }
        Ok(describe(self.key.clone(), self.size(), modified))
    }

    /// Looks for this upload's object, which an earlier attempt may have published without getting the answer.
    fn own(&self, connection: &SftpConnection, attempt: Attempt) -> Result<Option<ObjectMeta>, Trouble> {
        if !attempt.is_uncertain {
            return Ok(None);
        }
        match connection.lstat(&self.root.path_of(self.key.as_str())) {
            Ok(stat) if stat.is_file() && stat.size == Some(self.size()) => {
                Ok(Some(describe(self.key.clone(), self.size(), stat.mtime.unwrap_or_default())))
            }
            Ok(_) => Ok(None),
            Err(trouble) if trouble.is_absent() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Gives the file its name, and its time back.
    fn give_name(
        &self,
        connection: &SftpConnection,
        attempt: Attempt,
        mut modified: u64,
    ) -> Result<u64, Trouble> {
        let in_the_way = |hint: &str| Trouble::new(ErrorKind::Other).with_hint(hint);
        let path = self.root.path_of(self.key.as_str());
        let parent = layout::parent(&self.key);
        for _ in 0..ATTEMPTS {
            if !self.root.is_straight(connection, parent)? {
                self.root.make_parents(connection, &self.key)?;
                if !self.root.is_straight(connection, parent)? {
                    continue;
                }
            }
            let named = match self.mode {
                PutMode::CreateOnly => self.rename(connection, &path)?,
                PutMode::Overwrite => self.replace(connection, &path, &mut modified)?,
            };
            match named {
                NamingOutcome::Done => return Ok(modified),
                NamingOutcome::Again => {}
                NamingOutcome::Exists => {
                    let is_object = match connection.lstat(&path) {
                        Ok(stat) => stat.is_file(),
                        Err(trouble) if trouble.is_absent() => continue,
                        Err(trouble) => return Err(trouble),
                    };
                    if !is_object {
                        return Err(in_the_way(advice::NAME_IS_NO_OBJECT));
                    }
                    // A server that renames in two steps may have been interrupted between them.
                    return match self.own(connection, attempt)? {
                        Some(_) if self.is_gone(connection)? => Ok(modified),
                        _ => Err(Trouble::new(ErrorKind::AlreadyExists)),
                    };
                }
            }
        }
        Err(in_the_way("others remove the directories above it again and again"))
    }

    fn is_gone(&self, connection: &SftpConnection) -> Result<bool, Trouble> {
        match connection.lstat(&self.temporary) {
            Ok(_) => Ok(false),
            Err(trouble) if trouble.is_absent() => Ok(true),
            Err(trouble) => Err(trouble),
        }
    }

    /// Names the file if nothing has the name.
    fn rename(&self, connection: &SftpConnection, path: &str) -> Result<NamingOutcome, Trouble> {
        match connection.rename(&self.temporary, path) {
            Ok(()) => Ok(NamingOutcome::Done),
            Err(trouble) if trouble.is_broken || trouble.is_denied() => Err(trouble),
            Err(trouble) if trouble.is_absent() => {
                if self.is_gone(connection)? {
                    return Err(Trouble::new(ErrorKind::Other).with_source(advice::TEMPORARY_REMOVED));
                }
                Ok(NamingOutcome::Again)
            }
            // The server gives no reason.
            Err(trouble) => match connection.lstat(path) {
                Ok(_) => Ok(NamingOutcome::Exists),
                Err(other) if other.is_broken => Err(other),
                Err(_) => Err(trouble),
            },
        }
    }

    /// Names the file, and replaces what has the name. The old object is moved away first, because version 3 of SFTP cannot
    /// replace.
    fn replace(
        &self,
        connection: &SftpConnection,
        path: &str,
        modified: &mut u64,
    ) -> Result<NamingOutcome, Trouble> {
        let old = match connection.lstat(path) {
            Ok(old) if old.is_file() => old,
            Ok(_) => return Ok(NamingOutcome::Exists),
            Err(trouble) if trouble.is_absent() => {
                return Ok(match self.rename(connection, path)? {
                    NamingOutcome::Done => NamingOutcome::Done,
                    _ => NamingOutcome::Again,
                });
            }
            Err(trouble) => return Err(trouble),
        };
        // Times are in seconds, and two versions must not look the same.
        if old.size == Some(self.size()) && old.mtime == Some(*modified) {
            *modified += 1;
            connection.set_modified(&self.temporary, *modified)?;
        }
        let aside = self.root.temporary(TemporaryName::new());
        match connection.rename(path, &aside) {
            Ok(()) => {}
            Err(trouble) if trouble.is_absent() => return Ok(NamingOutcome::Again),
            Err(trouble) => return Err(trouble),
        }
        match self.rename(connection, path) {
            Ok(NamingOutcome::Done) => {
                // A sweep removes it otherwise.
                match connection.remove(&aside) {
                    Err(trouble) if trouble.is_broken => Err(trouble),
                    _ => Ok(NamingOutcome::Done),
                }
            }
            // Another overwrite was faster, and has replaced the object.
            Ok(_) => {
                remove(connection, &aside)?;
                Ok(NamingOutcome::Again)
            }
            Err(trouble) => {
                if !trouble.is_broken {
                    let _ = connection.rename(&aside, path);
                }
                Err(trouble)
            }
        }
    }
}
