//! Names and hashes of pipeline outputs.
//!
//! Two questions are answered here: *what does an output contain* (a [`ContentHash`]) and *what made it*
//! (a [`CommandHash`]), in three [`Scheme`]s. The crate reads files and directories and knows nothing of
//! archives, remotes or the network.

mod digest;
mod error;
mod hash_text;
mod options;
mod output_path;
mod tree;
mod weasel;
mod workers;

pub use digest::{Digest, DigestHasher, Scheme, UnknownScheme};
pub use error::HashError;
pub use hash_text::{CommandHash, ContentHash, HashForm, InvalidHash};
pub use options::{HashOptions, TreeLimits};
pub use output_path::{InvalidOutputPath, OutputPath, decode_name, encode_name};
pub use tree::{Body, Contents, EntryKind, OpenFile, STAGING_PREFIX, TreeEntry, TreeReader};
pub use workers::{Ignore, Observer, Workers};
