//! The paths of outputs, and the names that they have in a remote.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use crate::digest::Scheme;

/// The path of an output below the project root, and the text that names it in a remote.
///
/// Invariants: the path is relative, normalized (no `.`, `..`, empty components or trailing `/`), not empty and valid
/// UTF-8. It has no NUL and no component `.git` or `.larder`, in any case. It is not a file that describes the project:
/// `larder.toml`, `larder.lock`, `.larderignore`, `project.yml` or `project.lock` at the root. The key text equals the
/// path, unless a weasel project spells it differently.
///
/// ```
/// use larder_hashing::OutputPath;
///
/// let path = OutputPath::new("./corpus/../models/en/")?;
/// assert_eq!(path.as_str(), "models/en");
/// assert_eq!(path.encoded(), "models%2Fen");
/// # Ok::<(), larder_hashing::InvalidOutputPath>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputPath {
    path: String,
    key_text: String,
}

/// The path cannot be that of an output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOutputPath {
    /// It is absolute, and not relative to the project root.
    #[error("`{0}` is absolute: name the output relative to the project root")]
    Absolute(String),
    /// It leaves the project root.
    #[error("`{0}` is outside the project root: name a path inside it")]
    LeavesRoot(String),
    /// It is the project root itself.
    #[error("`{0}` is the project root itself: name a file or directory inside it")]
    IsRoot(String),
    /// It is not UTF-8, or has a NUL.
    #[error("`{0}` is not valid UTF-8: rename it, because the name of an output must be text")]
    NotText(String),
    /// It has a `..` behind a symlink. The system uses another file than the one that the path seems to name.
    #[error("`{}` is a symlink, so `{path}` is not the file that it seems: name it without `..`", link.display())]
    BehindSymlink {
        /// The refused path.
        path: String,
        /// The symlink.
        link: PathBuf,
    },
    /// A component belongs to git or to larder.
    #[error("`{path}` has the component `{component}`, which belongs to {owner} and is never an output")]
    Reserved {
        /// The refused path.
        path: String,
        /// The component.
        component: String,
        /// The program that it belongs to.
        owner: &'static str,
    },
    /// It is a file that describes the project.
    #[error("`{0}` describes the project and is never an output")]
    ProjectFile(String),
}

/// The files at the project root that describe the project.
const PROJECT_FILES: [&str; 5] =
    ["larder.toml", "larder.lock", ".larderignore", "project.yml", "project.lock"];

