//! Compresses one piece into one frame.

use std::io;

use async_compression::Level;
use async_compression::tokio::bufread::BzEncoder;
use futures::executor::block_on;
use libdeflater::{CompressionLvl, Compressor as GzipCompressor};
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use tokio::io::AsyncReadExt as _;
use zstd::bulk::Compressor as ZstdCompressor;

use super::piece::PIECE;
use crate::compression::{Compression, Format};

/// Compresses pieces with one codec, and reuses its memory.
///
/// zstd and gzip compress the whole piece in one call. zstd's streaming interface could not put the size into the frame's
/// header. libdeflate has no other interface, and is several times as fast as zlib. Its output depends only on the input
/// and the level, but that of zlib-rs also depends on the processor.
pub(super) enum Encoder {
    Zstd { compressor: Box<ZstdCompressor<'static>>, level: i32 },
    Gzip { compressor: GzipCompressor, fast: GzipCompressor, store: GzipCompressor },
    Xz { level: u32 },
    Bzip2 { level: i32 },
    None,
}

/// The size of a sample of a piece, in bytes. 64 KiB from all over the piece show an entropy coder's ratio, in 2 % of the
/// time that the whole piece takes.
const SAMPLE_PART: usize = 4 << 10;
const SAMPLE_PARTS: usize = 16;

/// Pieces of up to this size, in bytes, are compressed without a sample.
const ALWAYS_COMPRESSED: usize = 4 * SAMPLE_PARTS * SAMPLE_PART;

/// The level at which zstd does not search for matches and stores literals. It is as fast as copying.
const ZSTD_STORE: i32 = -(128 << 10);
const ZSTD_FAST: i32 = 1;

/// The level at which xz has a dictionary of 4 MiB. Lower levels have smaller ones, and higher levels larger ones.
const XZ_LEVEL_WITH_DICTIONARY_OF_A_PIECE: u32 = 3;

impl Encoder {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        let level = i32::from(compression.level().unwrap_or_default());
        Ok(match compression.format() {
            Format::Zstd => {
                let mut compressor = Box::new(ZstdCompressor::new(level)?);
                compressor.include_checksum(true)?;
                compressor.include_contentsize(true)?;
                Self::Zstd { compressor, level }
            }
            Format::Gzip => Self::Gzip {
                compressor: gzip_compressor(level)?,
                fast: gzip_compressor(1)?,
                store: gzip_compressor(0)?,
            },
            Format::Xz => Self::Xz { level: u32::from(compression.level().unwrap_or_default()) },
            Format::Bzip2 => Self::Bzip2 { level },
            Format::None => Self::None,
        })
    }

    /// Returns the most memory that one encoder takes, in bytes. The figures for xz and bzip2 come from their manual pages,
    /// those for zstd and gzip were measured.
    pub(super) fn memory(compression: Compression) -> usize {
        const MIB: usize = 1 << 20;
        let level = compression.level().unwrap_or_default();
        let mib = match compression.format() {
            Format::Zstd => match level {
                ..=4 => 3,
                5..=8 => 6,
                9 => 11,
                10 | 11 => 21,
                12 => 41,
                13 | 16 => 36,
                15 => 68,
                _ => 52,
            },
            Format::Gzip => 2,
            Format::Xz => match level {
                0 => 3,
                1 => 9,
                2 => 17,
                3 => 32,
                _ => 48,
            },
            Format::Bzip2 => 8,
            Format::None => 0,
        };
        mib * MIB
    }

    /// Whether an encoder of this format allocates its memory anew for each piece.
    pub(super) fn allocates_for_each_piece(format: Format) -> bool {
        matches!(format, Format::Xz | Format::Bzip2)
    }

    /// Returns an upper bound for the frame of a piece of `len` bytes. bzip2 is the worst: it adds 1 % and 600 bytes.
    pub(super) const fn bound(len: usize) -> usize {
        len + len / 64 + 4096
    }

    /// Replaces `frame` by the frame of `piece`.
    pub(super) fn encode(&mut self, piece: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        frame.clear();
        match self {
            Self::Zstd { compressor, level } => {
                let level = *level;
                let compress_at =
                    |compressor: &mut ZstdCompressor<'_>, level, piece: &[u8], frame: &mut Vec<u8>| {
                        compressor.set_compression_level(level)?;
                        frame.try_reserve(Self::bound(piece.len()))?;
                        compressor.compress_to_buffer(piece, frame)
                    };
                let worth_it =
                    is_worth_it(piece, |sample| compress_at(compressor, ZSTD_FAST, sample, frame))?;
                frame.clear();
                compress_at(compressor, if worth_it { level } else { ZSTD_STORE }, piece, frame)?;
                Ok(())
            }
            Self::Gzip { compressor, fast, store } => {
                let worth_it = is_worth_it(piece, |sample| gzip(fast, sample, frame))?;
                gzip(if worth_it { compressor } else { store }, piece, frame)?;
                Ok(())
            }
            Self::Xz { level } => xz(*level, piece, frame),
            Self::Bzip2 { level } => bzip2(*level, piece, frame),
            Self::None => {
                frame.try_reserve(piece.len())?;
                frame.extend_from_slice(piece);
                Ok(())
            }
        }
    }
}

fn gzip_compressor(level: i32) -> io::Result<GzipCompressor> {
    let level = CompressionLvl::new(level).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(GzipCompressor::new(level))
}

