//! Remotes: their URLs and options, and how they are opened.
//!
//! Each backend has a file here. It has the schemes of its URLs, reads such URLs, and opens the remote. A new backend adds
//! a file, a line in [`url::KINDS`], and a Cargo feature.

mod environment;
mod error;
mod gcs;
mod local;
mod location;
mod options;
mod s3;
mod ssh;
mod text;
mod url;

pub use environment::UserEnvironment;
pub use error::InvalidRemote;
pub(crate) use error::OpenError;
pub use options::{OptionScalar, RemoteOptions};
pub use url::RemoteUrl;
