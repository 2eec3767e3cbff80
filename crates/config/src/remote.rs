//! Remotes, and the texts that name them.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::origin::Origin;
use crate::setting::Setting;

/// A remote as a configuration file defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDefinition {
    /// A URL, a path relative to the file, or the name of another remote.
    pub target: Setting<String>,
    /// Its options, in the order of the file.
    pub options: Vec<RemoteOption>,
}

/// An option of a remote. The remote's backend checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteOption {
    /// The key in the file.
    pub name: String,
    /// The value in the file.
    pub value: OptionValue,
    /// Where it is defined.
    pub origin: Origin,
}

// Only tests compare options, and none compares a NaN.
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
pub struct ConfiguredRemote {
    /// The name by which it was chosen, if it was chosen by name.
    pub name: Option<String>,
    /// Where it is.
    pub location: Location,
    /// Its options, in the order of the file.
    pub options: Vec<RemoteOption>,
    /// Where its location is defined. [`Origin::Default`] means the local store in the project.
    pub origin: Origin,
}

impl ConfiguredRemote {
    /// The store of a project without a configured remote, relative to its root.
    pub const EMBEDDED: &str = ".larder/store";

    /// Returns whether it is the local store in the project.
    pub fn is_embedded(&self) -> bool {
        self.origin == Origin::Default
    }
}

/// Where a remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A URL as written, or text that looks like one.
    Url(String),
    /// A directory. It is absolute if its base is.
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

/// The meaning of a text that names a remote.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RemoteText {
    At(Location),
    Named(String),
}

impl RemoteText {
    /// Distinguishes URLs, paths and names. A URL contains `://`. A path contains `/` or `\` and is relative
    /// to `base`. A leading `~` or `~/` means `home`. Text with a `:` before its first `/` counts as a URL,
    /// so that the storage rejects it with a hint.
    pub(crate) fn new(text: &str, base: &Path, home: Option<&Path>) -> Self {
        let first = text.split(['/', '\\']).next().unwrap_or_default();
        let has_slash = first.len() < text.len();
        if has_slash && first.contains(':') {
            return Self::At(Location::Url(text.to_owned()));
        }
        if let (true, Some(home)) = (first == "~", home) {
            let below = text[1..].trim_start_matches('/');
            return Self::At(Location::Path(resolve(home, Path::new(below))));
        }
        if has_slash || matches!(text, "." | "..") {
            return Self::At(Location::Path(resolve(base, Path::new(text))));
        }
        Self::Named(text.to_owned())
    }
}

/// Joins `base` and `path`. Keeps every `..`, because the name before it may be a symlink, even in `base`.
fn resolve(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().filter(|component| *component != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> RemoteText {
        RemoteText::new(text, Path::new("/home/ann/project"), Some(Path::new("/home/ann")))
    }

    fn path(text: &str) -> RemoteText {
        RemoteText::At(Location::Path(text.into()))
    }

    #[test]
    fn urls_paths_and_names_are_told_apart() {
        for url in [
            "s3://bucket/p",
            "file:///x",
            "ssh://host/~/x",
            "S3://b",
            "svn+ssh://h/p",
            "s3:/bucket",
            "me@host:/x",
        ] {
            assert_eq!(target(url), RemoteText::At(Location::Url(url.into())));
        }
        assert_eq!(target("/mnt/store"), path("/mnt/store"));
        assert_eq!(target("./store"), path("/home/ann/project/store"));
        assert_eq!(target("./a:b"), path("/home/ann/project/a:b"));
        assert_eq!(target("a/b"), path("/home/ann/project/a/b"));
        assert_eq!(target("a\\b"), path("/home/ann/project/a\\b"));
        assert_eq!(target("store/"), path("/home/ann/project/store"));
        for name in ["team", "my.remote", "s3:bucket"] {
            assert_eq!(target(name), RemoteText::Named(name.into()));
        }
    }

    #[test]
    fn a_tilde_at_the_beginning_is_the_home_directory() {
        assert_eq!(target("~"), path("/home/ann"));
        assert_eq!(target("~/"), path("/home/ann"));
        assert_eq!(target("~/store"), path("/home/ann/store"));
        assert_eq!(target("~other/store"), path("/home/ann/project/~other/store"));
        assert_eq!(target("./~/store"), path("/home/ann/project/~/store"));
    }

    #[test]
    fn parents_are_not_resolved_by_text() {
        assert_eq!(target("../shared"), path("/home/ann/project/../shared"));
        assert_eq!(target(".."), path("/home/ann/project/.."));
        assert_eq!(target("link/../x"), path("/home/ann/project/link/../x"));
    }
}
