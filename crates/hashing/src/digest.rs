//! Hash schemes and their digests.

use std::fmt;
use std::str::FromStr;

use md5::Md5;
use sha2::{Digest as _, Sha256};

/// A way to hash outputs and commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// BLAKE3 of files and manifests. It is the default: fast and parallel.
    #[default]
    Blake3,
    /// SHA-256 of files and the same manifests, where rules demand it.
    Sha256,
    /// MD5 as weasel and spaCy projects compute it, for exchange with them only. It detects accidents, not attackers.
    Weasel,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 3] = [Self::Blake3, Self::Sha256, Self::Weasel];

    /// Returns the name on the command line. It is also the first part of every hash, except under [`Scheme::Weasel`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
            Self::Weasel => "weasel",
        }
    }

    /// Returns the length of a digest, in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Blake3 | Self::Sha256 => 32,
            Self::Weasel => 16,
        }
    }

    /// Returns whether the hash of a tree is the digest of a manifest with the digests of its files. Under
    /// [`Scheme::Weasel`] it is the digest of the concatenated files.
    pub const fn has_manifests(self) -> bool {
        !matches!(self, Self::Weasel)
    }

    /// Hashes `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = DigestHasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of a [`Scheme`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown hash scheme `{0}`: it is one of blake3, sha256, weasel")]
pub struct UnknownScheme(String);

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.name() == text)
            .ok_or_else(|| UnknownScheme(text.to_owned()))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The output of the hash function of a scheme: 32 bytes, or 16 under [`Scheme::Weasel`]. It is displayed as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    bytes: [u8; 32],
    len: u8,
}

impl Digest {
    pub(crate) fn new(source: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..source.len()].copy_from_slice(source);
        Self { bytes, len: if source.len() == 16 { 16 } else { 32 } }
    }

    /// Returns the bytes of the digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A manifest has one for each file. Formatting byte by byte took a noticeable part of the time.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.as_bytes()) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
        let text = str::from_utf8(&text[..2 * self.as_bytes().len()]).map_err(|_| fmt::Error)?;
        f.write_str(text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Computes a [`Digest`] of a stream of bytes.
#[derive(Clone, Debug)]
pub struct DigestHasher(Function);

#[derive(Clone, Debug)]
enum Function {
    // Boxed, because its state is almost two kilobytes.
    Blake3(Box<blake3::Hasher>),
    Sha256(Sha256),
    Md5(Md5),
}

impl DigestHasher {
    /// Creates a hasher of no bytes.
    pub fn new(scheme: Scheme) -> Self {
        Self(match scheme {
            Scheme::Blake3 => Function::Blake3(Box::default()),
            Scheme::Sha256 => Function::Sha256(Sha256::new()),
            Scheme::Weasel => Function::Md5(Md5::new()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Function::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Function::Sha256(hasher) => hasher.update(bytes),
            Function::Md5(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> Digest {
        match self.0 {
            Function::Blake3(hasher) => Digest::new(hasher.finalize().as_bytes()),
            Function::Sha256(hasher) => Digest::new(&hasher.finalize()),
            Function::Md5(hasher) => Digest::new(&hasher.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_named_functions() {
        let hex = |scheme: Scheme| scheme.digest(b"abc").to_string();
        assert_eq!(hex(Scheme::Blake3), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(hex(Scheme::Sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(Scheme::Weasel), "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn pieces_do_not_change_a_digest() {
        let bytes: Vec<u8> = (0_u32..400_000).map(|i| (i % 251) as u8).collect();
        for scheme in Scheme::ALL {
            let mut hasher = DigestHasher::new(scheme);
            hasher.update(&bytes[..1]);
            hasher.update(&bytes[1..300_000]);
            hasher.update(&bytes[300_000..]);
            assert_eq!(hasher.finish(), scheme.digest(&bytes), "{scheme}");
        }
    }
}