impl OutputPath {
    /// Normalizes a path relative to the project root: `./a`, `a/` and `b/../a` are all `a`.
    ///
    /// # Errors
    ///
    /// The path breaks an invariant of the type.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, InvalidOutputPath> {
        let path = Self::normalize(path.as_ref())?;
        Ok(Self { key_text: path.clone(), path })
    }

    /// Creates the path of a weasel project's output: normalized on disk and in archives, literal in keys.
    ///
    /// # Errors
    ///
    /// The path breaks an invariant of the type.
    pub fn with_literal_key(text: &str) -> Result<Self, InvalidOutputPath> {
        Ok(Self { path: Self::normalize(Path::new(text))?, key_text: text.to_owned() })
    }

    /// Refuses a path with a `..` behind a symlink, such as `link/../x`, because such a path cannot be normalized. `base` is the
    /// directory that the path is relative to.
    ///
    /// # Errors
    ///
    /// [`InvalidOutputPath::BehindSymlink`].
    pub fn check_symlinks(base: &Path, path: &Path) -> Result<(), InvalidOutputPath> {
        match symlink_before_parent(base, path) {
            Some(link) => Err(InvalidOutputPath::BehindSymlink { path: path.display().to_string(), link }),
            None => Ok(()),
        }
    }

    fn normalize(path: &Path) -> Result<String, InvalidOutputPath> {
        // A path of the command line was joined to a directory, which may have left a `.` in the middle.
        let shown = || path.components().collect::<PathBuf>().display().to_string();
        let text = path
            .to_str()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| InvalidOutputPath::NotText(shown()))?;
        if text.starts_with('/') {
            return Err(InvalidOutputPath::Absolute(shown()));
        }
        let mut components: Vec<&str> = Vec::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    components.pop().ok_or_else(|| InvalidOutputPath::LeavesRoot(shown()))?;
                }
                component => components.push(component),
            }
        }
        for component in &components {
            let owner = match component.to_ascii_lowercase().as_str() {
                ".git" => "git",
                ".larder" => "larder",
                _ => continue,
            };
            return Err(InvalidOutputPath::Reserved {
                path: shown(),
                component: (*component).to_owned(),
                owner,
            });
        }
        match components.as_slice() {
            [] => Err(InvalidOutputPath::IsRoot(shown())),
            [only] if PROJECT_FILES.contains(only) => Err(InvalidOutputPath::ProjectFile(shown())),
            _ => Ok(components.join("/")),
        }
    }

    /// Returns the normalized path, with `/` between components.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// Returns the text that is encoded in keys.
    pub fn key_text(&self) -> &str {
        &self.key_text
    }

    /// Returns the name of the output in a remote: [`encode_name`] of the key text.
    pub fn encoded(&self) -> String {
        encode_name(&self.key_text)
    }

    /// Returns the full path of the output in the project at `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.path)
    }

    /// Returns whether `other` is the same path or a path below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for OutputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.path)
    }
}

/// The characters that Python's `quote_plus` encodes. Spaces are kept here, and become `+` afterwards.
const QUOTE_PLUS: AsciiSet =
    NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b' ');

/// Encodes a path as one segment of a key, as Python's `urllib.parse.quote_plus` does.
///
/// It keeps `A-Za-z0-9_.-~`, and turns a space into `+` and every other UTF-8 byte, also `/`, into `%XX` in upper case.
/// It does not normalize the path.
///
/// ```
/// assert_eq!(larder_hashing::encode_name("corpus/train set.spacy"), "corpus%2Ftrain+set.spacy");
/// ```
pub fn encode_name(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, &QUOTE_PLUS).to_string().replace(' ', "+")
}

/// The maximum length of a name of [`encode_file_name`], in bytes. File systems take 255, and temporary files add to it.
const MAX_FILE_NAME: usize = 200;

/// Encodes a path as the name of a file that belongs to it. A long path becomes `%` and its hash.
///
/// ```
/// assert_eq!(larder_hashing::encode_file_name("models/en"), "models%2Fen");
/// assert_eq!(larder_hashing::encode_file_name(&"x".repeat(300)).len(), 65);
/// ```
pub fn encode_file_name(path: &str) -> String {
    let encoded = encode_name(path);
    if encoded.len() <= MAX_FILE_NAME {
        encoded
    } else {
        format!("%{}", Scheme::Blake3.digest(path.as_bytes()))
    }
}

/// Decodes a segment of a key. Returns `None` if [`encode_name`] returns this segment for no text.
///
/// ```
/// assert_eq!(larder_hashing::decode_name("a+b%2Fc").as_deref(), Some("a b/c"));
/// assert_eq!(larder_hashing::decode_name("a%2fb"), None);
/// ```
pub fn decode_name(segment: &str) -> Option<String> {
    let spaced = segment.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?.into_owned();
    (encode_name(&text) == segment).then_some(text)
}

