//! One pin.

use larder_hashing::{CommandHash, ContentHash, OutputPath};

/// The version of one output that belongs to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The output.
    pub path: OutputPath,
    /// The hash of its content.
    pub content: ContentHash,
    /// The command hash of its object. With it, one request finds the object.
    pub command: CommandHash,
    /// The size of its content, in bytes. The object may be smaller.
    pub bytes: u64,
    /// The number of its regular files.
    pub files: u64,
    /// The name of the remote that has the object, if it is not the default one.
    pub remote: Option<String>,
}

impl Pin {
    /// Returns whether both pins name the same object: their content, command and remote are equal.
    pub fn names_same_object(&self, other: &Self) -> bool {
        self.content == other.content && self.command == other.command && self.remote == other.remote
    }
}
