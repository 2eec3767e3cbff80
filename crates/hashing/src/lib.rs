//! Names and hashes of pipeline outputs.
//!
//! Two questions are answered here: *what does an output contain* (a [`ContentHash`]) and *what made it*
//! (a [`CommandHash`]), in three [`Scheme`]s. The crate reads files and directories and knows nothing of
//! archives, remotes or the network.

mod digest;
mod hash_text;
mod output_path;
mod workers;

pub use digest::{Digest, DigestHasher, Scheme, UnknownScheme};
pub use hash_text::{CommandHash, ContentHash, HashForm, InvalidHash};
pub use output_path::{InvalidOutputPath, OutputPath, decode_name, encode_name};
pub use workers::{Ignore, Observer, Workers};
