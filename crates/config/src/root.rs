//! Finds the root of a project.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory at the root of a project. Paths of outputs are relative to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRoot {
    /// The directory. It is absolute if the working directory was.
    pub path: PathBuf,
    /// The mark of the root.
    pub marker: RootMarker,
}

/// The mark of a project root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootMarker {
    /// The project's `larder.toml`.
    LarderToml,
    /// The `project.yml` of a weasel or spaCy project.
    ProjectYml,
    /// A git repository or work tree.
    Git,
    /// No mark: the root is the working directory.
    WorkingDirectory,
}

impl fmt::Display for RootMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LarderToml => "larder.toml",
            Self::ProjectYml => "project.yml",
            Self::Git => ".git",
            Self::WorkingDirectory => "working directory",
        })
    }
}

impl ProjectRoot {
    /// The name of a project's configuration file.
    pub const CONFIG_FILE: &str = "larder.toml";

    /// Finds the project of `working_dir`. It is the nearest directory with a `larder.toml` or `project.yml`,
    /// from `working_dir` upward. Otherwise it is the nearest with a `.git`, or else `working_dir` itself.
    ///
    /// Anything called `larder.toml` counts, even if it is not a file or cannot be read. [`Layer::read`] reports that.
    /// Otherwise larder would silently use the settings of another project, or none.
    ///
    /// [`Layer::read`]: crate::Layer::read
    pub fn discover(working_dir: &Path) -> Self {
        for dir in working_dir.ancestors() {
            if fs::symlink_metadata(dir.join(Self::CONFIG_FILE)).is_ok() {
                return Self { path: dir.to_owned(), marker: RootMarker::LarderToml };
            }
            if dir.join("project.yml").is_file() {
                return Self { path: dir.to_owned(), marker: RootMarker::ProjectYml };
            }
        }
        // In a git work tree, `.git` is a file.
        match working_dir.ancestors().find(|dir| dir.join(".git").exists()) {
            Some(dir) => Self { path: dir.to_owned(), marker: RootMarker::Git },
            None => Self { path: working_dir.to_owned(), marker: RootMarker::WorkingDirectory },
        }
    }

    /// The path of the project's configuration file, if it has one.
    pub fn config_file(&self) -> Option<PathBuf> {
        (self.marker == RootMarker::LarderToml).then(|| self.path.join(Self::CONFIG_FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates the files in a new directory, and discovers from its `a/b`.
    fn discover(files: &[&str]) -> (String, RootMarker) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for file in files {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let root = ProjectRoot::discover(&dir.path().join("a/b"));
        (root.path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned(), root.marker)
    }

    #[test]
    fn the_nearest_project_file_decides() {
        assert_eq!(discover(&["larder.toml", "a/project.yml"]), ("a".into(), RootMarker::ProjectYml));
        assert_eq!(discover(&["a/larder.toml", "a/project.yml"]), ("a".into(), RootMarker::LarderToml));
    }

    #[test]
    fn a_project_file_far_away_goes_before_a_repository_nearby() {
        assert_eq!(discover(&["larder.toml", "a/.git"]), (String::new(), RootMarker::LarderToml));
    }

    #[test]
    fn without_a_project_file_it_is_the_repository_or_the_working_directory() {
        assert_eq!(discover(&[".git", "a/.git"]), ("a".into(), RootMarker::Git));
        assert_eq!(discover(&[]), ("a/b".into(), RootMarker::WorkingDirectory));
    }

    #[test]
    fn whatever_is_called_so_marks_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let [below, at] = ["a", "a/larder.toml"].map(|path| dir.path().join(path));
        fs::create_dir_all(&at).unwrap();
        fs::write(dir.path().join("larder.toml"), "").unwrap();
        assert_eq!(ProjectRoot::discover(&below).path, below, "a directory");
        fs::remove_dir(&at).unwrap();
        std::os::unix::fs::symlink("nowhere", &at).unwrap();
        assert_eq!(ProjectRoot::discover(&below).config_file(), Some(at), "a link to nothing");
    }
}
