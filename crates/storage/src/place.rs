//! Paths after their symlinks are resolved, and the places where no output may be.

use std::path::{Component, Path, PathBuf};

use larder_hashing::{InvalidOutputPath, OutputPath};

use crate::error::{Error, Result};

/// Refuses a path that leads to the files of git, of larder or of the project, for instance through a symlink to `.git`.
///
/// An [`OutputPath`] has no such name in its text. A checkout from another person may still have a symlink above the output.
/// Components of the path that are also above the project root are not checked.
pub(crate) fn check_not_reserved(root: &Path, path: &Path, resolved: &Path) -> Result<()> {
    let root = real_path(root);
    let common = root.components().zip(resolved.components()).take_while(|(a, b)| a == b).count();
    let below: PathBuf = resolved.components().skip(common).collect();
    let reason = if below.as_os_str().is_empty() {
        "the project is in that directory".to_owned()
    } else {
        // Undecodable names are no obstacle here, so they are replaced.
        match OutputPath::new(&*below.to_string_lossy()) {
            Err(
                fault @ (InvalidOutputPath::Reserved { .. }
                | InvalidOutputPath::ProjectFile(_)
                | InvalidOutputPath::IsRoot(_)),
            ) => fault.to_string(),
            _ => return Ok(()),
        }
    };
    let link = path.ancestors().find(|above| above.is_symlink());
    let cause = link.map_or_else(String::new, |link| {
        format!(": {} is a symlink, and the path leads to {}", link.display(), resolved.display())
    });
    Err(Error::Usage(format!("{} cannot be an output{cause}: {reason}; name another path", path.display())))
}

/// Refuses a remote inside an output, and an output inside a remote.
pub(crate) fn check_apart(remote: &Path, output: &OutputPath, path: &Path) -> Result<()> {
    check_apart_by_text(&real_path(remote), output, &real_path(path))
}

/// Refuses the same by the texts of the paths, without waiting for a file system.
pub(crate) fn check_apart_by_text(remote: &Path, output: &OutputPath, path: &Path) -> Result<()> {
    if remote.starts_with(path) {
        return Err(Error::Usage(format!(
            "the remote {} lies inside the output {output}: keep it elsewhere",
            remote.display()
        )));
    }
    if path.starts_with(remote) {
        return Err(Error::Usage(format!(
            "the output {output} lies inside the remote {}: nothing but larder writes there",
            remote.display()
        )));
    }
    Ok(())
}

/// Returns the path by which an output is locked: without the symlinks above it, so that two spellings of one place exclude each
/// other. An output outside of the project is locked by its own path.
pub(crate) fn lock_path(root: &Path, output: &OutputPath) -> OutputPath {
    let resolved = real_parent(&output.below(root));
    let inside = resolved.strip_prefix(real_path(root)).ok().and_then(|inside| OutputPath::new(inside).ok());
    inside.unwrap_or_else(|| output.clone())
}

/// Resolves the symlinks in the part of the path that exists.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = existing.canonicalize() {
            // A missing directory has no symlinks, so `..` leads back from it.
            return missing.iter().rev().fold(real, |path, name| match name {
                Component::ParentDir => path.parent().map_or(path.clone(), Path::to_owned),
                name => path.join(name),
            });
        }
        match (existing.parent(), existing.components().next_back()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                existing = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

/// Resolves the symlinks above the path, but not the path itself.
pub(crate) fn real_parent(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real_path(parent).join(name),
        _ => real_path(path),
    }
}
