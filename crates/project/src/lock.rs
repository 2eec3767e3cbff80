//! `project.lock`: the inputs and outputs of the last run of each command.

mod emit;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use larder_hashing::ContentHash;
use larder_tree::{Symlinks, read_project_file, replace_project_file};

use crate::error::{Error, Result, SourceLine};
use crate::project::{MAX_FILE_BYTES, ProjectCommand, utf8};
use crate::value::{Map, Value};
use crate::yaml;

/// A file or directory that a command reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path, as the project spells it.
    pub path: String,
    /// The content hash under weasel's scheme, if the path exists.
    pub hash: Option<ContentHash>,
}

/// The `project.lock` of a project, including the entries and keys of other programs.
///
/// ```
/// use larder_project::{ProjectCommand, LockFile};
///
/// # let dir = tempfile::tempdir()?;
/// let mut lock = LockFile::read(dir.path())?;
/// lock.record(&ProjectCommand::new("train").with_script(["python train.py"]), &[], &[]);
/// lock.write()?;
/// let text = std::fs::read_to_string(dir.path().join("project.lock"))?;
/// assert!(text.starts_with("train:\n  cmd: python -m weasel run train\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    entries: Map,
}

impl LockFile {
    /// The name of the file.
    pub const FILE: &str = "project.lock";

    /// Reads the lock of the project at `root`. A missing or empty file is a lock without entries.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is a symlink, or is not a mapping in YAML.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(Self::FILE);
        let bytes = match read_project_file(&path, MAX_FILE_BYTES, Symlinks::Refuse) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let text = utf8(bytes, &path)?;
        let node = yaml::parse(&text).map_err(|problem| problem.into_error(&path))?;
        let value = node.map_or(Ok(Value::Null), |node| node.to_value(false));
        match value.map_err(|problem| problem.into_error(&path))? {
            Value::Map(entries) => Ok(Self { path, entries }),
            Value::Null => Ok(Self { path, entries: Map::new() }),
            _ => {
                let problem =
                    "it must be a mapping of commands: remove it, or restore it from git".to_owned();
                Err(Error::Yaml { place: SourceLine { path, line: 1 }, problem })
            }
        }
    }

    /// Reads the lock of the project at `root`, and writes it if `change` returns true. Processes that update it at the same
    /// time keep each other's entries.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn update(root: &Path, change: impl FnOnce(&mut Self) -> bool) -> Result<()> {
        // Some network file systems cannot lock a directory. Two simultaneous pulls may then lose an entry.
        // The next pull records it again.
        let _held = File::open(root).and_then(|dir| dir.lock().map(|()| dir)).ok();
        let mut lock = Self::read(root)?;
        if change(&mut lock) { lock.write() } else { Ok(()) }
    }

    /// Returns the entry of a command.
    pub fn entry(&self, name: &str) -> Option<LockEntry<'_>> {
        Some(LockEntry(self.entries.get(name)?.as_map()?))
    }

    /// Records a run of a command with these dependencies and outputs, as weasel does. Returns whether the lock changes.
    pub fn record(&mut self, command: &ProjectCommand, deps: &[FileInfo], outs: &[FileInfo]) -> bool {
        let text = |text: &str| Value::Text(text.to_owned());
        let files = |files: &[FileInfo]| {
            let entry = |FileInfo { path, hash }: &FileInfo| {
                let md5 = hash.as_ref().map_or(Value::Null, |hash| text(hash.as_str()));
                Value::Map(Map::from_iter([("path".to_owned(), text(path)), ("md5".to_owned(), md5)]))
            };
            Value::List(files.iter().map(entry).collect())
        };
        let entry = Value::Map(Map::from_iter([
            ("cmd".to_owned(), text(&format!("python -m weasel run {}", command.name))),
            ("script".to_owned(), Value::List(command.script.iter().map(|line| text(line)).collect())),
            ("deps".to_owned(), files(deps)),
            ("outs".to_owned(), files(outs)),
        ]));
        let changes = self.entries.get(&command.name) != Some(&entry);
        self.entries.insert(command.name.clone(), entry);
        changes
    }

    /// Writes the lock in one step, in srsly's layout. Other readers see the old lock or the new one.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or is a symlink.
    pub fn write(&self) -> Result<()> {
        let text = emit::emit(&self.entries);
        replace_project_file(&self.path, text.as_bytes())
            .map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// The entry of a command. Missing keys count as empty. Keys that weasel does not know are ignored.
#[derive(Clone, Copy, Debug)]
pub struct LockEntry<'a>(&'a Map);

impl<'a> LockEntry<'a> {
    /// Returns the difference, if the command was run with another script or other dependencies.
    pub fn difference(self, command: &ProjectCommand, deps: &[FileInfo]) -> Option<String> {
        let script = self.0.get("script").and_then(Value::as_list).unwrap_or_default();
        let is_same_script = script.len() == command.script.len()
            && script.iter().zip(&command.script).all(|(line, other)| line.as_text() == Some(other));
        if !is_same_script {
            return Some("its script has changed since it ran".to_owned());
        }
        let mut recorded = self.files("deps");
        for FileInfo { path, hash } in deps {
            // Their order does not matter.
            match recorded.iter().position(|(other, _)| *other == path) {
                None => return Some(format!("it did not depend on `{path}` when it ran")),
                Some(place) => {
                    let (_, md5) = recorded.swap_remove(place);
                    if md5 != hash.as_ref().map(ContentHash::as_str) {
                        return Some(format!("its dependency `{path}` has changed since it ran"));
                    }
                }
            }
        }
        recorded.first().map(|(path, _)| format!("it depended on `{path}` when it ran"))
    }

    /// Returns whether the entry records this content for an output.
    pub fn has_output(self, path: &str, hash: &ContentHash) -> bool {
        self.files("outs").contains(&(path, Some(hash.as_str())))
    }

    fn files(self, key: &str) -> Vec<(&'a str, Option<&'a str>)> {
        let items = self.0.get(key).and_then(Value::as_list).unwrap_or_default();
        let file = |item: &'a Value| {
            let map = item.as_map()?;
            Some((map.get("path")?.as_text()?, map.get("md5").and_then(Value::as_text)))
        };
        items.iter().filter_map(file).collect()
    }
}

#[cfg(test)]
mod tests;
