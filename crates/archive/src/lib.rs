//! Deterministic archives of one output, and unpacking that trusts nothing.
//!
//! - [`pack`] turns a file or directory into a stream of bytes: a tar, compressed on all cores. [`prepare`] hashes it
//!   first.
//! - [`unpack`] turns such a stream back into files: of larder's archives, and of those that other programs made of the
//!   same output. It refuses whatever could harm, and whatever is not whole.
//! - [`Compression`] says how an archive is compressed; unpacking finds out by itself. [`Limits`] bound both ways.
//!
//! Each transfer is driven by threads of its own, which read and write plain files and never wait for an async runtime;
//! between them and the caller's stream is a bounded channel. Memory is bounded by constants, whatever the output.

mod compression;
mod frames;
mod limits;
mod links;
mod pack;
mod thread;
mod unpack;

pub use compression::{Compression, Format, InvalidCompression};
pub use frames::LATER_FORMAT;
pub use limits::Limits;
pub use pack::{PackError, PackOptions, Packed, Packing, Prepared, pack, prepare};
pub use unpack::{UnpackError, UnpackErrorKind, UnpackOptions, Unpacked, is_executable, unpack};

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
