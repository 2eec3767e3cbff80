//! The allowed names and links of an archive.

use larder_hashing::OutputPath;
use larder_tree::TreeLimits;

use super::error::UnpackError;

/// Converts names of entries into paths relative to the output.
pub(super) struct Names<'a> {
    output: &'a OutputPath,
    limits: TreeLimits,
}

impl<'a> Names<'a> {
    pub(super) fn new(output: &'a OutputPath, limits: TreeLimits) -> Self {
        Self { output, limits }
    }

    /// Returns the path of an entry relative to the output. It is empty for the output itself.
    pub(super) fn relative(&self, name: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let refused = |why: &str| Err(UnpackError::refused(name, why));
        if name.starts_with(b"/") {
            return refused("whose name is absolute");
        }
        if name.contains(&0) {
            return refused("whose name has a NUL");
        }
        let mut components =
            name.split(|byte| *byte == b'/').filter(|component| !component.is_empty()).peekable();
        components.next_if_eq(&b".".as_slice());
        if components.clone().any(|component| matches!(component, b"." | b"..")) {
            return refused("whose name has `.` or `..` in it");
        }
        for expected in self.output.as_str().split('/') {
            if components.next() != Some(expected.as_bytes()) {
                let entry = String::from_utf8_lossy(name).into_owned();
                return Err(UnpackError::OtherOutput { entry, output: self.output.to_string() });
            }
        }
        let components: Vec<&[u8]> = components.collect();
        if components.len() > self.limits.depth {
            return refused(&format!(
                "which lies deeper than {} directories, which is the limit",
                self.limits.depth
            ));
        }
        let relative = components.join(&b'/');
        if relative.len() > self.limits.path_bytes {
            return refused(&format!(
                "whose name is longer than {} bytes, which is the limit",
                self.limits.path_bytes
            ));
        }
        Ok(relative)
    }
}

/// Returns the path of the parent directory, or `None` for the output itself.
pub(super) fn parent(relative: &[u8]) -> Option<&[u8]> {
    match relative.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Some(&relative[..slash]),
        None if relative.is_empty() => None,
        None => Some(b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(name: &str) -> Option<String> {
        let output = OutputPath::new("models/en").unwrap();
        let names = Names::new(&output, TreeLimits::default().with_depth(2).with_path_bytes(8));
        names.relative(name.as_bytes()).ok().map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn names_are_relative_to_the_output() {
        for (name, path) in [
            ("models/en", ""),
            ("models/en/", ""),
            ("./models/en/a", "a"),
            ("models//en/a//b/", "a/b"),
            ("models/en/..a/b..", "..a/b.."),
        ] {
            assert_eq!(relative(name).as_deref(), Some(path), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            ".",
            "/",
            "/models/en",
            "models",
            "models/enx",
            "models/e",
            "other",
            "../models/en",
            "models/en/../en",
            "models/./en",
            "././models/en",
            "models/en/./a",
            "models/en/a/..",
            "models/en/a/b/c",
            "models/en/123456789",
            "models/en/a\0b",
        ] {
            assert_eq!(relative(name), None, "{name:?}");
        }
    }

    #[test]
    fn an_archive_of_another_output_differs_from_another_spelling() {
        let output = OutputPath::new("b").unwrap();
        let names = Names::new(&output, TreeLimits::default());
        assert!(matches!(names.relative(b"a/x"), Err(UnpackError::OtherOutput { .. })));
        assert!(matches!(names.relative(b"a/../b"), Err(UnpackError::Refused { .. })));
    }
}
