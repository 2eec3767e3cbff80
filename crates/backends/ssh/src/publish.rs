//! The one way in which an object gets its name.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use larder_backend::{ErrorKind, Key, ObjectMeta, PutMode};
use ssh2::OpenFlags;

use crate::connection::Connection;
use crate::error::Trouble;
use crate::get::describe;
use crate::pool::Attempt;
use crate::root::Root;
use crate::sweep;

/// How often something is tried again that others were faster with.
const ATTEMPTS: u32 = 100;

/// One upload of so many also looks for what uploads of dead processes left behind.
const SWEEP_ONE_OF: u32 = 16;

/// A name for a temporary.
pub(crate) fn unique_name() -> String {
    format!("put-{:016x}-{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// Whether a name is that of a temporary.
pub(crate) fn is_unique_name(name: &str) -> bool {
    let digits = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = name.strip_prefix("put-").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(first, second)| digits(first) && digits(second))
}

/// Makes an empty temporary. Its name is nobody else's: doing it twice does no harm.
pub(crate) fn create(connection: &Connection, root: &Root, path: &str) -> Result<(), Trouble> {
    let make = || {
        connection.with_file(path, OpenFlags::WRITE | OpenFlags::CREATE, root.file_mode, |file| {
            // The server's umask has had its say: the team has the last word.
            file.set_mode(root.file_mode)
        })
    };
    match make() {
        Err(trouble) if trouble.is_absent() => {
            root.make_own(connection)?;
            make()
        }
        done => done,
    }
}

/// Removes a file that may be gone.
pub(crate) fn remove(connection: &Connection, path: &str) -> Result<(), Trouble> {
    match connection.remove(path) {
        Err(trouble) if !trouble.is_absent() => Err(trouble),
        _ => Ok(()),
    }
}

/// A temporary that is to be published.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) root: Arc<Root>,
    pub(crate) key: Key,
    pub(crate) mode: PutMode,
    pub(crate) temporary: String,
    /// How many bytes are in the file, and what comes behind them.
    pub(crate) position: u64,
    pub(crate) rest: Bytes,
}

/// What stands under the name.
enum Placed {
    Done,
    Exists,
    /// Something was met that is gone: the next attempt meets something else.
    Again,
}

impl Publication {
    fn size(&self) -> u64 {
        self.position + self.rest.len() as u64
    }

