//! Archives as sequences of independent frames.
//!
//! A tar stream is cut into pieces of [`PIECE`] bytes, and each is compressed on its own: a zstd frame, a gzip member,
//! an xz or a bzip2 stream. Their concatenation is a valid stream of its format. All cores work without having to
//! agree on anything, and a zstd stream can be taken apart again without decompressing it. Without compression there are no
//! frames, and the pieces are smaller.

mod detect;
mod encoder;
mod error;
mod input;
mod pool;
mod reader;
#[cfg(test)]
mod samples;
mod stream;
#[cfg(test)]
mod tests;
mod writer;
mod zstd_frame;

pub use detect::LATER_FORMAT;
pub(crate) use error::ReadError;
pub(crate) use reader::FrameReader;
pub(crate) use writer::{FrameError, FrameWriter};

/// The size of a piece, in bytes. Measured on source text with zstd at level 3, against one single frame: pieces of
/// 1 MiB are 6.2 % larger, 2 MiB 3.0 %, 4 MiB 1.1 %, 8 MiB 0.6 %; and every piece in flight costs memory.
pub(crate) const PIECE: usize = 4 << 20;

/// The most threads that decompress the frames of one stream at once. Each frame in flight takes up to 10 MiB, so memory
/// would grow with the cores otherwise. One thread unpacks what they give.
const MAX_DECODERS: usize = 4;
