//! Options of operations on a storage.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_archive::{Compression, Limits};
use larder_hashing::{CommandHash, ContentHash, Scheme};
use larder_records::RunDetails;
use larder_tree::{StatCache, Workers};
use tokio_util::sync::CancellationToken;

use crate::remote::UserEnvironment;
use crate::report::{Reporter, Silent};

/// How a [`crate::RemoteStorage`] works. All of it has a default.
#[derive(Clone)]
#[non_exhaustive]
pub struct StorageOptions {
    /// The scheme of the hashes that are computed.
    pub scheme: Scheme,
    /// The threads that hash, compress and open files.
    pub workers: Workers,
    /// The cache of digests, so that unchanged files are not read again. None by default.
    pub stat_cache: Option<StatCache>,
    /// The limits of archives, for packing and unpacking.
    pub limits: Limits,
    /// After how long without progress an operation fails. Each backend has a default.
    pub stall_timeout: Option<Duration>,
    /// The part of the user's environment that remotes may use, such as SSH keys. Nothing by default.
    pub environment: UserEnvironment,
    /// Gets progress and warnings.
    pub reporter: Arc<dyn Reporter>,
    /// When it is cancelled, operations abort, clean up, and end with
    /// [`crate::ErrorKind::Cancelled`].
    pub cancel: CancellationToken,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            scheme: Scheme::default(),
            workers: Workers::default(),
            stat_cache: None,
            limits: Limits::default(),
            stall_timeout: None,
            environment: UserEnvironment::default(),
            reporter: Arc::new(Silent),
            cancel: CancellationToken::new(),
        }
    }
}

impl fmt::Debug for StorageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageOptions")
            .field("scheme", &self.scheme)
            .field("workers", &self.workers)
            .field("stat_cache", &self.stat_cache)
            .field("limits", &self.limits)
            .field("stall_timeout", &self.stall_timeout)
            .field("environment", &self.environment)
            .finish_non_exhaustive()
    }
}

/// How to push.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PushOptions {
    /// The content hash to publish under. A hash in a known form must match the output; any other is a custom name. By
    /// default it is computed.
    pub content_hash: Option<ContentHash>,
    /// How the archive is compressed: by default zstd, under [`Scheme::Weasel`] gzip.
    pub compression: Option<Compression>,
    /// Upload even if the object exists, and replace it.
    pub force: bool,
    /// The URLs of objects that are known to be damaged. They are replaced.
    pub damaged: BTreeSet<String>,
    /// Store what symlinks point at, instead of the links.
    pub dereference: bool,
    /// Report what would be done, without doing it. Every check that needs no write is made. The remote must exist and accept the
    /// credentials. A directory and Google Cloud Storage also tell whether they accept a new object; S3 and SSH tell this only
    /// on upload.
    pub dry_run: bool,
    /// The details of the run record. It says which outputs were pushed together.
    pub details: RunDetails,
}

/// How to pull.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullOptions {
    /// The command hash of the outputs. The newest by default.
    pub command_hash: Option<CommandHash>,
    /// The content hash of the output. The newest by default. Only for a single output.
    pub content_hash: Option<ContentHash>,
    /// Replace what differs. A file also differs if only its execute bit does.
    pub force: bool,
    /// Also replace an output that is one of these versions, if the remote still has that version.
    pub replaces: Vec<KnownVersion>,
    /// Restore below this directory instead of the project root.
    pub to: Option<PathBuf>,
    /// Check the bytes against the content hash, if it is in a known form.
    pub verify: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            command_hash: None,
            content_hash: None,
            force: false,
            replaces: Vec::new(),
            to: None,
            verify: true,
            dry_run: false,
        }
    }
}

/// A version of an output: what made it, and what it contains. Together they name its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownVersion {
    /// What made the output.
    pub command_hash: CommandHash,
    /// What the output contains.
    pub content_hash: ContentHash,
}

/// What to find. A hash that is missing matches every one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FindOptions {
    /// What made the output.
    pub command_hash: Option<CommandHash>,
    /// What the output contains.
    pub content_hash: Option<ContentHash>,
}
