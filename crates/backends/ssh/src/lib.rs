//! The larder backend for a directory on a machine that one can log in to, over SFTP.
//!
//! An object is a regular file below the root, and its key is its path there, literally. larder's own files are in
//! `.larder/1`. An upload is written to `.larder/1/tmp`, and renamed when it is complete, on disk, and of the right length. Keys
//! and listings do not reach that directory.
//!
//! - **The host** is always checked against the files of known hosts. An unknown or changed key is refused, and the error has the
//!   command that accepts it. A revoked key is refused.
//! - **Environment variables are not read.** [`SshConfig`] has the paths of keys, agent and configuration, and
//!   [`SshConfig::with_openssh_defaults`] sets those of OpenSSH. A function asks for passphrases.
//! - **Create-only** holds, because version 3 of SFTP renames without replacing. For the same reason an overwrite is two steps,
//!   and [`Capabilities::atomic_overwrite`] is false.
//! - **Speed**: several sessions transfer one large object, because the window of each limits its speed.
//! - **Timeouts**: every wait has a limit. A lost connection is replaced if that does no harm.
//!
//! Each session has a thread. The crate needs a tokio runtime with timers.
//!
//! [`Capabilities::atomic_overwrite`]: larder_backend::Capabilities::atomic_overwrite

mod auth;
mod backend;
mod config;
mod connection;
mod context;
mod error;
mod get;
mod known_hosts;
mod list;
mod object;
mod opening;
mod opening_watch;
mod openssh;
mod parts;
mod pieces;
mod pool;
mod proxy;
mod publish;
mod reach;
mod retry;
mod root;
mod shell;
mod small_file;
mod stream;
mod sweep;
mod temporary;
mod upload;
mod wire;

pub use backend::SshBackend;
pub use config::{AskPassphrase, Passphrase, RemotePath, SshConfig};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
