//! The larder backend for a directory: a local disk, or a share that several machines have mounted.
//!
//! An object is a regular file below the root, and its key is its path there, literally. What larder needs for itself
//! is in `.larder/1`: uploads are written to `.larder/1/tmp` and moved to their name in one step when they are
//! complete, on disk, and of the length that was written. No key can name anything in there, and no listing shows it.
//!
//! - **Create-only** holds on every file system that has `renameat2` with `RENAME_NOREPLACE`, or hard links. Where a
//!   file system has neither (exFAT, some FUSE), [`Capabilities::atomic_create`] turns false as soon as that is seen.
//! - **A killed process** leaves nothing but a temporary file, which is locked while its owner lives: a sweep removes
//!   those whose lock is gone.
//! - **A team** that shares the root shares what is in it: directories take mode and setgid of the root, files its
//!   read and write bits, whatever the umask says.
//! - **Links** below the root are neither followed nor listed: whoever can write to the root must not be able to make
//!   another user read or write elsewhere. The root itself may be reached through links.
//!
//! Blocking calls run on tokio's blocking threads; nothing else of the runtime is used, neither its I/O nor its timers.
//!
//! ```
//! use larder_backend::{Backend, BackendExt, GetOptions, Key, PutOptions};
//! use larder_backend_local::{LocalBackend, LocalConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let root = directory.path();
//! let backend = LocalBackend::open(LocalConfig::new(root))?;
//! let key = Key::parse("models%2Fen/c0ffee/f00d")?;
//!
//! let mut upload = backend.begin_put(&key, PutOptions::default()).await?;
//! upload.write("a complete ".into()).await?;
//! upload.write("object".into()).await?;
//! assert!(backend.stat_if_exists(&key).await?.is_none(), "nothing is visible before the commit");
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

mod access;
mod backend;
mod config;
mod error;
mod get;
mod list;
mod publish;
mod root;
mod sweep;
mod temporary;
mod upload;

pub use backend::LocalBackend;
pub use config::{CreateRoot, LocalConfig};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