    /// Publishes, durably and in one step. The order matters: what was written is on the server's disk before its length
    /// is looked at, the file is closed with a look at the answer, and only then does it get its name.
    pub(crate) fn publish(&self, connection: &Connection, attempt: Attempt) -> Result<ObjectMeta, Trouble> {
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
                    None => Err(Trouble::new(ErrorKind::Other)
                        .with_source("somebody removed the temporary file of this upload")),
                };
            }
            Err(trouble) => return Err(trouble),
        };
        if stat.size != Some(self.size()) {
            let has = stat.size.unwrap_or_default();
            let source = format!("the temporary file has {has} bytes, and {} were written", self.size());
            return Err(Trouble::new(ErrorKind::Integrity).with_source(source));
        }
        let modified = self.give_name(connection, attempt, stat.mtime.unwrap_or_default())?;
        if fastrand::u32(..SWEEP_ONE_OF) == 0 {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
            // The object is published: what else goes wrong is the next one's.
            let _ = sweep::sweep_old(connection, &self.root, Some(now));
        }
        Ok(describe(self.key.clone(), self.size(), modified))
    }

    /// The object, where an earlier attempt published it and its answer was lost.
    fn own(&self, connection: &Connection, attempt: Attempt) -> Result<Option<ObjectMeta>, Trouble> {
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
        connection: &Connection,
        attempt: Attempt,
        mut modified: u64,
    ) -> Result<u64, Trouble> {
        let in_the_way = |hint: &str| Trouble::new(ErrorKind::Other).with_hint(hint);
        let path = self.root.path_of(self.key.as_str());
        let parent = self.key.as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
        for _ in 0..ATTEMPTS {
            if !self.root.is_straight(connection, parent)? {
                self.root.make_parents(connection, &self.key)?;
                if !self.root.is_straight(connection, parent)? {
                    continue;
                }
            }
            let placed = match self.mode {
                PutMode::CreateOnly => self.rename(connection, &path)?,
                PutMode::Overwrite => self.replace(connection, &path, &mut modified)?,
            };
            match placed {
                Placed::Done => return Ok(modified),
                Placed::Again => {}
                Placed::Exists => {
                    let is_object = match connection.lstat(&path) {
                        Ok(stat) => stat.is_file(),
                        Err(trouble) if trouble.is_absent() => continue,
                        Err(trouble) => return Err(trouble),
                    };
                    if !is_object {
                        return Err(in_the_way("what has this name is not a regular file: remove it"));
                    }
                    // A rename that is two steps on the server may have been cut in between.
                    return match self.own(connection, attempt)? {
                        Some(_) if self.is_gone(connection)? => Ok(modified),
                        _ => Err(Trouble::new(ErrorKind::AlreadyExists)),
                    };
                }
            }
        }
        Err(in_the_way("others remove the directories above it again and again"))
    }

    fn is_gone(&self, connection: &Connection) -> Result<bool, Trouble> {
        match connection.lstat(&self.temporary) {
            Ok(_) => Ok(false),
            Err(trouble) if trouble.is_absent() => Ok(true),
            Err(trouble) => Err(trouble),
        }
    }

    /// Names the file where nothing has the name.
    fn rename(&self, connection: &Connection, path: &str) -> Result<Placed, Trouble> {
        match connection.rename(&self.temporary, path) {
            Ok(()) => Ok(Placed::Done),
            Err(trouble) if trouble.is_broken || trouble.is_denied() => Err(trouble),
            Err(trouble) if trouble.is_absent() => {
                if self.is_gone(connection)? {
                    return Err(Trouble::new(ErrorKind::Other)
                        .with_source("somebody removed the temporary file of this upload"));
                }
                Ok(Placed::Again)
            }
            // The server says no more than that.
            Err(trouble) => match connection.lstat(path) {
                Ok(_) => Ok(Placed::Exists),
                Err(other) if other.is_broken => Err(other),
                Err(_) => Err(trouble),
            },
        }
    }

    /// Names the file, whatever has the name: the old object is moved aside, because version 3 of SFTP cannot replace.
    fn replace(&self, connection: &Connection, path: &str, modified: &mut u64) -> Result<Placed, Trouble> {
        let old = match connection.lstat(path) {
            Ok(old) if old.is_file() => old,
            Ok(_) => return Ok(Placed::Exists),
            Err(trouble) if trouble.is_absent() => {
                return Ok(match self.rename(connection, path)? {
                    Placed::Done => Placed::Done,
                    _ => Placed::Again,
                });
            }
            Err(trouble) => return Err(trouble),
        };
        // Times are in seconds, and two versions must not look the same.
        if old.size == Some(self.size()) && old.mtime == Some(*modified) {
            *modified += 1;
            connection.set_modified(&self.temporary, *modified)?;
        }
        let aside = self.root.temporary(&unique_name());
        match connection.rename(path, &aside) {
            Ok(()) => {}
            Err(trouble) if trouble.is_absent() => return Ok(Placed::Again),
            Err(trouble) => return Err(trouble),
        }
        match self.rename(connection, path) {
            Ok(Placed::Done) => {
                // What is left of it is swept.
                match connection.remove(&aside) {
                    Err(trouble) if trouble.is_broken => Err(trouble),
                    _ => Ok(Placed::Done),
                }
            }
            // Another overwrite was faster: it has replaced what was there, too.
            Ok(_) => {
                remove(connection, &aside)?;
                Ok(Placed::Again)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_temporaries_are_told_from_others() {
        assert!(is_unique_name(&unique_name()));
        assert_ne!(unique_name(), unique_name());
        for foreign in ["put", "put-", "x", "put-12-34", "../put-0000000000000000-0000000000000000", ".nfs01"]
        {
            assert!(!is_unique_name(foreign), "{foreign}");
        }
    }
}
