//! Deterministic archives of one output, and safe unpacking of untrusted archives.
//!
//! - [`pack`] turns a file or directory into a tar stream, compressed on all cores. [`prepare`] hashes it first.
//! - [`unpack`] turns such a stream back into files. It also reads archives of other programs. It refuses harmful and
//!   incomplete archives.
//! - [`Compression`] selects the compression. Unpacking detects it. [`Limits`] apply to both.
//!
//! Each transfer has its own threads, which read and write plain files and never wait for an async runtime. A bounded
//! channel connects them with the caller's stream. Constants bound the memory for any output.

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

/// The README's examples are compiled too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
