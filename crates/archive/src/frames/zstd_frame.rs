//! The structure of zstd frames (RFC 8878). It shows where a frame ends without decompressing it.

use super::error::ReadError;
use super::input::Input;
use crate::limits::Limits;

pub(super) const MAGIC: u32 = 0xfd2f_b528;
/// The magic numbers of skippable frames differ in their last four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// The longest header of a frame, in bytes: magic, descriptor, window, dictionary, content size.
const MAX_HEADER: usize = 4 + 1 + 1 + 4 + 8;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The length of the header with its magic number, in bytes.
    len: usize,
    /// The size of the content in bytes, if the header states it.
    pub(super) content_size: Option<u64>,
    /// The window: how far back a decoder refers to its own output, in bytes.
    pub(super) window: u64,
    has_checksum: bool,
}

/// The next item of a stream of frames.
pub(super) enum Next {
    End,
    Skippable { len: u64 },
    Frame(Header),
}

/// Whether a stream of frames may begin with these bytes.
pub(super) fn begins_frame(head: &[u8]) -> bool {
    little_endian(head, 4).is_some_and(|magic| magic == u64::from(MAGIC) || is_skippable(magic))
}

fn is_skippable(magic: u64) -> bool {
    magic & !0xf == u64::from(SKIPPABLE)
}

/// Reads the header of the next frame. Consumes a skippable frame's header, and leaves any other in the stream.
pub(super) fn next(input: &mut Input, limits: &Limits) -> Result<Next, ReadError> {
    let head = input.peek(MAX_HEADER)?;
    if head.is_empty() {
        return Ok(Next::End);
    }
    let truncated = || ReadError::Truncated { place: "within the header of a zstd frame" };
    let magic = little_endian(head, 4).ok_or_else(truncated)?;
    if is_skippable(magic) {
        let len = little_endian(&head[4..], 4).ok_or_else(truncated)?;
        input.skip(8);
        return Ok(Next::Skippable { len });
    }
    if magic != u64::from(MAGIC) {
        return Err(ReadError::damaged("behind a zstd frame is something else"));
    }
    let header = Header::parse(head).ok_or_else(truncated)?;
    let limit = 1_u64.checked_shl(limits.zstd_window_log).unwrap_or(u64::MAX);
    if header.window > limit {
        return Err(ReadError::damaged(format!(
            "a zstd frame needs a window of {} bytes to be decompressed, and the limit is {limit}",
            header.window
        )));
    }
    Ok(Next::Frame(header))
}

impl Header {
    fn parse(head: &[u8]) -> Option<Self> {
        let descriptor = *head.get(4)?;
        let single_segment = descriptor & 0b10_0000 != 0;
        let mut at = 5;
        let mut window = 0;
        if !single_segment {
            let byte = u64::from(*head.get(at)?);
            let base = 1 << (10 + (byte >> 3));
            window = base + base / 8 * (byte & 0b111);
            at += 1;
        }
        at += [0, 1, 2, 4][usize::from(descriptor & 0b11)];
        let size_len = match descriptor >> 6 {
            0 if single_segment => 1,
            0 => 0,
            1 => 2,
            2 => 4,
            _ => 8,
        };
        let content_size = match size_len {
            0 => None,
            // The offset gives each size a single encoding.
            2 => Some(little_endian(head.get(at..)?, 2)? + 256),
            len => Some(little_endian(head.get(at..)?, len)?),
        };
        if single_segment {
            window = content_size?;
        }
        Some(Self { len: at + size_len, content_size, window, has_checksum: descriptor & 0b100 != 0 })
    }
}

/// The result of reading a whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    Frame,
    /// The frame exceeds the limit, and was not read completely.
    TooLarge,
}

/// Appends the next frame to `frame`, block by block.
pub(super) fn gather(
    input: &mut Input,
    header: Header,
    frame: &mut Vec<u8>,
    limit: usize,
) -> Result<Gathered, ReadError> {
    let truncated = || ReadError::Truncated { place: "within a zstd frame" };
    let read = |input: &mut Input, frame: &mut Vec<u8>, len| {
        if input.read_onto(frame, len)? { Ok(()) } else { Err(truncated()) }
    };
    read(input, frame, header.len)?;
    loop {
        read(input, frame, 3)?;
        let block = little_endian(&frame[frame.len() - 3..], 3).ok_or_else(truncated)?;
        let (last, kind, size) = (block & 1 == 1, block >> 1 & 0b11, block >> 3);
        let size = match kind {
            // A block of one repeated byte.
            1 => 1,
            0 | 2 => usize::try_from(size).map_err(|_| truncated())?,
            _ => return Err(ReadError::damaged("a zstd frame has a block of a kind that does not exist")),
        };
        if frame.len() + size > limit {
            return Ok(Gathered::TooLarge);
        }
        read(input, frame, size)?;
        if last {
            break;
        }
    }
    if header.has_checksum {
        read(input, frame, 4)?;
    }
    Ok(Gathered::Frame)
}

/// Returns the number in the first `len` bytes, or `None` if there are fewer.
fn little_endian(bytes: &[u8], len: usize) -> Option<u64> {
    let mut number = [0; 8];
    number[..len].copy_from_slice(bytes.get(..len)?);
    Some(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_their_bits_say() {
        let parse = |bits: &[u8]| Header::parse(&[&MAGIC.to_le_bytes()[..], bits].concat());
        let header = |len, content_size, window, has_checksum| {
            Some(Header { len, content_size, window, has_checksum })
        };
        // A window of 1 KiB, one that is 3/8 larger, and no size.
        assert_eq!(parse(&[0, 0]), header(6, None, 1024, false));
        assert_eq!(parse(&[0b100, 3]), header(6, None, 1024 + 384, true));
        // The limit is 2^27. The format allows over three terabytes.
        assert_eq!(parse(&[0, 17 << 3]).unwrap().window, 1 << 27);
        assert_eq!(parse(&[0, 0xff]).unwrap().window, (1 << 41) + 7 * (1 << 38));
        // In a single segment, the window is the size.
        assert_eq!(parse(&[0b10_0000, 7]), header(6, Some(7), 7, false));
        assert_eq!(parse(&[0b110_0000, 1, 1]), header(7, Some(256 + 257), 513, false));
        assert_eq!(parse(&[0b1010_0100, 0, 0, 64, 0]), header(9, Some(4 << 20), 4 << 20, true));
        // Dictionaries of every length, and a size of eight bytes after a window.
        assert_eq!(
            parse(&[0b1100_0011, 0, 1, 2, 3, 4, 9, 0, 0, 0, 0, 0, 0, 0]),
            header(18, Some(9), 1024, false)
        );
        assert_eq!(parse(&[0b1100_0011, 0, 1, 2, 3, 4, 9, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(parse(&[]), None);
    }
}
