//! The URLs of remotes. Nothing outside this module takes one apart.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

/// Options of a remote, from the keys of a `[remotes.name]` table: their texts by name. Which ones a backend knows is
/// checked when the remote is opened.
pub type RemoteOptions = BTreeMap<String, String>;

/// Where a remote is, as a URL or a path says it.
///
/// `Display` shows the remote as it stands in front of keys, without secrets: refused ones cannot be shown by
/// accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    pub(crate) place: Place,
    pub(crate) options: RemoteOptions,
}

/// The kinds of places, one a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory, absolute. The embedded default remote is created with all its parents; of any other remote at
    /// most the last component.
    Directory { path: PathBuf, embedded: bool },
}

/// The remote cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRemote {
    /// The URL's scheme is none of larder's.
    #[error(
        "unknown remote scheme `{scheme}://` in `{url}`: known are {known}; a path is written as ./{scheme} or /{scheme}"
    )]
    UnknownScheme {
        /// The URL.
        url: String,
        /// Its scheme.
        scheme: String,
        /// The schemes that larder knows.
        known: &'static str,
    },
    /// The scheme is known, and this build cannot use it.
    #[error("this build of larder has no backend for `{scheme}://` remotes: it can use directories")]
    NoBackend {
        /// The scheme.
        scheme: String,
    },
    /// The URL holds a password. It is not repeated here.
    #[error("a remote URL must not hold a password: it would end up in logs and in larder.toml")]
    Secret,
    /// The URL breaks a rule of its scheme.
    #[error("`{url}` is not a usable remote: {reason}")]
    Malformed {
        /// The URL.
        url: String,
        /// The rule.
        reason: &'static str,
    },
    /// The backend does not know the option.
    #[error("the remote {remote} has no option `{option}`: {known}")]
    UnknownOption {
        /// The remote.
        remote: String,
        /// The option.
        option: String,
        /// What the backend knows.
        known: &'static str,
    },
}

/// All schemes of the contract, for messages.
const KNOWN_SCHEMES: &str = "file, s3, gs, gcs, ssh, sftp, scp";

impl RemoteUrl {
    /// Reads a URL or a path. A relative path is taken from `base`, which must be absolute: the directory of the file
    /// that names the remote, or the working directory.
    ///
    /// # Errors
    ///
    /// The scheme is unknown or has no backend in this build, or the URL breaks one of its rules.
    pub fn parse(text: &str, base: &Path) -> Result<Self, InvalidRemote> {
        let malformed = |reason| InvalidRemote::Malformed { url: text.to_owned(), reason };
        if text.is_empty() {
            return Err(malformed("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(malformed("it has control characters"));
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Ok(Self::directory(&base.join(text), false));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && user.contains(':')
        {
            return Err(InvalidRemote::Secret);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                if !matches!(authority, "" | "localhost") {
                    return Err(malformed("a file URL names no host: write file:///path"));
                }
                let path = &rest[authority.len()..];
                if path.is_empty() {
                    return Err(malformed("it names no path"));
                }
                if path.contains(['?', '#']) {
                    return Err(malformed("`?` and `#` in a file URL's path are written %3F and %23"));
                }
                let path =
                    percent_decode_str(path).decode_utf8().map_err(|_| malformed("its path is not UTF-8"))?;
                if path.contains('\0') {
                    return Err(malformed("its path has a NUL"));
                }
                Ok(Self::directory(Path::new(&*path), false))
            }
            scheme @ ("s3" | "gs" | "gcs" | "ssh" | "sftp" | "scp") => {
                Err(InvalidRemote::NoBackend { scheme: scheme.to_owned() })
            }
            scheme => Err(InvalidRemote::UnknownScheme {
                url: text.to_owned(),
                scheme: scheme.to_owned(),
                known: KNOWN_SCHEMES,
            }),
        }
    }

    /// The remote inside the project, which is used where none is configured: it exists on this machine only.
    pub fn embedded(project_root: &Path) -> Self {
        Self::directory(&project_root.join(".larder/store"), true)
    }

    /// Whether this is the remote inside the project.
    pub fn is_embedded(&self) -> bool {
        matches!(self.place, Place::Directory { embedded: true, .. })
    }

    /// Adds the options of a configured remote.
    #[must_use]
    pub fn with_options(mut self, options: RemoteOptions) -> Self {
        self.options = options;
        self
    }

    /// The directory of a remote that is one.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory { path, .. } => Some(path),
        }
    }

    fn directory(path: &Path, embedded: bool) -> Self {
        // Lexically: the directory need not exist yet, and `..` behind a symlink is rare enough to be told apart by
        // writing the real path.
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    clean.pop();
                }
                other => clean.push(other),
            }
        }
        Self { place: Place::Directory { path: clean, embedded }, options: RemoteOptions::new() }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Directory { path, .. } => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, InvalidRemote> {
        RemoteUrl::parse(text, Path::new("/base/dir")).map(|url| url.to_string())
    }

    #[test]
    fn paths_and_file_urls_are_directories() {
        for (text, path) in [
            ("/mnt/store", "/mnt/store"),
            ("./store", "/base/dir/store"),
            ("a/b/", "/base/dir/a/b"),
            ("../x/./y", "/base/x/y"),
            ("file:///mnt/my%20store", "/mnt/my store"),
            ("file://localhost/mnt/100%25", "/mnt/100%"),
            ("FILE:///mnt", "/mnt"),
            ("a:b/c", "/base/dir/a:b/c"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(path), "{text}");
        }
    }

    #[test]
    fn a_literal_percent_in_a_path_stays() {
        assert_eq!(parse("/mnt/my%20store").unwrap(), "/mnt/my%20store");
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for text in ["", "file://", "file://host/x", "file:///a?b", "file:///%ff", "file:///a%00b", "/a\nb"] {
            assert!(
                matches!(parse(text), Err(InvalidRemote::Malformed { .. })),
                "{text:?}: {:?}",
                parse(text)
            );
        }
        assert!(matches!(parse("http://x/y"), Err(InvalidRemote::UnknownScheme { .. })));
        assert!(matches!(parse("s3://bucket/prefix"), Err(InvalidRemote::NoBackend { .. })));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = parse("s3://user:hunter2@bucket/x").unwrap_err();
        assert_eq!(error, InvalidRemote::Secret);
        assert!(!error.to_string().contains("hunter2"));
        assert_eq!(parse("ssh://me:pa@ss@host/x"), Err(InvalidRemote::Secret));
    }
}