/// Returns the first symlink of `path` that is followed by `..`. `base` is the directory that the path is relative to.
///
/// `link/../x` is a file beside the target of the link, and not beside the link. So such a path must not be normalized.
pub(crate) fn symlink_before_parent(base: &Path, path: &Path) -> Option<PathBuf> {
    let mut shown = PathBuf::new();
    for component in path.components() {
        if component != Component::ParentDir {
            shown.push(component);
        } else if base.join(&shown).is_symlink() {
            return Some(shown);
        } else if !shown.pop() || shown.ends_with("..") {
            shown.push(component);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for text in ["a/b", "./a/b", "a/b/", "a//b", "c/../a/./b", "a/b/c/.."] {
            assert_eq!(OutputPath::new(text).unwrap().as_str(), "a/b", "{text}");
        }
    }

    #[test]
    fn a_literal_key_keeps_its_spelling() {
        let path = OutputPath::with_literal_key("./out/").unwrap();
        assert_eq!((path.as_str(), path.encoded().as_str()), ("out", ".%2Fout%2F"));
    }

    #[test]
    fn paths_that_cannot_be_outputs_are_refused() {
        type Refused = fn(&InvalidOutputPath) -> bool;
        let rows: [(&str, Refused); 13] = [
            ("/a", |e| matches!(e, InvalidOutputPath::Absolute(_))),
            ("..", |e| matches!(e, InvalidOutputPath::LeavesRoot(_))),
            ("a/../../b", |e| matches!(e, InvalidOutputPath::LeavesRoot(_))),
            ("", |e| matches!(e, InvalidOutputPath::IsRoot(_))),
            ("a/..", |e| matches!(e, InvalidOutputPath::IsRoot(_))),
            ("a\0b", |e| matches!(e, InvalidOutputPath::NotText(_))),
            (".git", |e| matches!(e, InvalidOutputPath::Reserved { owner: "git", .. })),
            ("a/.GIT/hooks", |e| matches!(e, InvalidOutputPath::Reserved { owner: "git", .. })),
            (".Larder/store", |e| matches!(e, InvalidOutputPath::Reserved { owner: "larder", .. })),
            ("./project.lock", |e| matches!(e, InvalidOutputPath::ProjectFile(_))),
            ("larder.toml", |e| matches!(e, InvalidOutputPath::ProjectFile(_))),
            ("a/../larder.lock", |e| matches!(e, InvalidOutputPath::ProjectFile(_))),
            (".larderignore", |e| matches!(e, InvalidOutputPath::ProjectFile(_))),
        ];
        for (text, refused) in rows {
            let error = OutputPath::new(text).expect_err(text);
            assert!(refused(&error), "{text}: {error:?}");
        }
        for text in ["sub/project.yml", "sub/larder.lock", "sub/.larderignore"] {
            assert!(OutputPath::new(text).is_ok(), "{text}");
        }
        assert!(OutputPath::new(".github").is_ok());
        let undecodable = OutputPath::new(OsStr::from_bytes(b"play/./un\xffdec")).unwrap_err();
        assert_eq!(undecodable, InvalidOutputPath::NotText("play/un\u{fffd}dec".to_owned()));
    }

    #[test]
    fn a_parent_of_a_symlink_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a/b", dir.path().join("lk")).unwrap();
        for (path, link) in [
            ("lk/../x", Some("lk")),
            ("a/../lk/../x", Some("lk")),
            ("lk/c/../../x", Some("lk")),
            ("./lk/.", None),
            ("lk/c/../x", None),
            ("a/b/../x", None),
            ("../../x", None),
            ("missing/../x", None),
        ] {
            let found = symlink_before_parent(dir.path(), Path::new(path));
            assert_eq!(found.as_deref(), link.map(Path::new), "{path}");
        }
        let absolute = dir.path().join("lk");
        assert_eq!(symlink_before_parent(Path::new("/"), &absolute.join("../x")), Some(absolute));
        assert_eq!(symlink_before_parent(&dir.path().join("a"), Path::new("../lk/..")), Some("../lk".into()));
    }

    #[test]
    fn containment_is_by_component() {
        let path = |text| OutputPath::new(text).unwrap();
        assert!(path("a").contains(&path("a")));
        assert!(path("a").contains(&path("a/b")));
        assert!(!path("a").contains(&path("ab")));
        assert!(!path("a/b").contains(&path("a")));
    }
}
