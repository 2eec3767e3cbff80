//! The interface between larder and its storage backends.
//!
//! A [`Backend`] stores whole objects under [`Key`]s and knows nothing about archives, hashes or other backends. Some things are
//! left out on purpose: URL parsing, compression, progress, renames and directories. Retries are left out too, because each
//! backend retries by itself.
//!
//! An object is visible under its key only after [`Upload::commit`] has succeeded. The end of a stream never means commit.

mod backend;
mod causes;
mod error;
mod key;
mod object;
mod time_text;
mod upload;
mod upload_gate;

pub use backend::{
    Backend, BackendExt, ByteStream, Capabilities, CreatedRoot, DEFAULT_STALL_TIMEOUT, DeleteOptions,
    GetOptions, GetResult, ListOptions, Listed, ObjectStream,
};
pub use causes::{error_causes, error_chain, root_causes};
pub use error::{Error, ErrorKind, Operation, Result};
pub use key::{InvalidKey, Key, Prefix};
pub use object::{ObjectMeta, Version};
pub use time_text::seconds;
pub use upload::{PutMode, PutOptions, Upload, UploadJournal, UploadToken};
pub use upload_gate::UploadGate;

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
