//! The larder backend for Google Cloud Storage, on Google's own client.
//!
//! An object is an object of the bucket, and its key stands behind the prefix of the remote, literally.
//!
//! - **Create-only** is `ifGenerationMatch=0`, which the server honours for uploads of any kind.
//! - **Uploads** need no length. A small object is one request; more, or what is expected to be more, goes into the chunks of
//!   a resumable upload, of which one is under way while the next fills, in constant memory. What the server has got it says,
//!   so that an upload goes on there. Every object has a checksum (CRC32C), which the server checks before it publishes. An
//!   upload that is not ended is never published: the server forgets it after a week, and bills nobody.
//! - **Downloads** of more than 8 MiB are read by several requests at once, all of one generation, and go on at the byte
//!   where a connection broke. Nothing is decompressed on the way.
//! - **Listing, looking and deleting** go over gRPC, because Google's client has nothing else for them; reading goes over
//!   its REST interface. Writing does too, but not through its client, whose uploads have no timeouts: a connection that
//!   died in silence would hold one for ever, and its resumption is out of reach.
//! - **Failures** that may pass are tried again, with pauses that grow and that the server may ask for; an operation
//!   ends when nothing has moved for [`GcsConfig::stall_timeout`].
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

mod backend;
mod chunk;
mod client;
mod config;
mod error;
mod get;
mod http;
mod list;
mod sender;
mod upload;
mod write;

pub use backend::GcsBackend;
pub use config::{GcsConfig, GcsOptions, InvalidEmulatorHost};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
