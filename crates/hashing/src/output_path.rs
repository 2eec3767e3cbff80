//! The paths of outputs, and the names that they have in a remote.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The path of an output below the project root, and the text that names it in a remote.
///
/// Invariants: the path is relative, normalised (no `.`, `..`, empty components or trailing `/`), not empty, valid
/// UTF-8, has no NUL, no component `.git` or `.larder` (in any case), and is none of the project's own files
/// `larder.toml`, `project.yml`, `project.lock`. The key text equals the path, except where a weasel project
/// spells it otherwise.
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
    /// It is absolute, where a path relative to the project root is meant.
    #[error("`{0}` is absolute: an output is named relative to the project root")]
    Absolute(String),
    /// It leaves the project root.
    #[error("`{0}` leaves the project root: an output lies below it")]
    LeavesRoot(String),
    /// It is the project root itself.
    #[error("`{0}` is the project root itself: name a file or directory below it")]
    IsRoot(String),
    /// It is not UTF-8, or has a NUL.
    #[error("`{0}` is not valid UTF-8 text: the name of an output must be")]
    NotText(String),
    /// A component belongs to git or to larder.
    #[error("`{path}` has the component `{component}`, which belongs to {owner} and is never an output")]
    Reserved {
        /// The refused path.
        path: String,
        /// The component.
        component: String,
        /// To whom it belongs.
        owner: &'static str,
    },
    /// It is a file that describes the project.
    #[error("`{0}` describes the project and is never an output")]
    ProjectFile(String),
}

const PROJECT_FILES: [&str; 3] = ["larder.toml", "project.yml", "project.lock"];

impl OutputPath {
    /// Takes a path relative to the project root and normalises it: `./a`, `a/` and `b/../a` are all `a`.
    ///
    /// # Errors
    ///
    /// The path breaks an invariant of the type.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, InvalidOutputPath> {
        let path = Self::normalise(path.as_ref())?;
        Ok(Self { key_text: path.clone(), path })
    }

    /// Takes the text of a weasel project's output: normalised on disk and in archives, literal in keys.
    ///
    /// # Errors
    ///
    /// The path breaks an invariant of the type.
    pub fn with_literal_key(text: &str) -> Result<Self, InvalidOutputPath> {
        Ok(Self { path: Self::normalise(Path::new(text))?, key_text: text.to_owned() })
    }

    fn normalise(path: &Path) -> Result<String, InvalidOutputPath> {
        // Without the `.` that joining a path of the command line to a directory leaves in the middle.
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

    /// The normalised path, with `/` between components.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// The text that is encoded in keys.
    pub fn key_text(&self) -> &str {
        &self.key_text
    }

    /// The name of the output in a remote: [`encode_name`] of the key text.
    pub fn encoded(&self) -> String {
        encode_name(&self.key_text)
    }

    /// Where the output is, in the project at `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&self.path)
    }

    /// Whether `other` is the same path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for OutputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.path)
    }
}

/// What Python's `quote_plus` keeps, besides letters and digits. The space is not in the set because it is treated
/// before (it becomes `+`).
const QUOTE_PLUS: AsciiSet =
    NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b' ');

/// Encodes a path as one segment of a key, as Python's `urllib.parse.quote_plus` does: UTF-8 bytes, `A-Za-z0-9_.-~`
/// kept, space as `+`, all else (`/` too) as `%XX` in upper case. Nothing is normalised.
///
/// ```
/// assert_eq!(larder_hashing::encode_name("corpus/train set.spacy"), "corpus%2Ftrain+set.spacy");
/// ```
pub fn encode_name(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, &QUOTE_PLUS).to_string().replace(' ', "+")
}

/// Decodes a segment of a key that [`encode_name`] made. `None` where it did not: the text is not the encoding of
/// anything, so it names no output.
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
    fn what_is_no_output_is_refused() {
        type Refused = fn(&InvalidOutputPath) -> bool;
        let rows: [(&str, Refused); 11] = [
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
        ];
        for (text, refused) in rows {
            let error = OutputPath::new(text).expect_err(text);
            assert!(refused(&error), "{text}: {error:?}");
        }
        assert!(OutputPath::new("sub/project.yml").is_ok());
        assert!(OutputPath::new(".github").is_ok());
        let undecodable = OutputPath::new(OsStr::from_bytes(b"play/./un\xffdec")).unwrap_err();
        assert_eq!(undecodable, InvalidOutputPath::NotText("play/un\u{fffd}dec".to_owned()));
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
