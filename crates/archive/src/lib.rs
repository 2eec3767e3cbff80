//! Deterministic archives of one output, and unpacking that trusts nothing.

mod compression;
mod frames;
mod limits;
mod pack;

pub use compression::{Compression, Format, InvalidCompression};
pub use limits::Limits;
pub use pack::{PackError, PackOptions, Packed, Packing, Prepared, pack, prepare};
