//! The larder backend for AWS S3 and what speaks its protocol: MinIO, R2, Ceph, Garage.
//!
//! An object is an object of the bucket, and its key stands behind the prefix of the remote, literally.
//!
//! - **Create-only** is `If-None-Match: *` on `PutObject` and on `CompleteMultipartUpload`. A process that uploads asks
//!   a server that is not AWS once whether it honors that. If it does not, or gives no answer,
//!   [`Capabilities::atomic_create`] turns false, and an upload looks before it publishes.
//! - **Uploads** need no length. What fits into one part is one request; more goes into parts of one size, which follows
//!   from the size hint, several at once, in constant memory. Every part has a checksum,
//!   unless the AWS configuration says otherwise.
//! - **Downloads** of more than 8 MiB are read by several requests at once, all of one version (`ETag`), and go on at the
//!   byte where a connection broke.
//! - **A killed process** leaves no object, but the parts of a multipart upload, which nobody sees and somebody pays for.
//!   Its id is in the journal of [`PutOptions`], and [`Backend::sweep`] aborts it. For machines that are lost for good
//!   the bucket needs a lifecycle rule: see the README.
//! - **Failures** that may pass are tried again, with pauses that grow and that the server may ask for; an operation
//!   ends when nothing has moved for [`S3Config::stall_timeout`].
//!
//! ```no_run
//! use larder_backend::{Backend, BackendExt, GetOptions, Key, PutOptions};
//! use larder_backend_s3::{S3Backend, S3Config};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend = S3Backend::new(S3Config::new("my-team", "larder"));
//! let key = Key::parse("models%2Fen/c0ffee/f00d")?;
//!
//! let mut upload = backend.begin_put(&key, PutOptions::default()).await?;
//! upload.write("a complete object".into()).await?;
//! upload.commit().await?;
//!
//! let bytes = backend.get_bytes(&key, GetOptions::default(), 1024).await?;
//! assert_eq!(bytes, "a complete object");
//! backend.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Capabilities::atomic_create`]: larder_backend::Capabilities::atomic_create
//! [`PutOptions`]: larder_backend::PutOptions
//! [`Backend::sweep`]: larder_backend::Backend::sweep

mod backend;
mod client;
mod config;
mod context;
mod delete;
mod error;
mod get;
mod list;
mod multipart;
mod part;
mod precondition;
mod probe;
mod upload;
mod watch;

pub use backend::S3Backend;
pub use config::{S3Config, S3Options};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
