//! Errors of decompression.

use std::collections::TryReserveError;
use std::error::Error;
use std::io;

/// An archive could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The compressed stream itself ended with an error.
    #[error("failed to read the archive")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The archive is damaged.
    #[error("{what}")]
    Damaged {
        /// The problem, as the end of a sentence about the archive.
        what: String,
        /// The codec's error.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The compressed stream ends early.
    #[error("it ends early: {place}")]
    Truncated {
        /// Where it ends.
        place: &'static str,
    },
    /// A later version of larder wrote the object.
    #[error("it needs a newer larder")]
    NewerLarder,
    /// The system refused a thread.
    #[error("failed to start a thread that decompresses")]
    Thread(#[source] io::Error),
    /// There is no memory for a buffer or for a codec.
    #[error("there is not enough memory to decompress")]
    Memory(#[source] io::Error),
    /// A decompressing thread panicked, which is a bug in this crate.
    #[error("a thread that decompresses failed unexpectedly")]
    Panicked,
}

/// How many bytes of tiny frames an archive may have in any case. As many frames as they pay for take less than a second.
const FREE_BYTES: u64 = 8 << 20;

/// The data that pays for a frame of zstd or a member of gzip, in bytes: a block of tar. It takes some 10 µs. Programs that
/// compress in parallel write frames of 64 KiB and more. Archives that are joined from small ones have frames of some blocks.
pub(super) const BYTES_PER_FRAME: u64 = 512;

/// The data that pays for a stream of bzip2, in bytes. It takes up to 370 µs. `tar` writes archives of 10 KiB and more.
pub(super) const BYTES_PER_BZIP2_STREAM: u64 = 4 << 10;

/// The frames of an archive, and the data in them. Bounds the time that an archive of tiny or empty frames takes.
#[derive(Debug)]
pub(super) struct FrameCount {
    frames: u64,
    bytes: u64,
    bytes_per_frame: u64,
}

/// The archive is cut into too many frames for its data.
#[derive(Debug, thiserror::Error)]
#[error("it is cut into too many tiny frames, members or streams")]
pub(super) struct TooManyFrames;

impl FrameCount {
    pub(super) fn new(bytes_per_frame: u64) -> Self {
        Self { frames: 0, bytes: FREE_BYTES, bytes_per_frame }
    }

    /// Counts a frame with this many bytes of data.
    pub(super) fn add(&mut self, bytes: u64) -> Result<(), TooManyFrames> {
        self.frames += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.frames > self.bytes / self.bytes_per_frame { Err(TooManyFrames) } else { Ok(()) }
    }
}

impl From<TryReserveError> for ReadError {
    fn from(error: TryReserveError) -> Self {
        Self::Memory(error.into())
    }
}

impl ReadError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), source: None }
    }

    pub(super) fn codec(what: &'static str, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged { what: what.into(), source: Some(error.into()) }
    }
}

/// Whether a codec got no memory. zstd's error has no kind, only a text.
pub(super) fn is_out_of_memory(error: &io::Error) -> bool {
    let of_liblzma = error.get_ref().and_then(|error| error.downcast_ref::<liblzma::stream::Error>());
    error.kind() == io::ErrorKind::OutOfMemory
        || of_liblzma == Some(&liblzma::stream::Error::Mem)
        || error.to_string() == "Allocation error : not enough memory"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_memory_differs_from_damage() {
        // ZSTD_error_memory_allocation is 64, and zstd returns the negative number.
        let zstd = zstd::zstd_safe::get_error_name(0_usize.wrapping_sub(64));
        assert!(is_out_of_memory(&io::Error::other(zstd)), "{zstd}");
        assert!(is_out_of_memory(&liblzma::stream::Error::Mem.into()));
        assert!(is_out_of_memory(&Vec::<u8>::new().try_reserve(usize::MAX / 2).unwrap_err().into()));
        assert!(!is_out_of_memory(&io::Error::other("Data corruption detected")));
    }
}
