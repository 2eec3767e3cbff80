//! Names and hashes of pipeline outputs.
//!
//! Two questions are answered here: *what does an output contain* (a [`ContentHash`]) and *what made it*
//! (a [`CommandHash`]), in three [`Scheme`]s. The crate reads files and directories and knows nothing of
//! archives, remotes or the network.
//!
//! - [`content_hash`] hashes a file or a directory; [`content_manifest`] also writes what was hashed.
//! - [`command_hash`], [`env_hash`] and [`site_hash`] hash what an output was made of and in.
//! - [`TreeReader`] reads a tree in order on many threads; [`TreeHasher`] hashes entries from elsewhere.
//! - [`OutputPath`] is the path of an output, and [`encode_name`] what it is called in a remote.
//! - [`Workers`] are the threads, and an [`Observer`] learns how far it has come.

mod command;
mod content;
mod digest;
mod env;
mod error;
mod hash_text;
mod manifest;
mod options;
mod output_path;
mod project_file;
mod site;
mod tree;
mod weasel;
mod workers;

pub use command::{CommandError, CommandInputs, command_hash, command_manifest};
pub use content::{content_hash, content_manifest};
pub use digest::{Digest, DigestHasher, Scheme, UnknownScheme};
pub use env::{env_hash, env_manifest};
pub use error::HashError;
pub use hash_text::{CommandHash, ContentHash, EnvHash, HashForm, InvalidHash, SiteHash};
pub use manifest::TreeHasher;
pub use options::{HashOptions, TreeLimits};
pub use output_path::{InvalidOutputPath, OutputPath, decode_name, encode_name};
pub use project_file::{Symlinks, read_open_file, read_project_file, replace_project_file};
pub use site::{Site, SiteEnvironment, SiteError, site_hash, site_manifest};
pub use tree::{Body, Contents, EntryKind, FileState, OpenFile, STAGING_PREFIX, TreeEntry, TreeReader};
pub use weasel::compare_paths as compare_weasel_paths;
pub use workers::{Ignore, Observer, Workers};

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
