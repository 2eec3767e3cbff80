//! CRC32C checksums as the JSON API writes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Encodes a checksum: base64 of its bytes, in big-endian order.
pub(crate) fn encoded(crc32c: u32) -> String {
    BASE64_STANDARD.encode(crc32c.to_be_bytes())
}
