//! Reads a file or directory tree in a fixed order, on many threads.
//!
//! - [`TreeReader`] is an iterator over the entries of a tree. It opens and reads small files ahead, in bounded memory.
//! - [`OpenFile`] is one open file. Reading fails if the file changes.
//! - [`FileDigester`] lets the reader hash files on the threads that read them. This crate has no hash functions.
//! - [`Workers`] are the threads of a process. An [`Observer`] follows the progress and may cancel.
//! - A [`BufferPool`] holds reusable buffers.
//! - [`TreeLimits`] bound the size and depth of a tree.
//! - [`IgnoreRules`] leave out entries that ignore files name.

mod batch;
mod buffer_pool;
mod digester;
mod entry;
mod error;
mod file;
mod ignore_rules;
mod limits;
mod observer;
mod opening;
mod options;
mod project_file;
mod reader;
mod stat_cache;
mod state_directory;
mod walk;
mod workers;

pub use buffer_pool::BufferPool;
pub use digester::{FileDigester, NoDigest, ReadMode};
pub use entry::{EntryBody, EntryKind, TreeEntry};
pub use error::TreeError;
pub use file::{FileState, OpenFile};
pub use ignore_rules::{IgnoreRules, LeftOut, LeftOutReport};
pub use limits::TreeLimits;
pub use observer::{Ignore, Observer};
pub use options::{NameOrder, SpecialFiles, TreeOptions};
pub use project_file::{
    Symlinks, read_open_file, read_project_file, replace_project_file, replace_project_file_from,
};
pub use reader::TreeReader;
pub use stat_cache::{FileSystemTime, StatCache};
pub use state_directory::{StateDirectory, StateDirectoryError};
pub use walk::{FAILED_PREFIX, STAGING_PREFIX};
pub use workers::Workers;

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
