//! Which remote is meant.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::origin::{Origin, Setting};

/// A remote as a configuration file defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDefinition {
    /// A URL, a path relative to the file, or the name of another remote.
    pub target: Setting<String>,
    /// What else the file says about it, in the order of the file.
    pub options: Vec<RemoteOption>,
}

/// An option of a remote. What it means is for the remote's backend to know.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteOption {
    /// The key in the file.
    pub name: String,
    /// The value in the file.
    pub value: OptionValue,
    /// Who decided it.
    pub origin: Origin,
}

// A NaN differs from itself, so a derived `Eq` would be a lie for it; no code compares options but tests.
impl Eq for RemoteOption {}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.pad(text),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

/// The remote to use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remote {
    /// The name by which it was chosen, if it has one.
    pub name: Option<String>,
    /// Where it is.
    pub location: Location,
    /// Its options, in the order of the file.
    pub options: Vec<RemoteOption>,
    /// Who wrote its location. [`Origin::Default`] is the store in the project, on this machine only.
    pub origin: Origin,
}

impl Remote {
    /// The store that a project has where nothing is configured, relative to its root.
    pub const EMBEDDED: &str = ".larder/store";

    /// Whether it is the store in the project, which nobody else sees.
    pub fn is_embedded(&self) -> bool {
        self.origin == Origin::Default
    }
}

/// Where a remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A URL, as it was written.
    Url(String),
    /// A directory; absolute where what it is relative to was.
    Path(PathBuf),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.pad(url),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// What the text for a remote is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    At(Location),
    Named(String),
}

impl Target {
    /// Tells a URL (it has a scheme), a path (it has a `/` or `\`) and a name from each other. A path is relative to
    /// `base`. `None` where it is neither of them: `s3:/bucket` is a URL with a `/` missing, and nobody's directory.
    pub(crate) fn new(text: &str, base: &Path) -> Option<Self> {
        match text.split_once(":/") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                rest.starts_with('/').then(|| Self::At(Location::Url(text.to_owned())))
            }
            _ if text.contains(['/', '\\']) || matches!(text, "." | "..") => {
                Some(Self::At(Location::Path(resolve(base, Path::new(text)))))
            }
            _ => Some(Self::Named(text.to_owned())),
        }
    }
}

/// A single letter is not one: it would be a drive of Windows.
fn is_scheme(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|other| other.is_ascii_alphanumeric() || matches!(other, b'+' | b'-' | b'.'))
}

/// Joins the two. Every `..` stays: the name before it may be a symlink, also in `base`.
fn resolve(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().filter(|component| *component != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Option<Target> {
        Target::new(text, Path::new("/home/ann/project"))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with `target`")]
    fn path(text: &str) -> Option<Target> {
        Some(Target::At(Location::Path(text.into())))
    }

    #[test]
    fn urls_paths_and_names_are_told_apart() {
        for url in ["s3://bucket/p", "file:///x", "ssh://host/~/x", "S3://b", "svn+ssh://h/p"] {
            assert_eq!(target(url), Some(Target::At(Location::Url(url.into()))));
        }
        assert_eq!(target("/mnt/store"), path("/mnt/store"));
        assert_eq!(target("./store"), path("/home/ann/project/store"));
        assert_eq!(target("a/b"), path("/home/ann/project/a/b"));
        assert_eq!(target("a\\b"), path("/home/ann/project/a\\b"));
        assert_eq!(target("store/"), path("/home/ann/project/store"));
        assert_eq!(target("c:/x"), path("/home/ann/project/c:/x"));
        for name in ["team", "s3:bucket", "my.remote", "~"] {
            assert_eq!(target(name), Some(Target::Named(name.into())));
        }
        assert_eq!(target("s3:/bucket"), None);
    }

    #[test]
    fn leading_parents_are_resolved_and_later_ones_are_not() {
        assert_eq!(target("../shared"), path("/home/ann/project/../shared"));
        assert_eq!(target("./../../shared"), path("/home/ann/project/../../shared"));
        assert_eq!(target(".."), path("/home/ann/project/.."));
        assert_eq!(target("link/../x"), path("/home/ann/project/link/../x"));
    }
}
