//! Listing objects.
//!
//! One job reads one directory with the attributes of its files. Several directories are read at once, because each takes three
//! round trips or more.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use larder_backend::{Error, Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use larder_backend_files::layout::is_temporary;
use ssh2::FileStat;

use crate::connection::SftpConnection;
use crate::context::SshContext;
use crate::error::Trouble;
use crate::object::describe;
use crate::root::FoundRoot;

/// The number of directories that one listing reads at once.
const READING: usize = 6;

/// The most entries of a directory. They are in memory until the caller takes them.
const MAX_ENTRIES: usize = 2_000_000;

/// Lists while the caller reads. Nothing new begins while the caller waits.
pub(crate) fn list(context: &Arc<SshContext>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let walk = RemoteWalk {
        context: Arc::clone(context),
        delimiter: options.delimiter,
        directories: vec![PendingDirectory {
            path: prefix.as_str().to_owned(),
            is_known: false,
            only_asks: false,
        }],
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

/// A directory that will be read.
#[derive(Clone, Debug)]
struct PendingDirectory {
    /// The path below the root. It is empty, or ends in `/`.
    path: String,
    /// The entry in the directory above shows that it is not a link.
    is_known: bool,
    /// It only matters whether an object is in it or below it.
    only_asks: bool,
}

/// The objects and directories in a directory.
#[derive(Debug, Default)]
struct DirectoryContent {
    items: Vec<Listed>,
    directories: Vec<PendingDirectory>,
}

struct RemoteWalk {
    context: Arc<SshContext>,
    delimiter: bool,
    directories: Vec<PendingDirectory>,
    reading: FuturesUnordered<BoxFuture<'static, Result<DirectoryContent, Error>>>,
    found: VecDeque<Listed>,
}

impl RemoteWalk {
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
            let DirectoryContent { items, directories } = found?;
            self.found.extend(items);
            self.directories.extend(directories);
        }
    }

    fn read(&self, directory: PendingDirectory) -> BoxFuture<'static, Result<DirectoryContent, Error>> {
        let (context, delimiter) = (Arc::clone(&self.context), self.delimiter);
        let location = format!("{}/{}", context.root.url(), directory.path.trim_end_matches('/'));
        let task = context.pool.task(Operation::List, location.trim_end_matches('/'));
        let pool = Arc::clone(&context.pool);
        Box::pin(async move {
            pool.run(task, move |connection, _| {
                let Some(root) = context.root.find(connection)? else {
                    return Ok(DirectoryContent::default());
                };
                let path = directory.path.trim_end_matches('/');
                if is_temporary(path) || !(directory.is_known || root.is_straight(connection, path)?) {
                    return Ok(DirectoryContent::default());
                }
                if directory.only_asks {
                    let has_object = has_object(connection, &root, &directory.path)?;
                    let prefix = Prefix::parse(directory.path.as_str()).ok().filter(|_| has_object);
                    let items = prefix.into_iter().map(Listed::Prefix).collect();
                    return Ok(DirectoryContent { items, directories: Vec::new() });
                }
                entries(connection, &root, &directory.path, delimiter)
            })
            .await
        })
    }
}

/// Reads one directory.
fn entries(
    connection: &SftpConnection,
    root: &FoundRoot,
    path: &str,
    delimiter: bool,
) -> Result<DirectoryContent, Trouble> {
    let mut found = DirectoryContent::default();
    read(connection, root, path, |key, stat| {
        if stat.is_file() {
            let (size, modified) = (stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default());
            found.items.push(Listed::Object(describe(key, size, modified)));
        } else {
            let path = format!("{key}/");
            found.directories.push(PendingDirectory { path, is_known: true, only_asks: delimiter });
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
fn has_object(connection: &SftpConnection, root: &FoundRoot, path: &str) -> Result<bool, Trouble> {
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

/// Calls `entry` for the files and directories in a directory that may be part of a key. Links are skipped. A directory that is
/// gone is empty.
fn read(
    connection: &SftpConnection,
    root: &FoundRoot,
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
