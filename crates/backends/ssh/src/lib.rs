//! The larder backend for a directory on a machine that one can log in to, over SFTP.
//!
//! An object is a regular file below the root, and its key is its path there, literally. What larder needs for itself
//! is in `.larder/1`: uploads are written to `.larder/1/tmp` and moved to their name when they are complete, on disk, and
//! of the length that was written. No key can name anything in there, and no listing shows it.
//!
//! - **The host** is always checked against the files of known hosts; an unknown, changed or revoked key is refused
//!   with what would accept it.
//! - **Nothing is taken from the environment.** [`SshConfig`] says where keys, agent and configuration of SSH are;
//!   [`SshConfig::with_openssh_defaults`] fills in what OpenSSH uses. Passphrases are asked for by a function.
//! - **Create-only** holds: version 3 of SFTP renames without replacing. For the same reason an overwrite is two steps, and
//!   [`Capabilities::atomic_overwrite`] is false.
//! - **Speed**: a large object is moved by several sessions at once, in parts of one file, because each is held to its
//!   window.
//! - **It ends**: every answer has its limit, a lost connection is replaced where that does no harm.
//!
//! Sessions live on threads of their own. The rest takes a tokio runtime with its timers.
//!
//! [`Capabilities::atomic_overwrite`]: larder_backend::Capabilities::atomic_overwrite

mod auth;
mod backend;
mod config;
mod connection;
mod error;
mod get;
mod known_hosts;
mod list;
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
mod upload;
mod wire;

pub use backend::SshBackend;
pub use config::{AskPassphrase, Passphrase, RemotePath, SshConfig};

/// The README is tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
