//! The larder backend for a directory: a local disk, or a share that several machines have mounted.
//!
//! An object is a regular file below the root, and its key is its path there, literally. larder's own files are in
//! `.larder/1`. An upload is written to `.larder/1/tmp`, and renamed in one step when it is complete, on disk, and of the right
//! length. Keys and listings do not reach that directory.
//!
//! - **Create-only** holds on every file system that has `renameat2` with `RENAME_NOREPLACE`, or hard links. On a file system
//!   with neither (exFAT, some FUSE), [`Capabilities::atomic_create`] turns false as soon as that is noticed.
//! - **A killed process** leaves only a temporary file. The file is locked while its owner lives, and a sweep removes
//!   unlocked ones.
//! - **A team** that shares the root shares everything in it. Directories take mode and setgid of the root, and files its read
//!   and write bits, whatever the umask is.
//! - **Links** below the root are neither followed nor listed. Otherwise a user who can write to the root could make another
//!   user read or write elsewhere. The path of the root itself may have links.
//!
//! Blocking calls run on tokio's blocking threads. A stall timeout needs the runtime's timers.
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
mod context;
mod error;
mod get;
mod list;
mod object;
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
