//! Listing objects.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, stream};
use larder_backend::{Error, Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use std::io;
use tokio::sync::mpsc;

use crate::error::{failed, is_absent};
use crate::get::{describe, is_object};
use crate::root::{Root, is_temporary, open_directory};

/// How many items cross to the async side at once, and how many such batches may wait there: a hop for each item would
/// cost more than the `stat` behind it, and memory stays bounded however large the listing is.
const BATCH: usize = 256;
const BATCHES: usize = 4;

/// Lists on a blocking thread, which waits while the caller does not read, and ends when the caller drops the stream.
pub(crate) fn list(root: &Arc<Root>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let (root, prefix, delimiter) = (Arc::clone(root), prefix.clone(), options.delimiter);
    // Nothing happens before the first poll, so that a listing can be made anywhere.
    let batches = async move {
        let (sender, mut receiver) = mpsc::channel(BATCHES);
        tokio::task::spawn_blocking(move || {
            let mut batches = Batches { sender, batch: Vec::new() };
            if let Err(Stop::Failed(error)) = walk(&root, &prefix, delimiter, &mut batches) {
                batches.batch.push(Err(error));
            }
            let _ = batches.flush();
        });
        stream::poll_fn(move |context| receiver.poll_recv(context)).flat_map(stream::iter)
    };
    batches.into_stream().flatten().boxed()
}

/// Why a walk ends early.
enum Stop {
    Failed(Error),
    /// Nobody listens any more.
    Dropped,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Batches {
    sender: mpsc::Sender<Vec<Result<Listed>>>,
    batch: Vec<Result<Listed>>,
}

impl Batches {
    fn push(&mut self, listed: Listed) -> Result<(), Stop> {
        self.batch.push(Ok(listed));
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.sender.blocking_send(batch).map_err(|_| Stop::Dropped)
    }
}

/// An open directory, and the length of its path in the text of the walk.
struct Level {
    entries: Dir,
    path_length: usize,
}

fn walk(root: &Root, prefix: &Prefix, delimiter: bool, batches: &mut Batches) -> Result<(), Stop> {
    let directory = root.open(Operation::List)?;
    if is_temporary(prefix.as_str().trim_end_matches('/')) {
        return Ok(());
    }
    let segments = prefix.as_str().split_terminator('/');
    let wrong = |path: &str, error| {
        let location = root.path().join(path.trim_end_matches('/'));
        Stop::Failed(failed(Operation::List, location.display().to_string(), error))
    };
    let top = match directory.descend(segments) {
        Ok(top) => top,
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(wrong(prefix.as_str(), error)),
    };
    // The path of the directory that is being read, ending in `/`.
    let mut path = prefix.as_str().to_owned();
    let mut levels = vec![level(top, &path).map_err(|error| wrong(&path, error))?];
    // Depth first, so that no more directories are open than a key has segments.
    while let Some(Level { entries, path_length }) = levels.last_mut() {
        path.truncate(*path_length);
        let Some(entry) = entries.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(|error| wrong(&path, error.into()))?;
        let Some(name) = object_name(&entry) else { continue };
        path.push_str(name);
        if is_temporary(&path) {
            continue;
        }
        let directory = entries.fd().map_err(|error| wrong(&path, error.into()))?;
        let mut file_type = entry.file_type();
        let mut stat = None;
        if matches!(file_type, FileType::RegularFile | FileType::Unknown) {
            match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => {
                    file_type = FileType::from_raw_mode(found.st_mode);
                    stat = Some(found);
                }
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(wrong(&path, error.into())),
            }
        }
        match (file_type, stat) {
            (FileType::Directory, _) => match open_directory(directory, name) {
                Ok(child) => {
                    path.push('/');
                    if !delimiter {
                        levels.push(level(child, &path).map_err(|error| wrong(&path, error))?);
                    } else if has_object(child, &mut path).map_err(|error| wrong(&path, error))?
                        && let Ok(prefix) = Prefix::parse(path.as_str())
                    {
                        batches.push(Listed::Prefix(prefix))?;
                    }
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(wrong(&path, error)),
            },
            (_, Some(stat)) if is_object(&stat) => {
                if let Ok(key) = Key::parse(path.as_str()) {
                    batches.push(Listed::Object(describe(key, &stat)))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn level(directory: OwnedFd, path: &str) -> io::Result<Level> {
    Ok(Level { entries: Dir::new(directory)?, path_length: path.len() })
}

/// The name of an entry that may be part of a key.
fn object_name(entry: &rustix::fs::DirEntry) -> Option<&str> {
    entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."))
}

/// Whether there is an object anywhere below a directory, whose path ends in `/`.
fn has_object(directory: OwnedFd, path: &mut String) -> io::Result<bool> {
    let mut levels = vec![level(directory, path)?];
    let path_length = path.len();
    let mut found = false;
    while let Some(Level { entries, path_length }) = levels.last_mut() {
        path.truncate(*path_length);
        let Some(entry) = entries.read() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let Some(name) = object_name(&entry) else { continue };
        path.push_str(name);
        if is_temporary(path) || Key::parse(path.as_str()).is_err() {
            continue;
        }
        let file_type = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            },
            known => known,
        };
        match file_type {
            FileType::RegularFile => {
                found = true;
                break;
            }
            FileType::Directory => match open_directory(entries.fd()?, name) {
                Ok(child) => {
                    path.push('/');
                    levels.push(level(child, path)?);
                }
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
    }
    path.truncate(path_length);
    Ok(found)
}
