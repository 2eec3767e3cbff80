//! The boundary between larder and the places that keep its objects.
//!
//! A [`Backend`] stores whole objects under [`Key`]s and knows nothing of archives, hashes or other backends. What is
//! not here is a decision: no URL parsing, no compression, no retry policy for callers (each backend retries by
//! itself what is worth it), no progress, no rename, no directories.
//!
//! The feature `http` has what backends on object stores share: how often an attempt is repeated, how a large object is read
//! by several requests, and how the options of a remote are written.
//!
//! Nothing is visible under its key before [`Upload::commit`] has been called and has succeeded: the end of a stream
//! never means commit.

mod backend;
mod buffer_pool;
mod causes;
mod error;
mod key;
mod object;
#[cfg(feature = "http")]
pub mod read_ahead;
#[cfg(feature = "http")]
pub mod remote_option;
#[cfg(feature = "http")]
pub mod retry;
mod upload;

pub use backend::{
    Backend, BackendExt, ByteStream, Capabilities, DEFAULT_STALL_TIMEOUT, DeleteOptions, GetOptions,
    GetResult, ListOptions, Listed, ObjectStream,
};
pub use buffer_pool::BufferPool;
pub use causes::{error_causes, error_chain, root_causes};
pub use error::{Error, ErrorKind, Operation, Result};
pub use key::{InvalidKey, Key, Prefix};
pub use object::{ObjectMeta, Version};
pub use upload::{PutMode, PutOptions, Upload, UploadJournal, UploadToken};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
