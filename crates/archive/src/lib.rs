//! Deterministic archives of one output, and unpacking that trusts nothing.

mod compression;
mod frames;
mod limits;
mod links;
mod pack;
mod thread;
mod unpack;

pub use compression::{Compression, Format, InvalidCompression};
pub use limits::Limits;
pub use pack::{PackError, PackOptions, Packed, Packing, Prepared, pack, prepare};
pub use unpack::{UnpackError, UnpackErrorKind, UnpackOptions, Unpacked, unpack};
