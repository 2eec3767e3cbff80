//! Parts of uploads, in memory or, if they are large, in temporary files.

use std::io;

use aws_sdk_s3::primitives::{ByteStream, Length};
use bytes::Bytes;
use larder_backend::{Error, ErrorKind, Operation};
use larder_tree::BufferPool;
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

const MIB: usize = 1024 * 1024;

/// The size of parts in bytes, if 10,000 of them are enough.
const USUAL_PART: usize = 8 * MIB;

/// Parts above this size, in bytes, are kept in a temporary file, so that memory does not grow with the output.
const LARGEST_IN_MEMORY: usize = 64 * MIB;

/// The number of parts if the size hint is right. S3 allows 10,000. The rest is for hints that are too small, for example
/// because they do not count what an archive adds to its files.
const PLANNED_PARTS: u64 = 9_000;

/// Chooses the one size of all parts, in bytes, so that S3's 10,000 of them hold the object.
pub(crate) fn part_size(size_hint: Option<u64>) -> usize {
    let needed = size_hint.unwrap_or_default().div_ceil(PLANNED_PARTS);
    let needed = usize::try_from(needed).unwrap_or(usize::MAX / 2).next_multiple_of(MIB);
    needed.max(USUAL_PART)
}

/// How many bytes are sent at once, besides the part that is being filled: the bandwidth times delay of 1 Gbit/s and 400
/// ms. They are most of the memory of an upload.
const IN_FLIGHT: usize = 48 * MIB;

/// How many parts of this size are sent at once. Larger parts are fewer, so that memory does not grow. There are at least
/// two, so that one is sent while another waits for its answer.
pub(crate) fn parts_at_once(part_size: usize) -> usize {
    (IN_FLIGHT / part_size.max(1)).clamp(2, IN_FLIGHT / USUAL_PART)
}

/// A part that is being filled.
#[derive(Debug)]
pub(crate) struct PartBuffer {
    size: usize,
    len: usize,
    content: PartContent,
}

#[derive(Debug)]
enum PartContent {
    Memory(Vec<u8>, BufferPool),
    /// `None` before the first byte.
    File(Option<(NamedTempFile, File)>),
}

impl PartBuffer {
    /// Prepares a part of at most `size` bytes. Small parts take their memory from `pool`.
    pub(crate) fn new(size: usize, pool: &BufferPool) -> Self {
        let content = if size <= LARGEST_IN_MEMORY {
            PartContent::Memory(Vec::new(), pool.clone())
        } else {
            PartContent::File(None)
        };
        Self { size, len: 0, content }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.size
    }

    /// Takes the bytes that fit.
    pub(crate) async fn take(&mut self, chunk: &mut Bytes) -> io::Result<()> {
        let taken = chunk.split_to(chunk.len().min(self.size - self.len));
        match &mut self.content {
            PartContent::Memory(buffer, pool) => {
                if buffer.capacity() == 0 {
                    // Not earlier: all buffers are in use until there is room for another part.
                    *buffer = pool.take(0)?;
                    buffer.clear();
                }
                let len = buffer.len() + taken.len();
                if len > buffer.capacity() && len >= MIB {
                    // The part will be full, and growing step by step would copy it again and again.
                    buffer.try_reserve_exact(self.size - buffer.len())?;
                }
                buffer.extend_from_slice(&taken);
            }
            PartContent::File(file) => {
                let (_, writer) = if let Some(file) = file {
                    file
                } else {
                    let made = tokio::task::spawn_blocking(NamedTempFile::new).await??;
                    let writer = File::from_std(made.reopen()?);
                    file.insert((made, writer))
                };
                writer.write_all(&taken).await?;
            }
        }
        self.len += taken.len();
        Ok(())
    }

    /// Ends the part.
    pub(crate) async fn finish(self) -> io::Result<S3Part> {
        Ok(match self.content {
            PartContent::Memory(buffer, pool) => S3Part::Memory(pool.freeze(buffer)),
            PartContent::File(None) => S3Part::Memory(Bytes::new()),
            PartContent::File(Some((file, mut writer))) => {
                writer.flush().await?;
                S3Part::File { file, len: self.len as u64 }
            }
        })
    }
}

/// A part that can be sent several times.
#[derive(Debug)]
pub(crate) enum S3Part {
    Memory(Bytes),
    File { file: NamedTempFile, len: u64 },
}

impl S3Part {
    /// The length in bytes.
    pub(crate) fn len(&self) -> i64 {
        let len = match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { len, .. } => *len,
        };
        i64::try_from(len).unwrap_or(i64::MAX)
    }

    /// The body of a request.
    pub(crate) async fn body(&self) -> io::Result<ByteStream> {
        match self {
            Self::Memory(bytes) => Ok(ByteStream::from(bytes.clone())),
            Self::File { file, len } => ByteStream::read_from()
                .path(file.path())
                .length(Length::Exact(*len))
                .build()
                .await
                .map_err(io::Error::other),
        }
    }
}

/// The error of a part that could not be kept in a temporary file.
pub(crate) fn spool_error(location: impl Into<String>, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Other,
    };
    Error::new(kind, Operation::Put, location)
        .with_hint("parts of such a large upload are kept in temporary files: see TMPDIR")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn all_sizes_fit_into_ten_thousand_parts() {
        assert_eq!(part_size(None), USUAL_PART);
        assert_eq!(part_size(Some(1)), USUAL_PART);
        for size in [1 << 30, 140 << 30, 500 << 30, TIB, 5 * TIB] {
            let part = part_size(Some(size)) as u64;
            assert!((size + size / 10).div_ceil(part) <= 10_000, "{size} in parts of {part}");
            assert!(part <= 5 << 30, "S3 takes parts of up to 5 GiB");
        }
    }

    #[test]
    fn what_is_under_way_grows_less_than_its_parts() {
        assert_eq!(parts_at_once(USUAL_PART), 6);
        // Servers of tests take parts that are tiny.
        assert_eq!(parts_at_once(1), 6);
        assert_eq!(parts_at_once(16 * MIB), 3);
        for size in [1 << 30, 140 << 30, 500 << 30, TIB, 5 * TIB] {
            let part = part_size(Some(size));
            let (at_once, most) = (parts_at_once(part), IN_FLIGHT.max(2 * part));
            assert!(at_once >= 2 && at_once * part <= most, "{at_once} parts of {part}");
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_goes_to_a_file() {
        for size in [3, LARGEST_IN_MEMORY + 1] {
            let mut buffer = PartBuffer::new(size, &BufferPool::default());
            let mut chunk = Bytes::from_static(b"abcdef");
            buffer.take(&mut chunk).await.unwrap();
            let part = buffer.finish().await.unwrap();
            let body = part.body().await.unwrap().collect().await.unwrap().into_bytes();
            let expected = &b"abcdef"[..size.min(6)];
            assert_eq!(body, expected);
            assert_eq!(part.len(), i64::try_from(expected.len()).unwrap());
            assert_eq!(matches!(part, S3Part::File { .. }), size > LARGEST_IN_MEMORY);
        }
    }
}
