//! Whether outputs were changed in the meantime.
//!
//! A command may read an output while another one makes it again. If that fails, the previous version comes back, and hashes
//! before and after are equal. So each change by larder is counted in the lock file of the output.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder_hashing::{OutputPath, encode_file_name, encode_name};

use super::directory::{LOCKS, StateDirectory};
use super::lock_file::{count_change, is_hashed_name, read_changes, read_holder};
use crate::error::Result;
use crate::place::{lock_path, real_path};

/// How often larder changed the outputs that some paths share files with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChanges(BTreeMap<String, u64>);

impl OutputChanges {
    /// Reads the changes of the outputs that are, contain or lie in one of `paths`.
    pub(super) fn read(root: &Path, paths: &[PathBuf]) -> Result<Self> {
        let mut changes = BTreeMap::new();
        let Some(directory) = StateDirectory::open(root, &LOCKS)? else { return Ok(Self(changes)) };
        let root = real_path(root);
        let inside = paths
            .iter()
            .filter_map(|path| real_path(path).strip_prefix(&root).ok()?.to_str().map(encode_name));
        let paths = EncodedPaths(inside.collect());
        for name in directory.names()? {
            let Some(name) = name.to_str() else { continue };
            let is_hashed = is_hashed_name(name);
            if !is_hashed && !paths.overlap(name) {
                continue;
            }
            let Ok(Some(file)) = directory.open_regular(name) else { continue };
            let is_wanted =
                || read_holder(&file).is_some_and(|holder| paths.overlap(&encode_name(&holder.path)));
            if !is_hashed || is_wanted() {
                changes.insert(name.to_owned(), read_changes(&file));
            }
        }
        Ok(Self(changes))
    }

    /// Returns whether an output was changed between `before` and this.
    pub fn differ_from(&self, before: &Self) -> bool {
        self.0.iter().any(|(name, changes)| before.0.get(name).copied().unwrap_or_default() != *changes)
    }
}

/// An encoded `/`.
const SLASH: &str = "%2F";

/// Paths relative to the project root, as the names of their lock files would be. The root itself is empty.
struct EncodedPaths(BTreeSet<String>);

impl EncodedPaths {
    /// Returns whether the path of this name is, contains or lies in one of these.
    fn overlap(&self, name: &str) -> bool {
        let below = format!("{name}{SLASH}");
        let mut above = name.match_indices(SLASH).map(|(end, _)| &name[..end]);
        self.0.contains("")
            || self.0.contains(name)
            || above.any(|path| self.0.contains(path))
            || self.0.range(below.clone()..).next().is_some_and(|path| path.starts_with(&below))
    }
}

/// Counts one more change of each output. The caller holds their locks.
pub(super) fn count_changes(root: &Path, outputs: &[OutputPath]) {
    let Ok(Some(directory)) = StateDirectory::open(root, &LOCKS) else { return };
    for output in outputs {
        if let Ok(file) = directory.open_for_lock(&encode_file_name(lock_path(root, output).as_str())) {
            count_change(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::output_locks::LockRequest;
    use super::*;

    #[test]
    fn paths_overlap_with_what_they_contain_and_what_contains_them() {
        let paths = EncodedPaths(["a%2Fb", "c"].map(str::to_owned).into());
        for (name, overlaps) in [
            ("a", true),
            ("a%2Fb", true),
            ("a%2Fb%2Fd", true),
            ("c%2Fd%2Fe", true),
            ("a%2Fbc", false),
            ("a%2Fd", false),
            ("ab", false),
            ("d", false),
        ] {
            assert_eq!(paths.overlap(name), overlaps, "{name}");
        }
        assert!(EncodedPaths([String::new()].into()).overlap("d"));
    }

    #[test]
    fn a_change_is_counted_and_stays_when_the_holder_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let read = || OutputChanges::read(root, &[root.join("data")]).unwrap();
        let output = OutputPath::new("data/x").unwrap();
        let lock =
            || LockRequest::new(root, &[OutputPath::new("data/x").unwrap()]).unwrap().attempt().unwrap();
        let none = read();
        drop(lock());
        assert!(!read().differ_from(&none), "a lock is no change");
        count_changes(root, std::slice::from_ref(&output));
        let once = read();
        assert!(once.differ_from(&none));
        drop(lock());
        assert!(!read().differ_from(&once));
        count_changes(root, &[OutputPath::new("other").unwrap()]);
        assert!(!read().differ_from(&once));
        count_changes(root, &[output]);
        assert!(read().differ_from(&once));
    }
}
