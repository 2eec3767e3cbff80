//! Listing objects.
//!
//! Each directory is read by one job, with what the server tells of its files; several are read at once, because each
//! takes three round trips or more.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use larder_backend::{Error, Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use ssh2::FileStat;

use crate::backend::Remote;
use crate::connection::Connection;
use crate::error::Trouble;
use crate::get::describe;
use crate::root::{Root, is_temporary};

/// How many directories are read at once, of one listing.
const READING: usize = 6;

/// How many entries a directory may have: they are in memory until they are given out.
const MAX_ENTRIES: usize = 2_000_000;

/// Lists while the caller reads, and no further than what is under way.
pub(crate) fn list(remote: &Arc<Remote>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let walk = Walk {
        remote: Arc::clone(remote),
        delimiter: options.delimiter,
        directories: vec![Directory { path: prefix.as_str().to_owned(), is_known: false, only_asks: false }],
        reading: FuturesUnordered::new(),
        found: VecDeque::new(),
    };
    stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        match walk.next().await {
            Ok(Some(item)) => Some((Ok(item), Some(walk))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// A directory that is to be read.
#[derive(Clone, Debug)]
struct Directory {
    /// Below the root; empty, or ending in `/`.
    path: String,
    /// What is above it has shown that it is a directory, and no link.
    is_known: bool,
    /// Only whether there is an object in it or below.
    only_asks: bool,
}

/// What a directory has.
#[derive(Debug, Default)]
struct Found {
    items: Vec<Listed>,
    directories: Vec<Directory>,
}

struct Walk {
    remote: Arc<Remote>,
    delimiter: bool,
    directories: Vec<Directory>,
    reading: FuturesUnordered<BoxFuture<'static, Result<Found, Error>>>,
    found: VecDeque<Listed>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Listed>, Error> {
        loop {
            if let Some(item) = self.found.pop_front() {
                return Ok(Some(item));
            }
            while self.reading.len() < READING
                && let Some(directory) = self.directories.pop()
            {
                self.reading.push(self.read(directory));
            }
            let Some(found) = self.reading.next().await else { return Ok(None) };
            let Found { items, directories } = found?;
            self.found.extend(items);
            self.directories.extend(directories);
        }
    }

    fn read(&self, directory: Directory) -> BoxFuture<'static, Result<Found, Error>> {
        let (remote, delimiter) = (Arc::clone(&self.remote), self.delimiter);
        let location = format!("{}/{}", remote.place.url(), directory.path.trim_end_matches('/'));
        let task = remote.pool.task(Operation::List, location.trim_end_matches('/'));
        let pool = Arc::clone(&remote.pool);
        Box::pin(async move {
            pool.run(task, move |connection, _| {
                let Some(root) = remote.place.root(connection)? else { return Ok(Found::default()) };
                let path = directory.path.trim_end_matches('/');
                if is_temporary(path) || !(directory.is_known || root.is_straight(connection, path)?) {
                    return Ok(Found::default());
                }
                if directory.only_asks {
                    let has_object = has_object(connection, &root, &directory.path)?;
                    let prefix = Prefix::parse(directory.path.as_str()).ok().filter(|_| has_object);
                    let items = prefix.into_iter().map(Listed::Prefix).collect();
                    return Ok(Found { items, directories: Vec::new() });
                }
                entries(connection, &root, &directory.path, delimiter)
            })
            .await
        })
    }
}

/// Reads one directory.
fn entries(connection: &Connection, root: &Root, path: &str, delimiter: bool) -> Result<Found, Trouble> {
    let mut found = Found::default();
    read(connection, root, path, |key, stat| {
        if stat.is_file() {
            let (size, modified) = (stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default());
            found.items.push(Listed::Object(describe(key, size, modified)));
        } else {
            let path = format!("{key}/");
            found.directories.push(Directory { path, is_known: true, only_asks: delimiter });
        }
        if found.items.len() + found.directories.len() > MAX_ENTRIES {
            return Err(Trouble::new(larder_backend::ErrorKind::Unsupported)
                .with_hint("the directory has more than 2 million entries"));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Whether there is an object anywhere below a directory.
fn has_object(connection: &Connection, root: &Root, path: &str) -> Result<bool, Trouble> {
    let mut directories = vec![path.to_owned()];
    while let Some(path) = directories.pop() {
        let mut has_object = false;
        read(connection, root, &path, |key, stat| {
            if stat.is_file() {
                has_object = true;
            } else {
                directories.push(format!("{key}/"));
            }
            Ok(())
        })?;
        if has_object {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells of the files and directories in a directory that may be part of a key; links are neither. One that is gone is
/// empty.
fn read(
    connection: &Connection,
    root: &Root,
    path: &str,
    mut entry: impl FnMut(Key, &FileStat) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let read = connection.read_directory(&root.path_of(path), |name, stat| {
        if !(stat.is_file() || stat.is_dir()) {
            return Ok(());
        }
        match Key::parse(format!("{path}{name}")) {
            Ok(key) if !is_temporary(key.as_str()) => entry(key, stat),
            _ => Ok(()),
        }
    });
    match read {
        Err(trouble) if trouble.is_absent() => Ok(()),
        read => read,
    }
}
