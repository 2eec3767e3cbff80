//! The base of each output: the version that was synchronized last in this checkout.
//!
//! `.larder/state` has one small file per output. A file that is damaged or belongs to another output counts as absent: the
//! output then has no base, and larder does not replace it.

use std::io;
use std::path::{Path, PathBuf};

use larder_hashing::{CommandHash, ContentHash, OutputPath, encode_file_name};
use larder_tree::{StateDirectory, read_open_file};

use crate::error::{Error, Result};

/// The directory of the files, in the project root.
const STATE: [&str; 2] = [StateDirectory::NAME, "state"];

/// The first line of a file.
const HEADER: &str = "larder base 1";

/// The maximum size of a file, in bytes: the path, and two hashes.
const MAX_FILE: u64 = 64 << 10;

/// The version of an output that was synchronized last in this checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The hash of its content.
    pub content: ContentHash,
    /// The command hash of its object. With it, one request finds the object.
    pub command: CommandHash,
}

/// The bases of the outputs of one project.
#[derive(Clone, Debug)]
pub struct Bases {
    root: PathBuf,
}

impl Bases {
    /// Returns those of the project at `root`. Reads nothing yet.
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the base of an output, if it has one.
    ///
    /// # Errors
    ///
    /// `.larder` or `.larder/state` is a symlink, or the file cannot be read.
    pub fn get(&self, path: &OutputPath) -> Result<Option<Base>> {
        let Some(directory) = StateDirectory::open(&self.root, &STATE)? else { return Ok(None) };
        let name = encode_file_name(path.as_str());
        let read = || -> io::Result<Option<Vec<u8>>> {
            let Some(file) = directory.open_regular(&name)? else { return Ok(None) };
            match read_open_file(&file, MAX_FILE) {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
                read => read.map(Some),
            }
        };
        let bytes = read().map_err(|source| Error::Read { path: directory.path().join(&name), source })?;
        Ok(bytes.and_then(|bytes| decode(&bytes, path)))
    }

    /// Sets the base of an output. Writes nothing if it has this base.
    ///
    /// # Errors
    ///
    /// `.larder` or `.larder/state` is a symlink, or the file cannot be written.
    pub fn set(&self, path: &OutputPath, base: &Base) -> Result<()> {
        if self.get(path).is_ok_and(|found| found.as_ref() == Some(base)) {
            return Ok(());
        }
        StateDirectory::ensure(&self.root)?;
        let directory = StateDirectory::create(&self.root, &STATE)?;
        let name = encode_file_name(path.as_str());
        let written = directory.replace(&name, encode(base, path).as_bytes());
        written.map_err(|source| Error::Write { path: directory.path().join(&name), source })
    }

    /// Removes the base of an output, if it has one.
    ///
    /// # Errors
    ///
    /// `.larder` or `.larder/state` is a symlink, or the file cannot be removed.
    pub fn remove(&self, path: &OutputPath) -> Result<()> {
        let Some(directory) = StateDirectory::open(&self.root, &STATE)? else { return Ok(()) };
        let name = encode_file_name(path.as_str());
        match directory.remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::Write { path: directory.path().join(&name), source: error })
            }
            _ => Ok(()),
        }
    }
}

/// The path is last, because it may have line breaks. It shows whose base it is, and that the file is whole.
fn encode(base: &Base, path: &OutputPath) -> String {
    format!("{HEADER}\n{}\n{}\n{path}\n", base.content, base.command)
}

fn decode(bytes: &[u8], path: &OutputPath) -> Option<Base> {
    let text = str::from_utf8(bytes).ok()?;
    let mut lines = text.splitn(4, '\n');
    if lines.next()? != HEADER {
        return None;
    }
    let content = ContentHash::parse(lines.next()?).ok()?;
    let command = CommandHash::parse(lines.next()?).ok()?;
    (lines.next()?.strip_suffix('\n')? == path.as_str()).then_some(Base { content, command })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> OutputPath {
        OutputPath::new(text).unwrap()
    }

    fn base(content: &str) -> Base {
        Base { content: ContentHash::parse(content).unwrap(), command: CommandHash::parse("k").unwrap() }
    }

    #[test]
    fn a_base_is_read_as_it_was_set() {
        let dir = tempfile::tempdir().unwrap();
        let bases = Bases::of(dir.path());
        for text in ["models/en", "with\na line break\n", "\u{e4} \"#", &"long/".repeat(100)] {
            let path = path(text);
            assert_eq!(bases.get(&path).unwrap(), None);
            bases.remove(&path).unwrap();
            for content in ["1", "2"] {
                bases.set(&path, &base(content)).unwrap();
                assert_eq!(bases.get(&path).unwrap(), Some(base(content)));
            }
        }
        assert_eq!(fs::read_dir(dir.path().join(".larder/state")).unwrap().count(), 4);
        bases.remove(&path("models/en")).unwrap();
        assert_eq!(bases.get(&path("models/en")).unwrap(), None);
        assert_eq!(fs::read(dir.path().join(".larder/.gitignore")).unwrap(), b"*\n");
    }

    #[test]
    fn nothing_is_written_for_the_same_base() {
        let dir = tempfile::tempdir().unwrap();
        let bases = Bases::of(dir.path());
        bases.set(&path("a"), &base("1")).unwrap();
        let file = dir.path().join(".larder/state/a");
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&file).unwrap());
        let before = inode();
        bases.set(&path("a"), &base("1")).unwrap();
        assert_eq!(inode(), before);
    }

    #[test]
    fn damaged_and_foreign_files_are_no_base() {
        let dir = tempfile::tempdir().unwrap();
        let bases = Bases::of(dir.path());
        bases.set(&path("a"), &base("1")).unwrap();
        let file = |name: &str| dir.path().join(".larder/state").join(name);
        let text = fs::read_to_string(file("a")).unwrap();
        fs::write(file("b"), &text).unwrap();
        assert_eq!(bases.get(&path("b")).unwrap(), None, "it is of another output");
        for end in 0..text.len() {
            fs::write(file("a"), &text[..end]).unwrap();
            assert_eq!(bases.get(&path("a")).unwrap(), None, "{end}");
        }
        for damaged in [&text.replace("base 1", "base 2"), &"x".repeat(100_000)] {
            fs::write(file("a"), damaged).unwrap();
            assert_eq!(bases.get(&path("a")).unwrap(), None);
        }
        bases.set(&path("a"), &base("1")).unwrap();
        assert_eq!(bases.get(&path("a")).unwrap(), Some(base("1")));
    }

    #[test]
    fn symlinks_are_not_followed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bases = Bases::of(dir.path());
        bases.set(&path("a"), &base("1")).unwrap();
        let file = dir.path().join(".larder/state/a");
        let target = outside.path().join("target");
        fs::rename(&file, &target).unwrap();
        symlink(&target, &file).unwrap();
        assert_eq!(bases.get(&path("a")).unwrap(), None);
        bases.set(&path("a"), &base("2")).unwrap();
        assert!(fs::read_to_string(&target).unwrap().contains("\n1\n"), "the target is untouched");
        fs::remove_dir_all(dir.path().join(".larder/state")).unwrap();
        symlink(outside.path(), dir.path().join(".larder/state")).unwrap();
        for outcome in
            [bases.get(&path("a")).map(drop), bases.set(&path("a"), &base("1")), bases.remove(&path("a"))]
        {
            assert!(matches!(outcome, Err(Error::State(_))));
        }
    }
}
