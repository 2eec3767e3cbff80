//! Hashes of the dependencies of a command, one by one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use larder_tree::FileState;

use crate::command::{CommandError, check_symlinks, dependency, from_root};
use crate::content::hash_dependency;
use crate::hash_text::ContentHash;
use crate::options::HashOptions;

/// A hashed dependency of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HashedDependency {
    /// The path as it was given.
    pub given: PathBuf,
    /// The path relative to the project root, as the manifest of the command has it.
    pub path: PathBuf,
    /// The hash of its content.
    pub content_hash: ContentHash,
    /// The modification time of its newest file, or its own if that is later.
    pub newest: Option<SystemTime>,
    /// The manifest, `larder-tree 1`, if it is a directory and its manifest is not too large.
    pub manifest: Option<String>,
    /// The first `.git` in it, which every commit changes, relative to the dependency.
    pub git: Option<PathBuf>,
}

/// Hashes dependencies as [`command_hash`](crate::command_hash) does, and keeps their manifests while these have at most
/// `max_manifests` bytes together. Two spellings of one path are one dependency. The result is sorted by path.
///
/// # Errors
///
/// Those of [`command_hash`](crate::command_hash).
pub fn hash_dependencies(
    root: &Path,
    deps: &[PathBuf],
    options: &HashOptions,
    max_manifests: usize,
) -> Result<Vec<HashedDependency>, CommandError> {
    let mut options = options.clone();
    options.tree.dereference = false;
    check_symlinks(root, deps)?;
    let deps: BTreeMap<PathBuf, &PathBuf> =
        deps.iter().map(|given| (from_root(root, given), given)).collect();
    let mut left = max_manifests;
    let mut hashed = Vec::new();
    for (path, given) in deps {
        let mut copy = BoundedCopy { bytes: Some(Vec::new()), max: left };
        // Make compares the time of a directory itself.
        let mut newest = fs::metadata(root.join(&path)).and_then(|found| found.modified()).ok();
        let mut git = None;
        let content_hash = dependency(root, &path, given, |path| {
            hash_dependency(root, path, &options, &mut copy, |entry| {
                newest = newest.max(entry.state.map(FileState::modified));
                git = git.take().or_else(|| git_of(&entry.path));
            })
        })?;
        let manifest =
            copy.bytes.filter(|bytes| !bytes.is_empty()).and_then(|bytes| String::from_utf8(bytes).ok());
        left -= manifest.as_ref().map_or(0, String::len);
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        hashed.push(HashedDependency { given: given.clone(), path, content_hash, newest, manifest, git });
    }
    Ok(hashed)
}

/// Returns the path up to a `.git` in it.
fn git_of(path: &[u8]) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    path.ancestors().find(|part| part.file_name() == Some(OsStr::new(".git"))).map(Path::to_owned)
}

/// Keeps the bytes that are written, or none if there are too many.
struct BoundedCopy {
    bytes: Option<Vec<u8>>,
    max: usize,
}

impl Write for BoundedCopy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kept) = &mut self.bytes {
            if kept.len() + bytes.len() <= self.max {
                kept.extend_from_slice(bytes);
            } else {
                self.bytes = None;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_kept_while_they_fit() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("f"), "x").unwrap();
        }
        std::fs::write(dir.path().join("c"), "x").unwrap();
        let deps: Vec<PathBuf> = ["c", "./b", "a", "b"].map(PathBuf::from).to_vec();
        let hash = |max| hash_dependencies(dir.path(), &deps, &HashOptions::default(), max).unwrap();
        let all = hash(1 << 20);
        let paths: Vec<_> = all.iter().map(|hashed| hashed.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a", "b", "c"]);
        let has_manifest = |hashed: &[HashedDependency]| -> Vec<bool> {
            hashed.iter().map(|hashed| hashed.manifest.is_some()).collect()
        };
        assert_eq!(has_manifest(&all), [true, true, false], "a file has no manifest");
        let len = all[0].manifest.as_ref().unwrap().len();
        assert_eq!(has_manifest(&hash(len)), [true, false, false]);
        assert_eq!(
            all[0].content_hash,
            crate::content_hash(&dir.path().join("a"), &HashOptions::default()).unwrap()
        );
    }

    #[test]
    fn a_git_directory_is_found_unless_it_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/sub/.git/refs")).unwrap();
        std::fs::write(dir.path().join("a/sub/.git/refs/x"), "x").unwrap();
        std::fs::write(dir.path().join("a/.gitignore"), "x").unwrap();
        let git = || {
            let hashed = hash_dependencies(dir.path(), &["a".into()], &HashOptions::default(), 0).unwrap();
            hashed[0].git.clone()
        };
        assert_eq!(git(), Some(PathBuf::from("sub/.git")));
        std::fs::write(dir.path().join(".larderignore"), ".git\n").unwrap();
        assert_eq!(git(), None);
    }
}
