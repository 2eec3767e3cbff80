//! The names of objects.

use std::fmt;

/// The name of an object in a remote, relative to the remote's root.
///
/// Invariants:
///
/// - It has one or more segments, separated by `/`. None of them is empty, `.` or `..`.
/// - It is UTF-8 without control characters, and at most [`Key::MAX_LEN`] bytes long.
/// - Segments are literal: `%2F` in a key is those three characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// The text cannot be a [`Key`] or a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid object key: {reason}")]
pub struct InvalidKey {
    text: String,
    reason: &'static str,
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > Key::MAX_LEN {
        return Err("it is longer than 1,024 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("it has control characters");
    }
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("a segment of it is empty, `.` or `..`");
    }
    Ok(())
}

impl Key {
    /// The longest key, in bytes. This is the limit of S3 and of Google Cloud Storage.
    pub const MAX_LEN: usize = 1024;

    /// Checks that `text` can be a key.
    ///
    /// # Errors
    ///
    /// The text breaks an invariant of the type.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        match check(&text) {
            Ok(()) => Ok(Self(text)),
            Err(reason) => Err(InvalidKey { text, reason }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments of the key, at least one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/')
    }

    /// The part of the key below `prefix`, if the key is below it.
    pub fn below(&self, prefix: &Prefix) -> Option<&str> {
        self.0.strip_prefix(prefix.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The beginning of keys: the root of the remote, or segments with `/` behind each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(String);

impl Prefix {
    /// The prefix above all keys.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks that `text` can be a prefix: empty, or a key with an optional `/` at its end.
    ///
    /// # Errors
    ///
    /// The text is neither.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let mut text = text.into();
        if text.is_empty() {
            return Ok(Self::root());
        }
        match check(text.strip_suffix('/').unwrap_or(&text)) {
            Ok(()) => {
                if !text.ends_with('/') {
                    text.push('/');
                }
                Ok(Self(text))
            }
            Err(reason) => Err(InvalidKey { text, reason }),
        }
    }

    /// The prefix as text: empty, or ending in `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_literal_text() {
        for text in ["a", "a/b", "corpus%2Ftrain+x~/%25/h", ".larder/1/tmp/x", "a/..b"] {
            assert_eq!(Key::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_a_file_system_or_a_server_would_resolve_is_no_key() {
        let long = "a".repeat(1025);
        for text in ["", "/", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a\nb", "a\0b", long.as_str()] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_ends_in_a_slash() {
        assert_eq!(Prefix::parse("a/b").unwrap(), Prefix::parse("a/b/").unwrap());
        assert_eq!(Prefix::parse("").unwrap().as_str(), "");
        assert!(Prefix::parse("/").is_err());
        let key = Key::parse("a/b/c").unwrap();
        assert_eq!(key.below(&Prefix::parse("a").unwrap()), Some("b/c"));
        assert_eq!(key.below(&Prefix::parse("a/bb").unwrap()), None);
    }
}
