//! Archives as sequences of independent frames.
//!
//! A tar stream is cut into pieces of [`PIECE`] bytes, and each is compressed on its own: a zstd frame, a gzip member, an
//! xz or a bzip2 stream. Their concatenation is a valid stream of its format. All cores work independently, and a zstd
//! stream can be split again without decompressing it. Without compression there are no frames, and the pieces are smaller.

mod detect;
mod encoder;
mod encoder_thread;
mod encoders;
mod error;
mod input;
mod large_window;
mod piece;
mod reader;
#[cfg(test)]
mod samples;
mod stream;
#[cfg(test)]
mod tests;
mod writer;
mod xz_stream;
mod zstd_frame;

pub use detect::LATER_FORMAT;
pub(crate) use error::ReadError;
pub(crate) use piece::PIECE;
pub(crate) use reader::FrameReader;
pub(crate) use writer::{FrameError, FrameWriter};
