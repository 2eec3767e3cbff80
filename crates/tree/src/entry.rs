//! The entries of a tree.

use bytes::Bytes;

use crate::file::{FileState, OpenFile};

/// One entry of a tree. `D` is the digest of its [`FileDigester`](crate::FileDigester).
#[derive(Debug)]
pub struct TreeEntry<D> {
    /// The path relative to the root, with `/` between components. Empty for the root itself.
    pub path: Vec<u8>,
    /// The kind of the entry.
    pub kind: EntryKind,
    /// The size of a file, or of the target of a link, in bytes. 0 for a directory.
    pub size: u64,
    /// The digest of the bytes of a file, or of the target of a link. `None` for a directory, for a file that
    /// is returned open, and for a digester that computes no digests.
    pub digest: Option<D>,
    /// The state of a file when it was opened. `None` for other kinds.
    pub state: Option<FileState>,
    /// Whether the digest comes from the [`StatCache`](crate::StatCache). Then the file was not opened, and has no body.
    pub is_remembered: bool,
    /// The bytes of a file, if they were requested.
    pub body: EntryBody,
}

/// The kind of an entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// Whether it has no children.
        is_empty: bool,
    },
    /// A symbolic link.
    Symlink {
        /// The text of the link.
        target: Vec<u8>,
    },
}

/// The bytes of an entry.
#[derive(Debug)]
pub enum EntryBody {
    /// The entry has no bytes, or they were not requested.
    None,
    /// All bytes of a small file.
    Bytes(Bytes),
    /// A large file that the caller reads.
    Open(OpenFile),
}
