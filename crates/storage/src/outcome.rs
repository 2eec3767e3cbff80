//! The results of operations.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use larder_hashing::{CommandHash, ContentHash, OutputPath};
use larder_records::RunTime;

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
    /// The time of the newest run record that names it, if there is one.
    pub recorded: Option<SystemTime>,
}

impl RemoteObject {
    /// When it was pushed last: the time that decides which object is the newest.
    pub fn time(&self) -> SystemTime {
        self.recorded.unwrap_or(self.last_modified)
    }
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

/// The outcome of a push.
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
    /// The number of files in the output.
    pub files: u64,
    /// How long the push of this output took.
    pub elapsed: Duration,
    /// Whether it is an executable file. `None` for a directory.
    pub(crate) executable: Option<bool>,
    /// The time of the newest run record of the output before this push.
    pub(crate) newest_record: Option<RunTime>,
}

/// The outcome of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// The output was restored. In a dry run: it would be.
    Restored,
    /// The output has the content of the remote's object.
    UpToDate,
    /// The output differs from the remote's object, or cannot be compared with it, and was kept.
    Kept,
}

/// What an output in the project contains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputContent {
    /// The hash of the content.
    pub content_hash: ContentHash,
    /// The size of the content, in bytes.
    pub bytes: u64,
    /// The number of regular files.
    pub files: u64,
}

/// What an output in the project contains, and where a remote has that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedContent {
    /// The content in the project.
    pub content: OutputContent,
    /// The newest object of the output with this content, if the remote has one.
    pub object: Option<RemoteObject>,
    /// Whether no run record names another content later.
    pub is_newest: bool,
}

/// Why a destination cannot be compared with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Incomparable {
    /// The content hash of the object is a custom name.
    OwnName,
    /// The content hash of the object has weasel's form, which other schemes do not verify.
    OtherScheme,
}

impl Incomparable {
    /// Says that the object at `url` cannot be compared, why, and what to do.
    pub fn sentence(self, url: &str) -> impl fmt::Display {
        let (why, how) = match self {
            Self::OwnName => ("is a custom name", ""),
            Self::OtherScheme => ("looks like one of weasel's", "`--hash weasel` compares them, "),
        };
        format!(
            "the content hash of {url} {why}, so larder cannot tell whether both are the same; {how}`--force` replaces it"
        )
    }
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
    /// Whether the destination was checked and has the content hash.
    pub verified: bool,
    /// Why a kept output could not be compared with the object.
    pub incomparable: Option<Incomparable>,
    /// Whether an output was kept only because the remote has lost its version.
    pub is_only_copy: bool,
    /// The size of the object, in bytes.
    pub bytes: u64,
    /// The size of what was restored, in bytes. `None` where nothing was.
    pub content_bytes: Option<u64>,
    /// How long the pull took, of all its outputs.
    pub elapsed: Duration,
}
