//! The beginnings of hashes, which people type instead of whole ones.

use crate::digest::Scheme;

/// The beginning of a `blake3` or `sha256` hash.
///
/// Its text has 8 to 64 digits of lower-case hex. `blake3-`, `blake3-tree-` and the same for `sha256` may stand before
/// them.
///
/// ```
/// use larder_hashing::HashPrefix;
///
/// let prefix = HashPrefix::parse("fbf342f0").expect("it has eight digits");
/// assert!(prefix.matches("blake3-fbf342f09f6540cc37fd7db3a1a89826f76f3398e5279a3cb6db7516379c5cff"));
/// assert_eq!(HashPrefix::parse("fbf342f"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPrefix {
    text: String,
    /// Whether the text begins with a scheme.
    has_scheme: bool,
}

/// The fewest digits that name a hash.
const MIN_DIGITS: usize = 8;

impl HashPrefix {
    /// Reads the beginning of a hash. Returns `None` if the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = after_scheme(text).unwrap_or(text);
        let is_prefix = (MIN_DIGITS..=Scheme::Blake3.digest_len() * 2).contains(&digits.len())
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_prefix.then(|| Self { text: text.to_owned(), has_scheme: digits.len() < text.len() })
    }

    /// Whether a whole hash begins so. A custom hash never does.
    pub fn matches(&self, hash: &str) -> bool {
        match after_scheme(hash) {
            Some(_) if self.has_scheme => hash.starts_with(&self.text),
            Some(digits) => digits.starts_with(&self.text),
            None => false,
        }
    }
}

/// The text behind `blake3-`, `blake3-tree-`, `sha256-` or `sha256-tree-`.
fn after_scheme(text: &str) -> Option<&str> {
    let rest = [Scheme::Blake3, Scheme::Sha256]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme.name())?.strip_prefix('-'))?;
    Some(rest.strip_prefix("tree-").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99";

    #[test]
    fn the_scheme_may_be_left_out() {
        let (file, tree) = (format!("blake3-{DIGITS}"), format!("blake3-tree-{DIGITS}"));
        let matched = |prefix: &str| {
            let prefix = HashPrefix::parse(prefix).unwrap();
            [prefix.matches(&file), prefix.matches(&tree)]
        };
        assert_eq!(matched("8e4c7c1b"), [true, true]);
        assert_eq!(matched("blake3-8e4c7c1b"), [true, false]);
        assert_eq!(matched("blake3-tree-8e4c7c1b"), [false, true]);
        assert_eq!(matched("sha256-8e4c7c1b"), [false, false]);
        assert_eq!(matched("8e4c7c1c"), [false, false]);
        assert_eq!(matched(DIGITS), [true, true]);
    }

    #[test]
    fn short_texts_and_custom_names_are_no_prefixes() {
        for text in ["", "8e4c7c1", "8E4C7C1B", "nightly", "blake3-", "blake3-8e4c", "md5-8e4c7c1b"] {
            assert_eq!(HashPrefix::parse(text), None, "{text}");
        }
        assert_eq!(HashPrefix::parse(&format!("{DIGITS}0")), None);
        assert!(!HashPrefix::parse("deadbeef").unwrap().matches("deadbeef"), "it is a custom name");
    }
}