/// Replaces `frame` by a gzip member without a time or a name.
fn gzip(compressor: &mut GzipCompressor, piece: &[u8], frame: &mut Vec<u8>) -> io::Result<usize> {
    frame.try_reserve(Encoder::bound(piece.len()).saturating_sub(frame.len()))?;
    frame.resize(Encoder::bound(piece.len()), 0);
    let len = compressor.gzip_compress(piece, frame).map_err(io::Error::other)?;
    frame.truncate(len);
    Ok(len)
}

/// Whether compression is likely to save a tenth of `piece` or more, judged by a sample. Depends on the bytes only.
fn is_worth_it(piece: &[u8], mut compress: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
    if piece.len() <= ALWAYS_COMPRESSED {
        return Ok(true);
    }
    let mut sample = Vec::with_capacity(SAMPLE_PARTS * SAMPLE_PART);
    let stride = (piece.len() - SAMPLE_PART) / (SAMPLE_PARTS - 1);
    for part in 0..SAMPLE_PARTS {
        let start = part * stride;
        sample.extend_from_slice(&piece[start..start + SAMPLE_PART]);
    }
    Ok(compress(&sample)? <= sample.len() / 10 * 9)
}

/// Replaces `frame` by an xz stream with one block.
///
/// The dictionary is as large as the piece. A larger one needs twice the memory at levels 5 and 6, and finds nothing more.
fn xz(level: u32, piece: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
    let dictionary = u32::try_from(PIECE).expect("a piece has a few mebibytes");
    let mut options = LzmaOptions::new_preset(level)?;
    if level > XZ_LEVEL_WITH_DICTIONARY_OF_A_PIECE {
        options.dict_size(dictionary);
    }
    let mut stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc64)?;
    frame.try_reserve(Encoder::bound(piece.len()))?;
    match stream.process_vec(piece, frame, Action::Finish)? {
        Status::StreamEnd => Ok(()),
        _ => Err(too_large()),
    }
}

/// Replaces `frame` by a bzip2 stream.
///
/// The encoder of async-compression flushes at the end of every read, which ends a block. The frame is always the same only
/// if one read gets everything.
fn bzip2(level: i32, piece: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = BzEncoder::with_quality(piece, Level::Precise(level));
    frame.try_reserve(Encoder::bound(piece.len()))?;
    frame.resize(Encoder::bound(piece.len()), 0);
    // The input is in memory, so this never waits.
    let len = block_on(encoder.read(frame))?;
    if block_on(encoder.read(&mut [0]))? > 0 {
        return Err(too_large());
    }
    frame.truncate(len);
    Ok(())
}

fn too_large() -> io::Error {
    io::Error::other("the frame is larger than the format allows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::samples::{noise, text};

    fn encode(compression: &str, piece: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        Encoder::new(compression.parse().unwrap()).unwrap().encode(piece, &mut frame).unwrap();
        frame
    }

    #[test]
    fn every_frame_fits_into_the_bound() {
        for name in ["zstd:1", "zstd:19", "gzip:1", "gzip:9", "xz:0", "bzip2:1", "none"] {
            for len in [0, 1, 1000, 100_000, PIECE] {
                let frame = encode(name, &noise(len));
                assert!(frame.len() <= Encoder::bound(len), "{name} {len}");
            }
        }
    }

    #[test]
    fn zstd_stays_within_the_counted_memory() {
        for level in 1..=19 {
            let compression = Compression::with_level(Format::Zstd, level).unwrap();
            let mut encoder = Encoder::new(compression).unwrap();
            encoder.encode(&vec![0; PIECE], &mut Vec::new()).unwrap();
            let Encoder::Zstd { compressor, .. } = &mut encoder else { panic!("{level}") };
            let taken = compressor.context_mut().sizeof();
            assert!(taken <= Encoder::memory(compression), "level {level} takes {taken} bytes");
        }
    }

    #[test]
    fn incompressible_bytes_are_stored() {
        // Seven random bits per byte save an eighth, and seven and a half a sixteenth.
        let eighth: Vec<u8> = noise(PIECE).iter().map(|byte| byte & 0x7f).collect();
        let sixteenth: Vec<u8> = noise(PIECE).chunks(2).flat_map(|pair| [pair[0] & 0x7f, pair[1]]).collect();
        for name in ["zstd", "gzip"] {
            assert!(encode(name, &eighth).len() < PIECE / 100 * 89, "{name}");
            assert!(encode(name, &sixteenth).len() >= PIECE, "{name}");
            assert!(encode(name, &text(PIECE)).len() < PIECE / 2, "{name}");
        }
    }

    #[test]
    fn a_zstd_frame_names_its_size_and_has_a_checksum() {
        for piece in [noise(PIECE), text(PIECE), text(10), Vec::new()] {
            let frame = encode("zstd", &piece);
            assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(piece.len() as u64));
            assert_ne!(frame[4] & 0b100, 0, "the checksum flag");
        }
    }

    #[test]
    fn a_reused_encoder_produces_the_same_frames() {
        // zstd's levels 5 to 12 salt their hashes with what was compressed before.
        let names = ["zstd:1", "zstd", "zstd:5", "zstd:9", "zstd:12", "zstd:19", "gzip", "xz", "bzip2"];
        for name in names {
            let mut encoder = Encoder::new(name.parse().unwrap()).unwrap();
            let mut frame = Vec::new();
            encoder.encode(&noise(PIECE), &mut frame).unwrap();
            encoder.encode(&text(600_000), &mut frame).unwrap();
            encoder.encode(&text(500_000), &mut frame).unwrap();
            assert!(frame == encode(name, &text(500_000)), "{name}");
        }
    }
}
