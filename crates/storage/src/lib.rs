//! Keeps outputs of pipeline steps in a remote storage, and brings them back.
//!
//! [`RemoteStorage`] joins a project, a remote and a hash scheme. It pushes outputs (files or directories below the
//! project root) as single verified objects, finds them again by what made them and by what they contain, and
//! restores them in one step or not at all.
//!
//! An object's key is `<encoded output path>/<command hash>/<content hash>`, the layout of weasel and spaCy projects.

mod audit;
mod context;
mod error;
mod find;
mod hash;
mod layout;
mod list;
mod options;
mod outcome;
mod place;
mod pull;
mod push;
mod records;
mod remote;
mod remote_storage;
mod report;
mod resolve;
mod run;
mod state;
mod tasks;
mod turns;

pub use audit::{Checked, Stored, StoredKind};
pub use error::{Error, ErrorKind, Result, holds_refused};
pub use larder_archive::{Compression, Limits, PackError, UnpackError};
pub use larder_backend::{Key, ObjectMeta, error_causes, error_chain};
pub use larder_hashing::{
    CommandHash, ContentHash, OutputPath, Scheme, command_hash, content_hash, encode_name, env_hash,
    site_hash,
};
pub use larder_records::{
    Change, Dependency, Difference, GitState, RecordedOutput, RunDetails, RunId, RunIdentity, RunRecord,
    RunTime, tree_changes,
};
pub use larder_tree::{StatCache, Workers};
pub use options::{FindOptions, KnownVersion, PullOptions, PushOptions, StorageOptions};
pub use outcome::{
    Found, Incomparable, OutputContent, PublishedContent, PullOutcome, Pulled, PushOutcome, Pushed,
    RemoteObject,
};
pub use records::{LoggedRun, NearestRun, WhyReport};
pub use remote::{InvalidRemote, OptionScalar, RemoteOptions, RemoteUrl, UserEnvironment};
pub use remote_storage::RemoteStorage;
pub use report::{Event, Phase, Reporter, Silent, Warning};
pub use resolve::HashQuery;
pub use run::{CommandRun, FoundRun, MadeOutputs, MissReason, NoRun, Published, RunRequest};
pub use state::{BroughtBack, LocalRun, OutputChanges, OutputGuard, RemotePause};
/// Asks a [`RemoteStorage`] to stop: see [`StorageOptions::cancel`].
pub use tokio_util::sync::CancellationToken;

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
