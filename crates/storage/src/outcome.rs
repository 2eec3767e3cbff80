//! What operations did.

use std::path::PathBuf;
use std::time::SystemTime;

use larder_hashing::{CommandHash, ContentHash, OutputPath};

/// An output in a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteObject {
    /// Where the object is: remote, `/`, key.
    pub url: String,
    /// What made the output.
    pub command_hash: CommandHash,
    /// What the output contains.
    pub content_hash: ContentHash,
    /// The size of the object, in bytes.
    pub bytes: u64,
    /// When it was published, by the remote's clock.
    pub last_modified: SystemTime,
}

/// The outcome of a search that found something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// The newest match.
    pub newest: RemoteObject,
    /// How many matches there are.
    pub count: u64,
}

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The object was published. In a dry run: it would be.
    Uploaded,
    /// The object was there.
    AlreadyPresent,
}

/// A pushed output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The output.
    pub output: OutputPath,
    /// What was done.
    pub outcome: PushOutcome,
    /// Where the object is: remote, `/`, key.
    pub url: String,
    /// What made the output.
    pub command_hash: CommandHash,
    /// What the output contains.
    pub content_hash: ContentHash,
    /// The size of the object, in bytes; 0 in a dry run that found none.
    pub bytes: u64,
    /// The size of the content that was read, in bytes.
    pub content_bytes: u64,
}

/// What a pull did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// The output was restored. In a dry run: it would be.
    Restored,
    /// What is there is what the remote has.
    UpToDate,
    /// What is there differs from what the remote has, and was kept.
    Kept,
}

/// A pulled output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// The output.
    pub output: OutputPath,
    /// Where it is restored to.
    pub destination: PathBuf,
    /// What was done.
    pub outcome: PullOutcome,
    /// Where the object is: remote, `/`, key.
    pub url: String,
    /// What made the output.
    pub command_hash: CommandHash,
    /// What the object contains.
    pub content_hash: ContentHash,
    /// Whether the bytes at the destination were checked against the content hash and have it.
    pub verified: bool,
    /// The size of the object, in bytes.
    pub bytes: u64,
}
