//! Listing objects.
//!
//! A walk reads directories on one blocking thread. If a directory has many files, other threads call `fstatat` on them. With
//! 10,000 objects on a busy machine with two cores that saved a quarter of the time (14 ms instead of 18 ms). On a network
//! file system, where each call is a round trip, it saves most of it.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, stream};
use larder_backend::{Error, Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use larder_backend_files::layout::is_temporary;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::error::{failed, is_absent};
use crate::object::{describe, is_object};
use crate::root::{LocalRoot, open_directory};

/// The number of items that go to the async side, or to another thread, at once. One transfer for each would take longer than
/// the call itself.
const BATCH: usize = 256;

/// A walk calls `fstatat` itself if fewer files than these are left in a directory.
const FEW: usize = 64;

/// The number of batches that may wait for the caller. It bounds the memory of a large listing.
const WAITING: usize = 4;

/// The number of batches that other threads work on at once.
const LOOKING: usize = 8;

/// Lists on blocking threads. They wait while the caller does not read, and end when the caller drops the stream.
pub(crate) fn list(root: &Arc<LocalRoot>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let (root, prefix, delimiter) = (Arc::clone(root), prefix.clone(), options.delimiter);
    // Nothing happens before the first poll, so a listing can be created outside of a runtime.
    let batches = async move {
        let (sender, receiver) = mpsc::channel(WAITING);
        let waiting = Arc::clone(&root);
        spawn_blocking(move || {
            let mut walk = DirectoryWalk { root, delimiter, sender, batch: Vec::new() };
            if let Err(Stop::Failed(error)) = walk.walk(&prefix) {
                walk.batch.push(Err(error));
            }
            let _ = walk.flush();
        });
        stream::unfold(Some((waiting, receiver)), next_batch)
            .map(ListedBatch::items)
            .buffer_unordered(LOOKING)
            .flat_map(stream::iter)
    };
    batches.into_stream().flatten().boxed()
}

type ListingState = Option<(Arc<LocalRoot>, mpsc::Receiver<ListedBatch>)>;

async fn next_batch(waiting: ListingState) -> Option<(ListedBatch, ListingState)> {
    let (root, mut receiver) = waiting?;
    match root.wait(Operation::List, receiver.recv()).await {
        Ok(batch) => Some((batch?, Some((root, receiver)))),
        Err(error) => Some((ListedBatch::Items(vec![Err(error)]), None)),
    }
}

/// What a walk found.
enum ListedBatch {
    Items(Vec<Result<Listed>>),
    /// Files of one directory for which `fstatat` was not called.
    Files(UnseenFiles),
}

impl ListedBatch {
    async fn items(self) -> Vec<Result<Listed>> {
        match self {
            Self::Items(items) => items,
            Self::Files(files) => {
                let location = files.root.path().display().to_string();
                let looked = spawn_blocking(move || files.look()).await;
                looked.unwrap_or_else(|error| {
                    vec![Err(failed(Operation::List, location, io::Error::other(error)))]
                })
            }
        }
    }
}

/// Files of one directory for which `fstatat` was not called.
struct UnseenFiles {
    root: Arc<LocalRoot>,
    directory: Arc<OwnedFd>,
    /// The path of the directory, ending in `/` where it is not the root.
    path: String,
    names: Vec<String>,
}

impl UnseenFiles {
    /// The objects among the files.
    fn look(self) -> Vec<Result<Listed>> {
        self.names
            .iter()
            .filter_map(|name| {
                let key = Key::parse(format!("{}{name}", self.path)).ok()?;
                match rustix::fs::statat(&*self.directory, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => is_object(&stat).then(|| Ok(Listed::Object(describe(key, &stat)))),
                    // Gone since the directory was read.
                    Err(Errno::NOENT) => None,
                    Err(error) => Some(Err(failed(Operation::List, self.root.location(&key), error.into()))),
                }
            })
            .collect()
    }
}

/// Why a walk ends early.
enum Stop {
    Failed(Error),
    /// The caller has dropped the stream.
    Dropped,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct DirectoryWalk {
    root: Arc<LocalRoot>,
    delimiter: bool,
    sender: mpsc::Sender<ListedBatch>,
    batch: Vec<Result<Listed>>,
}

/// A directory that is being read.
struct Level {
    directory: Arc<OwnedFd>,
    entries: Dir,
    /// The length of its path in the text of the walk.
    path_length: usize,
    /// Files for which `fstatat` was not called.
    names: Vec<String>,
}

impl Level {
    fn new(directory: OwnedFd, path: &str) -> io::Result<Self> {
        // `Dir::read_from` opens `.`, which fails in a directory that others have removed.
        let entries = Dir::new(directory.try_clone()?)?;
        Ok(Self { directory: Arc::new(directory), entries, path_length: path.len(), names: Vec::new() })
    }
}

impl DirectoryWalk {
    fn send(&self, batch: ListedBatch) -> Result<(), Stop> {
        self.sender.blocking_send(batch).map_err(|_| Stop::Dropped)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let batch = mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.send(ListedBatch::Items(batch)) }
    }

    fn push(&mut self, item: Result<Listed>) -> Result<(), Stop> {
        self.batch.push(item);
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }

    /// Lists the files of a directory, here or on another thread.
    fn look(&mut self, directory: &Arc<OwnedFd>, path: &str, names: Vec<String>) -> Result<(), Stop> {
        let few = names.len() < FEW;
        let directory = Arc::clone(directory);
        let files = UnseenFiles { root: Arc::clone(&self.root), directory, path: path.to_owned(), names };
        if !few {
            return self.send(ListedBatch::Files(files));
        }
        files.look().into_iter().try_for_each(|item| self.push(item))
    }

    fn wrong(&self, path: &str, error: impl Into<io::Error>) -> Stop {
        let location = self.root.path().join(path.trim_end_matches('/'));
        Stop::Failed(failed(Operation::List, location.display().to_string(), error.into()))
    }

    fn walk(&mut self, prefix: &Prefix) -> Result<(), Stop> {
        let Some(root) = self.root.open(Operation::List)? else { return Ok(()) };
        if is_temporary(prefix.as_str().trim_end_matches('/')) {
            return Ok(());
        }
        let top = match root.descend(prefix.as_str().split_terminator('/')) {
            Ok(top) => top,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(self.wrong(prefix.as_str(), error)),
        };
        // The path of what is being looked at; that of a directory ends in `/`.
        let mut path = prefix.as_str().to_owned();
        let mut levels = vec![Level::new(top, &path).map_err(|error| self.wrong(&path, error))?];
        // Depth first, so that no more directories are open than a key has segments.
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_length);
            let Some(entry) = level.entries.read() else {
                let names = mem::take(&mut level.names);
                self.look(&level.directory, &path, names)?;
                levels.pop();
                continue;
            };
            let entry = entry.map_err(|error| self.wrong(&path, error))?;
            let Some(name) = object_name(&entry) else { continue };
            path.push_str(name);
            if is_temporary(&path) {
                continue;
            }
            let file_type =
                file_type(&entry, name, &level.directory).map_err(|error| self.wrong(&path, error))?;
            match file_type {
                Some(FileType::RegularFile) => {
                    level.names.push(name.to_owned());
                    if level.names.len() == BATCH {
                        let names = mem::take(&mut level.names);
                        self.look(&level.directory, &path[..level.path_length], names)?;
                    }
                }
                Some(FileType::Directory) if Key::parse(path.as_str()).is_ok() => {
                    match open_directory(&*level.directory, name) {
                        Ok(child) => {
                            path.push('/');
                            levels.extend(self.enter(child, &mut path)?);
                        }
                        Err(error) if is_absent(&error) => {}
                        Err(error) => return Err(self.wrong(&path, error)),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins to read a directory, unless it is listed as a prefix.
    fn enter(&mut self, directory: OwnedFd, path: &mut String) -> Result<Option<Level>, Stop> {
        if !self.delimiter {
            return Level::new(directory, path).map(Some).map_err(|error| self.wrong(path, error));
        }
        if has_object(directory, path).map_err(|error| self.wrong(path, error))?
            && let Ok(prefix) = Prefix::parse(path.as_str())
        {
            self.push(Ok(Listed::Prefix(prefix)))?;
        }
        Ok(None)
    }
}

/// The type of an entry, even if the file system does not give it with the name. `None` if the entry is gone.
fn file_type(entry: &rustix::fs::DirEntry, name: &str, directory: &OwnedFd) -> io::Result<Option<FileType>> {
    match entry.file_type() {
        FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        },
        known => Ok(Some(known)),
    }
}

/// The name of an entry that may be part of a key.
fn object_name(entry: &rustix::fs::DirEntry) -> Option<&str> {
    entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."))
}

/// Whether there is an object anywhere below a directory, whose path ends in `/`.
fn has_object(directory: OwnedFd, path: &mut String) -> io::Result<bool> {
    let top = path.len();
    let mut levels = vec![Level::new(directory, path)?];
    let mut found = false;
    while let Some(level) = levels.last_mut()
        && !found
    {
        path.truncate(level.path_length);
        let Some(entry) = level.entries.read() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let Some(name) = object_name(&entry) else { continue };
        path.push_str(name);
        if is_temporary(path) || Key::parse(path.as_str()).is_err() {
            continue;
        }
        match file_type(&entry, name, &level.directory)? {
            Some(FileType::RegularFile) => found = true,
            Some(FileType::Directory) => match open_directory(&*level.directory, name) {
                Ok(child) => {
                    path.push('/');
                    levels.push(Level::new(child, path)?);
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
    }
    path.truncate(top);
    Ok(found)
}
