//! Names and hashes of pipeline outputs.
//!
//! A [`ContentHash`] says what an output contains, and a [`CommandHash`] what made it, under one of three [`Scheme`]s.
//! The crate reads files and directories by `larder-tree`. It knows nothing of archives, remotes or the network.
//!
//! - [`content_hash`] hashes a file or a directory. [`content_manifest`] also writes the manifest.
//! - [`command_hash`], [`env_hash`] and [`site_hash`] hash a command, its variables and its Python environment.
//! - [`TreeHasher`] hashes entries that come from elsewhere, and [`digest_file`] an open file.
//! - [`OutputPath`] is the path of an output, and [`encode_name`] turns it into its name in a remote.

mod command;
mod content;
mod dependencies;
mod digest;
mod env;
mod error;
mod file_digest;
mod hash_prefix;
mod hash_text;
mod manifest;
mod options;
mod output_path;
mod segments;
mod site;
mod weasel;

pub use command::{CommandError, CommandInputs, command_hash, command_manifest};
pub use content::{content_hash, content_manifest};
pub use dependencies::{HashedDependency, hash_dependencies};
pub use digest::{Digest, DigestHasher, Scheme, UnknownScheme};
pub use env::{env_hash, env_manifest};
pub use error::HashError;
pub use file_digest::{digest_file, hash_file_into};
pub use hash_prefix::HashPrefix;
pub use hash_text::{CommandHash, ContentHash, EnvHash, HashForm, InvalidHash, SiteHash};
pub use manifest::TreeHasher;
pub use options::HashOptions;
pub use output_path::{InvalidOutputPath, OutputPath, decode_name, encode_file_name, encode_name};
pub use site::{Site, SiteEnvironment, SiteError, site_hash, site_manifest};
pub use weasel::compare_paths as compare_weasel_paths;

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
