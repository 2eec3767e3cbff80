//! Where objects and uploads are below the directory of a remote.

use std::iter::successors;

use larder_backend::{Error, ErrorKind, Key, Operation};

/// The longest name that the usual file systems take, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// The directories of uploads that are not published, from the root downwards.
pub const OWN_DIRECTORIES: [&str; 3] = [".larder", "1", "tmp"];

/// The path of these directories below the root.
pub const TEMPORARIES: &str = ".larder/1/tmp";

/// Whether a path below the root is the directory of unpublished uploads, or is in it. No key and no listing has it.
pub fn is_temporary(path: &str) -> bool {
    path.strip_prefix(TEMPORARIES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Refuses a key that no file can have.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] if a segment is too long, or the key is in the directory of unpublished uploads.
pub fn check_key(key: &Key, operation: Operation, location: impl FnOnce() -> String) -> Result<(), Error> {
    let hint = if key.segments().any(|segment| segment.len() > MAX_NAME_LEN) {
        "a part of the name is longer than the 255 bytes that file systems take"
    } else if is_temporary(key.as_str()) {
        "`.larder/1/tmp` is for unpublished uploads"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidInput, operation, location()).with_hint(hint))
}

/// Returns the directory above a key: its path below the root, and empty for the root.
pub fn parent(key: &Key) -> &str {
    parent_of(key.as_str()).unwrap_or_default()
}

/// Returns the directories above a key, deepest first. A deletion removes those that it empties.
pub fn parents(key: &Key) -> impl Iterator<Item = &str> {
    successors(parent_of(key.as_str()), |path| parent_of(path))
}

fn parent_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directory_of_uploads_and_long_names_are_refused() {
        for (key, is_taken) in [
            ("a/c/h", true),
            (".larder/1/tmpx", true),
            (".larder/1/tmp", false),
            (".larder/1/tmp/x", false),
            (&"a".repeat(255), true),
            (&"a".repeat(256), false),
        ] {
            let key = Key::parse(key).unwrap();
            let checked = check_key(&key, Operation::Put, || "there".to_owned());
            assert_eq!(checked.is_ok(), is_taken, "{key}");
            assert!(checked.is_ok() || checked.is_err_and(|error| error.hint().is_some()));
        }
        assert_eq!(OWN_DIRECTORIES.join("/"), TEMPORARIES);
    }

    #[test]
    fn parents_are_deepest_first() {
        let key = Key::parse("a/b/c").unwrap();
        assert_eq!(parents(&key).collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!((parent(&key), parent(&Key::parse("a").unwrap())), ("a/b", ""));
    }
}
