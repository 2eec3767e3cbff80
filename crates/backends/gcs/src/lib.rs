//! The larder backend for Google Cloud Storage, on Google's own client.
//!
//! Each key is one object of the bucket. The object's name is the remote's prefix, followed by the key.
//!
//! - **Create-only** is `ifGenerationMatch=0`, which the server honors for all uploads.
//! - **Uploads** need no length. A small object takes one request. A larger one takes a resumable upload: one chunk is
//!   sent while the next fills, in constant memory. After a failure, the upload continues at the byte that the server has
//!   reached. The server compares the checksum (CRC32C) of every object before it publishes it. It never publishes an
//!   unfinished upload. It deletes one after a week, and bills nobody for it.
//! - **Downloads** of more than 8 MiB are read by several requests at once, all of one generation. They continue at the
//!   byte where a connection broke. Nothing is decompressed on the way.
//! - **Google's client** lists, describes and deletes objects over gRPC, and reads them over the JSON API. It does not
//!   write them, because it publishes wrong objects after ordinary failures (see `resumable.rs`).
//! - **Failures** that may pass are retried, with growing pauses, or after the time that the server asks for. An
//!   operation ends if no byte moves for [`GcsConfig::stall_timeout`].
//!
//! ```no_run
//! use larder_backend::{Backend, BackendExt, GetOptions, Key, PutOptions};
//! use larder_backend_gcs::{GcsBackend, GcsConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let backend = GcsBackend::new(GcsConfig::new("my-team", "larder"));
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

mod access;
mod backend;
mod checksum;
mod chunk;
mod client;
mod config;
mod context;
mod delete;
mod error;
mod get;
mod http;
mod list;
mod resumable;
mod sender;
mod upload;
mod write;

pub use backend::GcsBackend;
pub use config::{GcsConfig, GcsOptions, InvalidEmulatorHost};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
