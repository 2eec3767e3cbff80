//! CRC32C and MD5 in Google's notation.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use serde_json::Value;

use crate::gcs::failure::GcsFailure;

/// The size above which the server computes an MD5 only if a client sent one. MD5 takes longer than all other work of the
/// server, so a benchmark would measure it. Google's composite objects have no MD5 either.
const MD5_LIMIT: u64 = 64 << 20;

/// The checksums of a complete content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) crc32c: u32,
    pub(super) md5: Option<[u8; 16]>,
}

impl Checksums {
    /// Returns the value of the header `x-goog-hash`.
    pub(super) fn header(&self) -> String {
        let crc32c = encode_crc32c(self.crc32c);
        match self.md5 {
            Some(md5) => format!("crc32c={crc32c},md5={}", BASE64_STANDARD.encode(md5)),
            None => format!("crc32c={crc32c}"),
        }
    }

    /// Returns wrong checksums, as of another content.
    pub(super) fn wrong(mut self) -> Self {
        self.crc32c = !self.crc32c;
        self
    }
}

/// Encodes the big-endian bytes in base64.
pub(super) fn encode_crc32c(crc32c: u32) -> String {
    BASE64_STANDARD.encode(crc32c.to_be_bytes())
}

pub(super) fn encode_md5(md5: [u8; 16]) -> String {
    BASE64_STANDARD.encode(md5)
}

/// Computes the checksums while the bytes arrive.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    crc32c: u32,
    md5: Option<Md5>,
    len: u64,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self { crc32c: 0, md5: Some(Md5::new()), len: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        match &mut self.md5 {
            Some(md5) if self.len <= MD5_LIMIT => md5.update(bytes),
            _ => self.md5 = None,
        }
    }

    pub(super) fn finish(self) -> Checksums {
        Checksums { crc32c: self.crc32c, md5: self.md5.map(|md5| md5.finalize().into()) }
    }
}

/// The checksums that a client sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) crc32c: Option<u32>,
    pub(super) md5: Option<[u8; 16]>,
}

impl Expected {
    /// Reads the checksums in an object's metadata.
    pub(super) fn of_metadata(metadata: &Value) -> Result<Self, GcsFailure> {
        let text = |field: &str| metadata[field].as_str();
        Ok(Self {
            crc32c: text("crc32c").map(decode_crc32c).transpose()?,
            md5: text("md5Hash").map(decode).transpose()?,
        })
    }

    /// Reads a header `x-goog-hash`: pairs of a name and a value, separated by commas.
    pub(super) fn of_header(header: &str) -> Result<Self, GcsFailure> {
        let mut expected = Self::default();
        for pair in header.split(',').map(str::trim) {
            match pair.split_once('=') {
                Some(("crc32c", value)) => expected.crc32c = Some(decode_crc32c(value)?),
                Some(("md5", value)) => expected.md5 = Some(decode(value)?),
                _ => return Err(GcsFailure::invalid(format!("Invalid X-Goog-Hash header: {header}"))),
            }
        }
        Ok(expected)
    }

    /// Fills in missing checksums from `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self { crc32c: self.crc32c.or(other.crc32c), md5: self.md5.or(other.md5) }
    }

    /// Compares the checksums with the computed ones.
    pub(super) fn check(&self, computed: &Checksums) -> Result<(), GcsFailure> {
        let mismatch = |kind: &str, said: String, found: String| {
            GcsFailure::invalid(format!(
                "Provided {kind} \"{said}\" doesn't match calculated {kind} \"{found}\"."
            ))
        };
        if let Some(crc32c) = self.crc32c.filter(|said| *said != computed.crc32c) {
            return Err(mismatch("CRC32C", encode_crc32c(crc32c), encode_crc32c(computed.crc32c)));
        }
        match (self.md5, computed.md5) {
            (Some(said), Some(found)) if said != found => {
                Err(mismatch("MD5 hash", encode_md5(said), encode_md5(found)))
            }
            _ => Ok(()),
        }
    }
}

fn decode_crc32c(text: &str) -> Result<u32, GcsFailure> {
    decode(text).map(u32::from_be_bytes)
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], GcsFailure> {
    let bytes = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| GcsFailure::invalid(format!("Invalid hash: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Checksums {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn they_are_written_as_google_writes_them() {
        // `printf hello | gsutil hash -`
        assert_eq!(of(b"hello").header(), "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg==");
    }

    #[test]
    fn both_are_compared() {
        let right = of(b"hello");
        let said = Expected::of_header("crc32c=mnG7TA==, md5=XUFAKrxLKna5cZ2REBfFkg==").unwrap();
        said.check(&right).unwrap();
        assert_eq!(said.check(&of(b"hallo")).unwrap_err().status(), 400);
        let md5 = Expected { crc32c: None, ..said };
        assert!(md5.check(&of(b"hallo")).unwrap_err().message().contains("MD5"));
        assert!(Expected::of_header("crc32c=!").is_err());
    }
}
