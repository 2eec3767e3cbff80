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

/// How many frames, members or streams an archive may have in any case. A decoder for each of them takes up to 45 µs (bzip2),
/// so these take less than a second.
const FREE_FRAMES: u64 = 16 << 10;

/// The data that pays for another frame, in bytes: a block of tar. Programs that compress in parallel write frames of 64 KiB
/// and more, and archives that are joined of many small ones have frames of at least some blocks.
const BYTES_PER_FRAME: u64 = 512;

/// The frames of an archive, and the data in them. Bounds the time that an archive of tiny or empty frames takes.
#[derive(Debug, Default)]
pub(super) struct FrameCount {
    frames: u64,
    bytes: u64,
}

/// The archive is cut into too many frames for its data.
#[derive(Debug, thiserror::Error)]
#[error("it is cut into too many tiny frames, members or streams")]
pub(super) struct TooManyFrames;

impl FrameCount {
    /// Counts a frame with this many bytes of data.
    pub(super) fn add(&mut self, bytes: u64) -> Result<(), TooManyFrames> {
        self.frames += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.frames > FREE_FRAMES + self.bytes / BYTES_PER_FRAME { Err(TooManyFrames) } else { Ok(()) }
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
