//! Detects the compression of an archive from its first bytes.

use super::error::ReadError;
use super::zstd_frame;
use crate::compression::Format;

/// How many bytes [`detect`] needs, if the archive has as many: one block of a tar.
pub(super) const NEEDED: usize = 512;

/// The beginning of objects in later formats, which this version cannot read. They are not damaged.
pub const LATER_FORMAT: &[u8] = b"larder-";

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZSTD: &[u8] = &zstd_frame::MAGIC.to_le_bytes();
const BZIP2: &[u8] = b"BZh";

/// Returns the format of an archive that begins with `head`.
pub(super) fn detect(head: &[u8]) -> Result<Format, ReadError> {
    // Check for a tar first: it begins with the name of an output, which may look like another format.
    if is_tar(head) {
        return Ok(Format::None);
    }
    if head.starts_with(LATER_FORMAT) {
        return Err(ReadError::NewerLarder);
    }
    if zstd_frame::begins_frame(head) {
        return Ok(Format::Zstd);
    }
    if head.starts_with(GZIP) {
        return Ok(Format::Gzip);
    }
    if head.starts_with(XZ) {
        return Ok(Format::Xz);
    }
    if let [b'B', b'Z', b'h', b'1'..=b'9', ..] = head {
        return Ok(Format::Bzip2);
    }
    if head.is_empty() {
        return Err(ReadError::Truncated { place: "before its first byte" });
    }
    if [GZIP, XZ, ZSTD, BZIP2].iter().any(|magic| magic.starts_with(head)) {
        return Err(ReadError::Truncated { place: "within its first bytes" });
    }
    Err(ReadError::damaged(if head.len() < NEEDED {
        "it is too short for a tar, and neither zstd, gzip, xz nor bzip2"
    } else {
        "it is no tar, and neither zstd, gzip, xz nor bzip2"
    }))
}

/// The position of a header's checksum. It counts as eight spaces.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Whether a block is the header of a tar's entry, or the end of a tar.
fn is_tar(block: &[u8]) -> bool {
    if block.len() < NEEDED {
        return false;
    }
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte }))
        .sum();
    let field = block[CHECKSUM].iter().skip_while(|byte| **byte == b' ');
    let digits = field.take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold(0, |value: u32, digit| value * 8 + u32::from(digit - b'0')) == sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of an empty file.
    fn header(name: &str) -> Vec<u8> {
        let mut block = vec![0; NEEDED];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[CHECKSUM].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    #[test]
    fn the_first_bytes_say_what_it_is() {
        let detected = |head: &[u8]| detect(head).unwrap();
        assert_eq!(detected(&[0x28, 0xb5, 0x2f, 0xfd]), Format::Zstd);
        assert_eq!(detected(&[0x5a, 0x2a, 0x4d, 0x18]), Format::Zstd, "a skippable frame");
        assert_eq!(detected(&[0x1f, 0x8b, 8, 0]), Format::Gzip);
        assert_eq!(detected(b"\xfd7zXZ\0"), Format::Xz);
        assert_eq!(detected(b"BZh91AY"), Format::Bzip2);
        assert_eq!(detected(&[0; NEEDED]), Format::None);
        assert!(matches!(detect(b"larder-2\n"), Err(ReadError::NewerLarder)));
        for head in [&b""[..], b"\x1f", b"\xfd7z", b"\x28\xb5\x2f", b"BZ", b"BZh"] {
            assert!(matches!(detect(head), Err(ReadError::Truncated { .. })), "{head:?}");
        }
        for head in [&b"lard"[..], b"BZh0", b"PK\x03\x04", &[0; 511], &[7; NEEDED]] {
            assert!(matches!(detect(head), Err(ReadError::Damaged { .. })), "{head:?}");
        }
    }

    #[test]
    fn a_tar_is_recognized_under_any_first_name() {
        for name in ["model/", "larder-model/x", "BZh9", "\u{1f}\u{8b}"] {
            assert_eq!(detect(&header(name)).unwrap(), Format::None, "{name}");
        }
        let mut damaged = header("model");
        damaged[0] ^= 1;
        assert!(detect(&damaged).is_err());
    }
}
