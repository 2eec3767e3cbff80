//! The boundary between larder and the places that keep its objects.
//!
//! A [`Backend`] stores whole objects under [`Key`]s and knows nothing of archives, hashes or other backends. What is
//! not here is a decision: no URL parsing, no compression, no retry policy for callers (each backend retries by
//! itself what is worth it), no progress, no rename, no directories.
//!
//! Nothing is visible under its key before [`Upload::commit`] has been called and has succeeded: the end of a stream
//! never means commit.

mod backend;
mod buffer_pool;
mod causes;
mod error;
mod key;
mod object;
mod time_text;
mod upload;

pub use backend::{
    Backend, BackendExt, ByteStream, Capabilities, CreatedRoot, DEFAULT_STALL_TIMEOUT, DeleteOptions,
    GetOptions, GetResult, ListOptions, Listed, ObjectStream,
};
pub use buffer_pool::BufferPool;
pub use causes::{error_causes, error_chain, root_causes};
pub use error::{Error, ErrorKind, Operation, Result};
pub use key::{InvalidKey, Key, Prefix};
pub use object::{ObjectMeta, Version};
pub use time_text::seconds;
pub use upload::{PutMode, PutOptions, Upload, UploadJournal, UploadToken};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
