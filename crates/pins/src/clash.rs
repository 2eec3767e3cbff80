//! Pins that cannot be in one file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use icu_normalizer::DecomposingNormalizerBorrowed;
use larder_hashing::OutputPath;

/// Two outputs that cannot both be pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinClash {
    /// One output is inside the other.
    #[error(
        "`{inner}` is inside `{outer}`, and only one of them can be pinned: unpin the other with `larder unpin PATH`, or remove its section from larder.lock"
    )]
    Nested {
        /// The outer output.
        outer: String,
        /// The output inside it.
        inner: String,
    },
    /// The paths are one path on some file systems.
    #[error(
        "`{one}` and `{other}` differ only in case or Unicode normalization, so some file systems do not tell them apart: rename one, or unpin it with `larder unpin PATH`, or remove its section from larder.lock"
    )]
    SameName {
        /// One output.
        one: String,
        /// The other output.
        other: String,
    },
    /// The path is pinned twice.
    #[error("`{path}` is pinned twice, which a merge of git can leave: remove one of the two pins")]
    Twice {
        /// The output.
        path: String,
    },
}

/// The names of pinned outputs, as a file system sees them that ignores case and Unicode normalization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PinnedNames(BTreeMap<String, OutputPath>);

impl PinnedNames {
    /// Adds a path. A path that is there already is no clash.
    pub(crate) fn insert(&mut self, path: &OutputPath) -> Result<(), PinClash> {
        let name = folded(path.as_str());
        for (end, _) in name.match_indices('/') {
            if let Some(outer) = self.0.get(&name[..end]) {
                return Err(PinClash::Nested { outer: outer.to_string(), inner: path.to_string() });
            }
        }
        let below = format!("{name}/");
        if let Some((inside, inner)) = self.0.range(below.clone()..).next()
            && inside.starts_with(&below)
        {
            return Err(PinClash::Nested { outer: path.to_string(), inner: inner.to_string() });
        }
        match self.0.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(path.clone());
            }
            Entry::Occupied(occupied) if occupied.get().as_str() != path.as_str() => {
                return Err(PinClash::SameName { one: occupied.get().to_string(), other: path.to_string() });
            }
            Entry::Occupied(_) => {}
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &OutputPath) {
        self.0.remove(&folded(path.as_str()));
    }
}

/// Returns the same text for all spellings that differ only in case or normalization.
fn folded(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    // By way of upper case, `ß` and `ss` are equal, and both forms of a small sigma.
    let lower = path.to_uppercase().to_lowercase();
    DecomposingNormalizerBorrowed::new_nfd().normalize(&lower).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> OutputPath {
        OutputPath::new(text).unwrap()
    }

    fn insert_all(paths: &[&str]) -> Result<PinnedNames, PinClash> {
        let mut names = PinnedNames::default();
        paths.iter().try_for_each(|text| names.insert(&path(text)))?;
        Ok(names)
    }

    #[test]
    fn paths_inside_one_another_clash() {
        for paths in [["a", "a/b"], ["a/b", "a"], ["a", "a/b/c"], ["A", "a/b"], ["a/b", "A"]] {
            assert!(matches!(insert_all(&paths), Err(PinClash::Nested { .. })), "{paths:?}");
        }
        insert_all(&["a", "ab", "a.b/c", "a-b", "b/a", "b/a0"]).unwrap();
    }

    #[test]
    fn paths_of_one_name_clash() {
        for paths in [
            ["models/en", "models/EN"],
            ["\u{e4}", "a\u{308}"],
            ["\u{c4}", "a\u{308}"],
            ["stra\u{df}e", "STRASSE"],
            ["\u{3c3}\u{3c2}", "\u{3a3}\u{3a3}"],
        ] {
            let clash = insert_all(&paths).unwrap_err();
            assert_eq!(clash, PinClash::SameName { one: paths[0].to_owned(), other: paths[1].to_owned() });
        }
        insert_all(&["a", "\u{e4}", "b"]).unwrap();
    }

    #[test]
    fn a_removed_name_is_free() {
        let mut names = insert_all(&["\u{c4}/x"]).unwrap();
        names.insert(&path("\u{c4}/x")).unwrap();
        names.remove(&path("\u{c4}/x"));
        names.insert(&path("\u{e4}")).unwrap();
    }
}
