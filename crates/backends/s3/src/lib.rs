//! The larder backend for AWS S3 and S3-compatible storage: MinIO, R2, Ceph, Garage.
//!
//! Each key is one object of the bucket. The object's name is the remote's prefix, followed by the key.
//!
//! - **Create-only** is `If-None-Match: *` on `PutObject` and on `CompleteMultipartUpload`. If the server is not AWS, each
//!   process that uploads tests once whether the server honors the condition. If it does not, or does not answer,
//!   [`Capabilities::atomic_create`] turns false, and an upload looks for the object before it publishes.
//! - **Uploads** need no length. An object that fits into one part takes one request. A larger one takes several parts at
//!   once, in constant memory. All parts have the same size, which follows from the size hint. Every part has a checksum,
//!   unless the AWS configuration says otherwise.
//! - **Downloads** of more than 8 MiB are read by several requests at once, all of one version (`ETag`). They continue at
//!   the byte where a connection broke.
//! - **A killed process** leaves no object, but it may leave the invisible parts of a multipart upload, which cost money.
//!   The id of the upload is in the journal of [`PutOptions`], and [`Backend::sweep`] aborts it. If a machine is lost,
//!   only a lifecycle rule of the bucket removes its uploads: see the README.
//! - **Failures** that may pass are retried, with growing pauses, or after the time that the server asks for. An
//!   operation ends if no byte moves for [`S3Config::stall_timeout`].
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
