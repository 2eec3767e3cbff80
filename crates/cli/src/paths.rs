//! Resolves paths on the command line to outputs.

use std::path::{Path, PathBuf};

use larder_hashing::{InvalidOutputPath, OutputPath};

use crate::context::CommandContext;
use crate::failure::{Failure, Result};

/// An output as named on the command line of a command that changes no files. `push` and `pull` use only the
/// path.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// The path, relative to the working directory.
    pub(crate) output: OutputPath,
    /// The typed text as a key, if it differs from the path. Weasel keys keep spellings such as `out/`.
    pub(crate) literal: Option<OutputPath>,
}

impl CommandContext {
    /// Returns the outputs that the paths name, each once.
    pub(crate) fn outputs(&self, paths: &[PathBuf]) -> Result<Vec<OutputPath>> {
        let mut outputs: Vec<OutputPath> = Vec::new();
        for path in paths {
            let output = self.named(path)?.output;
            if !outputs.contains(&output) {
                outputs.push(output);
            }
        }
        Ok(outputs)
    }

    /// Returns the output that a path names.
    pub(crate) fn named(&self, path: &Path) -> Result<Named> {
        OutputPath::check_symlinks(&self.working_dir, path)?;
        let outside = || outside(path, &self.root);
        let output =
            from_root(path, &self.working_dir, &self.root).and_then(|path| Ok(OutputPath::new(path)?));
        let output = output.map_err(|failure| match failure {
            Failure::Path(InvalidOutputPath::LeavesRoot(_)) => outside(),
            failure => failure,
        })?;
        let literal = path.to_str().and_then(|text| OutputPath::with_literal_key(text).ok());
        Ok(Named { literal: literal.filter(|literal| literal.key_text() != output.key_text()), output })
    }

    /// Returns the path of a dependency. It is relative to the project root, or absolute if it was given as
    /// absolute.
    pub(crate) fn dependency(&self, path: &Path) -> PathBuf {
        if path.is_absolute() { path.to_owned() } else { self.below_root().join(path) }
    }

    /// Returns the working directory relative to the root. Empty for the root itself.
    pub(crate) fn below_root(&self) -> &Path {
        below_root(&self.working_dir, &self.root)
    }
}

fn outside(path: &Path, root: &Path) -> Failure {
    let (path, root) = (path.display(), root.display());
    Failure::Usage(format!("`{path}` is outside the project {root}: name a path inside it"))
}

fn below_root<'a>(working_dir: &'a Path, root: &Path) -> &'a Path {
    working_dir.strip_prefix(root).unwrap_or(Path::new(""))
}

fn from_root(path: &Path, working_dir: &Path, root: &Path) -> Result<PathBuf> {
    if !path.is_absolute() {
        // Empty text would mean the working directory itself.
        return if path.as_os_str().is_empty() {
            Err(Failure::Usage("the path is empty: name a file or directory".to_owned()))
        } else {
            Ok(below_root(working_dir, root).join(path))
        };
    }
    // The path of the shell's working directory may contain symlinks.
    let resolved = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.strip_prefix(root)
        .map(Path::to_owned)
        .ok()
        .or_else(|| resolved()?.strip_prefix(root).map(Path::to_owned).ok())
        .ok_or_else(|| outside(path, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_sub(path: &str) -> Result<PathBuf> {
        from_root(Path::new(path), Path::new("/p/top/sub"), Path::new("/p/top"))
    }

    #[test]
    fn paths_are_taken_from_the_working_directory() {
        assert_eq!(from_sub("x").unwrap(), Path::new("sub/x"));
        assert_eq!(from_sub("../x").unwrap(), Path::new("sub/../x"));
        assert_eq!(from_sub("/p/top/x").unwrap(), Path::new("x"));
    }

    #[test]
    fn paths_outside_the_project_are_refused() {
        assert!(matches!(from_sub("").unwrap_err(), Failure::Usage(_)));
        assert_eq!(
            from_sub("/etc/passwd").unwrap_err().to_string(),
            "`/etc/passwd` is outside the project /p/top: name a path inside it"
        );
    }

    #[test]
    fn absolute_paths_may_go_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        let path = from_root(&dir.path().join("link/x"), &real, &real).unwrap();
        assert_eq!(path, Path::new("x"));
    }
}
