//! The texts of hashes in keys and on the command line.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, Scheme};

/// The form of the text of a hash. It tells how the hash was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashForm {
    /// `blake3-<64 hex>` or `sha256-<64 hex>`: the digest of a file, or of a manifest of something else than a directory.
    Plain(Scheme),
    /// `blake3-tree-<64 hex>` or `sha256-tree-<64 hex>`: the digest of a directory's manifest.
    Tree(Scheme),
    /// 32 hex digits: an MD5 of weasel, or a custom name of that form.
    Hex32,
    /// Anything else: a custom name, which says nothing about the content.
    Opaque,
}

/// The text is not a hash that a key can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHash {
    /// The text is empty, too long, or has a character that keys do not allow.
    #[error("`{text}` is not a hash: it has 1 to 128 characters of A-Z a-z 0-9 _ -")]
    Characters {
        /// The refused text.
        text: String,
    },
    /// The text begins like a hash of a scheme, and is not one.
    #[error("`{text}` is not a well-formed {scheme} hash: {expected}")]
    Malformed {
        /// The refused text.
        text: String,
        /// The scheme that the text begins with.
        scheme: Scheme,
        /// The form of a hash of this scheme.
        expected: &'static str,
    },
}

const MAX_HASH_LEN: usize = 128;

fn form_of(text: &str, trees: bool) -> Result<HashForm, InvalidHash> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > MAX_HASH_LEN || !text.bytes().all(allowed) {
        return Err(InvalidHash::Characters { text: text.to_owned() });
    }
    for scheme in [Scheme::Blake3, Scheme::Sha256] {
        let Some(rest) = text.strip_prefix(scheme.name()).and_then(|rest| rest.strip_prefix('-')) else {
            continue;
        };
        let (digest, form) = match rest.strip_prefix("tree-") {
            Some(digest) if trees => (digest, HashForm::Tree(scheme)),
            _ => (rest, HashForm::Plain(scheme)),
        };
        if !is_lower_hex(digest, scheme.digest_len() * 2) {
            let expected = if trees {
                "the scheme, `-`, `tree-` for a directory, and 64 digits of lower-case hex"
            } else {
                "the scheme, `-`, and 64 digits of lower-case hex"
            };
            return Err(InvalidHash::Malformed { text: text.to_owned(), scheme, expected });
        }
        return Ok(form);
    }
    Ok(if is_lower_hex(text, Scheme::Weasel.digest_len() * 2) { HashForm::Hex32 } else { HashForm::Opaque })
}

fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! hash_text {
    ($(#[$doc:meta])* $name:ident, trees: $trees:literal) => {
        $(#[$doc])*
        ///
        /// Invariants: 1 to 128 characters of `A-Za-z0-9_-`; text that begins with `blake3-` or `sha256-` is a
        /// well-formed hash of that scheme.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Parses a hash from a user or a listing.
            ///
            /// # Errors
            ///
            /// The text breaks an invariant of the type.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidHash> {
                let text = text.into();
                form_of(&text, $trees)?;
                Ok(Self(text))
            }

            /// Returns the hash as it is in keys.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the form of the text.
            pub fn form(&self) -> HashForm {
                form_of(&self.0, $trees).expect("checked when it was made")
            }

            /// Returns the hash with this digest.
            pub(crate) fn plain(scheme: Scheme, digest: &Digest) -> Self {
                Self(match scheme {
                    Scheme::Weasel => digest.to_string(),
                    _ => format!("{scheme}-{digest}"),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidHash;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}

hash_text! {
    /// The hash of the content of an output.
    ContentHash, trees: true
}

hash_text! {
    /// The hash of the command that made an output.
    CommandHash, trees: false
}

hash_text! {
    /// The hash of the variables that a command depends on.
    EnvHash, trees: false
}

hash_text! {
    /// The hash of the Python environment of a command.
    SiteHash, trees: false
}

impl ContentHash {
    /// Returns the hash of a file with this digest.
    pub fn of_file(scheme: Scheme, digest: &Digest) -> Self {
        Self::plain(scheme, digest)
    }

    /// Returns the hash of a directory. `digest` is that of its manifest, or under weasel of its concatenated files.
    pub fn of_tree(scheme: Scheme, digest: &Digest) -> Self {
        match scheme {
            Scheme::Weasel => Self::plain(scheme, digest),
            _ => Self(format!("{scheme}-tree-{digest}")),
        }
    }

    /// Returns the scheme that can check content against this hash, if there is one. 32 hex digits count as a hash of weasel only
    /// if the caller works under that scheme. They may be a custom name otherwise.
    pub fn verifiable_under(&self, working: Scheme) -> Option<Scheme> {
        match self.form() {
            HashForm::Plain(scheme) | HashForm::Tree(scheme) => Some(scheme),
            HashForm::Hex32 if working == Scheme::Weasel => Some(Scheme::Weasel),
            HashForm::Hex32 | HashForm::Opaque => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX64: &str = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99";

    #[test]
    fn forms_are_distinguished() {
        let form = |text: String| ContentHash::parse(text).unwrap().form();
        assert_eq!(form(format!("blake3-{HEX64}")), HashForm::Plain(Scheme::Blake3));
        assert_eq!(form(format!("sha256-tree-{HEX64}")), HashForm::Tree(Scheme::Sha256));
        assert_eq!(form("b1946ac92492d2347c6235b4d2611184".into()), HashForm::Hex32);
        assert_eq!(form("B1946AC92492D2347C6235B4D2611184".into()), HashForm::Opaque);
        assert_eq!(form("v1_2".into()), HashForm::Opaque);
    }

    #[test]
    fn texts_that_keys_do_not_allow_are_refused() {
        let too_long = "a".repeat(129);
        for text in ["", "a/b", "a.b", ".DS_Store", "ä", "a b", too_long.as_str()] {
            assert!(matches!(ContentHash::parse(text), Err(InvalidHash::Characters { .. })), "{text}");
        }
        assert!(ContentHash::parse("a".repeat(128)).is_ok());
    }

    #[test]
    fn text_that_begins_like_a_hash_must_be_one() {
        let upper = format!("blake3-{}", HEX64.to_uppercase());
        let double = format!("sha256-tree-tree-{HEX64}");
        let later = format!("blake3-tree2-{HEX64}");
        for text in ["blake3-", "sha256-abc", "blake3-tree-", upper.as_str(), double.as_str(), later.as_str()]
        {
            assert!(matches!(ContentHash::parse(text), Err(InvalidHash::Malformed { .. })), "{text}");
        }
        assert!(CommandHash::parse(format!("blake3-tree-{HEX64}")).is_err(), "commands are no trees");
        assert!(CommandHash::parse(format!("blake3-{HEX64}")).is_ok());
    }

    #[test]
    fn only_forms_of_a_scheme_can_be_verified() {
        let under = |text: &str, scheme| ContentHash::parse(text).unwrap().verifiable_under(scheme);
        let md5 = "b1946ac92492d2347c6235b4d2611184";
        assert_eq!(under(md5, Scheme::Weasel), Some(Scheme::Weasel));
        assert_eq!(under(md5, Scheme::Blake3), None);
        assert_eq!(under("mine", Scheme::Weasel), None);
        assert_eq!(under(&format!("sha256-{HEX64}"), Scheme::Weasel), Some(Scheme::Sha256));
    }
}
