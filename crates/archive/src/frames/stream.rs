//! Decompression of streams that cannot be split, on one thread and with bounded memory.

use std::io;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use futures::executor::block_on;
use larder_tree::BufferPool;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::error::{BYTES_PER_BZIP2_STREAM, BYTES_PER_FRAME, FrameCount, ReadError, is_out_of_memory};
use super::input::Input;
use super::xz_stream::XzReader;
use crate::limits::Limits;

/// The size of a decompressed piece in bytes. It is large enough to make the hand-over cheap.
pub(super) const STREAM_PIECE: usize = 1 << 20;

/// Takes decompressed bytes. Returns false if the receiver is gone.
pub(super) type PieceReceiver<'a> = dyn FnMut(Bytes) -> bool + 'a;

/// The error texts for a stream that breaks off.
struct Words {
    broken: &'static str,
    truncated: &'static str,
}

const GZIP: Words =
    Words { broken: "its gzip data cannot be decompressed", truncated: "within its gzip data" };
const BZIP2: Words =
    Words { broken: "its bzip2 data cannot be decompressed", truncated: "within its bzip2 data" };
const XZ: Words = Words { broken: "its xz data cannot be decompressed", truncated: "within its xz data" };
const ZSTD: Words = Words { broken: "a zstd frame cannot be decompressed", truncated: "within a zstd frame" };

/// Decompresses a gzip stream of one or more members.
pub(super) fn gzip(
    input: &mut Input,
    pool: &BufferPool,
    output: &mut PieceReceiver<'_>,
) -> Result<(), ReadError> {
    let end = drain_members(input, GzipDecoder::new, GzipDecoder::into_inner, BYTES_PER_FRAME, pool, output);
    judge(end, input, &GZIP)
}

/// Decompresses one or more bzip2 streams.
pub(super) fn bzip2(
    input: &mut Input,
    pool: &BufferPool,
    output: &mut PieceReceiver<'_>,
) -> Result<(), ReadError> {
    let end =
        drain_members(input, BzDecoder::new, BzDecoder::into_inner, BYTES_PER_BZIP2_STREAM, pool, output);
    judge(end, input, &BZIP2)
}

/// Decompresses one or more xz streams with their padding.
pub(super) fn xz(
    input: &mut Input,
    pool: &BufferPool,
    limits: &Limits,
    output: &mut PieceReceiver<'_>,
) -> Result<(), ReadError> {
    let mut reader = XzReader::new(input, limits)?;
    let end = drain(|buffer| reader.read(buffer), pool, output);
    drop(reader);
    judge(end, input, &XZ)
}

/// Decompresses one zstd frame of any size. Leaves the following bytes in the input.
pub(super) fn zstd(
    input: &mut Input,
    pool: &BufferPool,
    limits: &Limits,
    output: &mut PieceReceiver<'_>,
) -> Result<(), ReadError> {
    let parameters = [DParameter::window_log_max(limits.zstd_window_log)];
    let mut decoder = ZstdDecoder::with_params(&mut *input, &parameters);
    let end = drain(|buffer| read_async(&mut decoder, buffer), pool, output);
    judge(end, input, &ZSTD)
}

/// Decompresses consecutive members, each with its own decoder, so that the members can be counted.
fn drain_members<'a, D: AsyncRead + Unpin>(
    input: &'a mut Input,
    new: impl Fn(&'a mut Input) -> D,
    into_input: impl Fn(D) -> &'a mut Input,
    bytes_per_member: u64,
    pool: &BufferPool,
    output: &mut PieceReceiver<'_>,
) -> io::Result<()> {
    let mut decoder = Some(new(input));
    let mut members = FrameCount::new(bytes_per_member);
    let mut member_bytes = 0;
    let read = |buffer: &mut [u8]| {
        while let Some(mut member) = decoder.take() {
            let len = read_async(&mut member, buffer)?;
            if len > 0 {
                member_bytes += len as u64;
                decoder = Some(member);
                return Ok(len);
            }
            members.add(member_bytes).map_err(io::Error::other)?;
            member_bytes = 0;
            let input = into_input(member);
            if !io::BufRead::fill_buf(input)?.is_empty() {
                decoder = Some(new(input));
            }
        }
        Ok(0)
    };
    drain(read, pool, output)
}

/// Reads a codec whose input is always ready.
fn read_async(decoder: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    block_on(decoder.read(buffer))
}

/// Reads a codec to its end.
fn drain(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    pool: &BufferPool,
    output: &mut PieceReceiver<'_>,
) -> io::Result<()> {
    loop {
        let mut buffer = pool.take(STREAM_PIECE)?;
        buffer.resize(STREAM_PIECE, 0);
        let mut filled = 0;
        let mut ended = false;
        while filled < buffer.len() && !ended {
            match read(&mut buffer[filled..]) {
                Ok(len) => {
                    filled += len;
                    ended = len == 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        if !output(pool.freeze(buffer)) || ended {
            return Ok(());
        }
    }
}

/// Distinguishes a failed input, a damaged stream and a truncated one.
fn judge(end: io::Result<()>, input: &mut Input, words: &Words) -> Result<(), ReadError> {
    match (end, input.take_failure()) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) if error.kind() == io::ErrorKind::UnexpectedEof && input.is_at_end() => {
            Err(ReadError::Truncated { place: words.truncated })
        }
        (Err(error), None) if is_out_of_memory(&error) => Err(ReadError::Memory(error)),
        (Err(error), None) => Err(ReadError::codec(words.broken, error)),
        (Ok(()), None) => Ok(()),
    }
}
