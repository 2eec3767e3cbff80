//! A fingerprint of an output, to notice an edit while it is replaced.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The states of all files of an output. It stays the same when the output is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// Looks at all files at and below a path. Reads none.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut hasher = DefaultHasher::new();
        let root = fs::symlink_metadata(path)?;
        // A rename changes the other times of what is renamed.
        (root.ino(), root.mode()).hash(&mut hasher);
        if root.is_dir() {
            let mut open: Vec<PathBuf> = vec![path.to_owned()];
            while let Some(directory) = open.pop() {
                let mut entries = fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>()?;
                entries.sort_unstable_by_key(fs::DirEntry::file_name);
                for entry in entries {
                    let found = entry.metadata()?;
                    let changed = (found.ctime(), found.ctime_nsec());
                    (entry.file_name(), found.ino(), found.size(), changed).hash(&mut hasher);
                    if found.is_dir() {
                        open.push(entry.path());
                    }
                }
            }
        } else {
            (root.size(), root.mtime(), root.mtime_nsec()).hash(&mut hasher);
        }
        Ok(Self(hasher.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_it_and_a_rename_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("tree"), dir.path().join("moved"));
        fs::create_dir_all(path.join("below")).unwrap();
        fs::write(path.join("below/file"), "1").unwrap();
        let before = Fingerprint::of(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        assert_eq!(Fingerprint::of(&moved).unwrap(), before);
        fs::write(moved.join("below/file"), "22").unwrap();
        let edited = Fingerprint::of(&moved).unwrap();
        assert_ne!(edited, before);
        fs::write(moved.join("new"), "").unwrap();
        assert_ne!(Fingerprint::of(&moved).unwrap(), edited);
        let file = dir.path().join("file");
        fs::write(&file, "1").unwrap();
        let before = Fingerprint::of(&file).unwrap();
        fs::rename(&file, dir.path().join("other")).unwrap();
        assert_eq!(Fingerprint::of(&dir.path().join("other")).unwrap(), before);
        fs::write(dir.path().join("other"), "22").unwrap();
        assert_ne!(Fingerprint::of(&dir.path().join("other")).unwrap(), before);
    }
}
