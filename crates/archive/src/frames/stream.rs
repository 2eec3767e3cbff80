//! Decompression of streams that cannot be taken apart: one thread, whatever their size, with bounded memory.

use std::io;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use futures::executor::block_on;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream, TELL_UNSUPPORTED_CHECK};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::input::Input;
use super::pool::Pool;
use super::reader::ReadError;
use crate::limits::Limits;

/// How much is decompressed before it is handed over, in bytes: enough to make the hand-over cheap.
pub(super) const STREAM_PIECE: usize = 1 << 20;

/// What liblzma needs beside the dictionary, in bytes, generously.
const XZ_OVERHEAD: u64 = 1 << 20;

/// Takes decompressed bytes. `false` where nobody wants more.
pub(super) type Output<'a> = dyn FnMut(Bytes) -> bool + 'a;

/// What is said of a stream that does not come to its end.
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

/// A gzip stream: members, one behind the other.
pub(super) fn gzip(input: &mut Input, pool: &Pool, output: &mut Output<'_>) -> Result<(), ReadError> {
    let mut decoder = GzipDecoder::new(&mut *input);
    decoder.multiple_members(true);
    let end = drain(|buffer| read_async(&mut decoder, buffer), pool, output);
    judge(end, input, &GZIP)
}

/// A bzip2 stream: streams, one behind the other.
pub(super) fn bzip2(input: &mut Input, pool: &Pool, output: &mut Output<'_>) -> Result<(), ReadError> {
    let mut decoder = BzDecoder::new(&mut *input);
    decoder.multiple_members(true);
    let end = drain(|buffer| read_async(&mut decoder, buffer), pool, output);
    judge(end, input, &BZIP2)
}

/// An xz stream: streams, one behind the other, with padding as the format has it.
///
/// Decoded by liblzma itself. The decoder of async-compression begins anew with every stream, by guessing: it takes
/// streams of two older formats in the place of later ones, and padding of any length at the end.
pub(super) fn xz(
    input: &mut Input,
    pool: &Pool,
    limits: &Limits,
    output: &mut Output<'_>,
) -> Result<(), ReadError> {
    let memory = limits.xz_dictionary.saturating_add(XZ_OVERHEAD);
    let stream = Stream::new_stream_decoder(memory, CONCATENATED | TELL_UNSUPPORTED_CHECK)
        .map_err(|error| ReadError::codec(XZ.broken, error))?;
    let mut decoder = XzDecoder::new_stream(&mut *input, stream);
    let end = drain(|buffer| io::Read::read(&mut decoder, buffer), pool, output);
    judge(end, input, &XZ)
}

/// One zstd frame of any size. What comes behind it is left where it is.
pub(super) fn zstd(
    input: &mut Input,
    pool: &Pool,
    limits: &Limits,
    output: &mut Output<'_>,
) -> Result<(), ReadError> {
    let parameters = [DParameter::window_log_max(limits.zstd_window_log)];
    let mut decoder = ZstdDecoder::with_params(&mut *input, &parameters);
    let end = drain(|buffer| read_async(&mut decoder, buffer), pool, output);
    judge(end, input, &ZSTD)
}

/// Reads a codec whose input is always ready.
fn read_async(decoder: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    block_on(decoder.read(buffer))
}

/// Reads a codec to its end.
fn drain(
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    pool: &Pool,
    output: &mut Output<'_>,
) -> io::Result<()> {
    loop {
        let mut buffer = pool.take();
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

/// Tells a stream that did not arrive from one that is damaged, and from one that is cut short.
fn judge(end: io::Result<()>, input: &mut Input, words: &Words) -> Result<(), ReadError> {
    match (end, input.take_failure()) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) if error.kind() == io::ErrorKind::UnexpectedEof && input.is_at_end() => {
            Err(ReadError::Truncated { place: words.truncated })
        }
        (Err(error), None) => Err(ReadError::codec(words.broken, error)),
        (Ok(()), None) => Ok(()),
    }
}
