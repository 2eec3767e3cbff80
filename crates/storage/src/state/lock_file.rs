//! A lock file: the lock of one output or directory, who holds it, and how often the output was changed.
//!
//! Its text helps people and nested commands, and shows that an output was made again in the meantime. Nothing else relies on
//! it, so a failure to write or read it does not matter.

use std::fs::File;
use std::io::Seek as _;
use std::os::unix::fs::FileExt as _;

use larder_tree::read_open_file;

use super::process_identity::ProcessIdentity;

/// The maximum size of a lock file, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// The process that noted last that it holds an exclusive lock.
pub(super) struct Holder {
    pub(super) process: ProcessIdentity,
    /// The output, or the path that its lock stands for.
    pub(super) path: String,
}

/// Returns whether a lock file of this name is that of a long path.
pub(super) fn is_hashed_name(name: &str) -> bool {
    name.len() == 65 && name.starts_with('%')
}

/// Notes that this process holds the exclusive lock of a path.
pub(super) fn note_holder(file: &File, path: &str) {
    if let Some(own) = ProcessIdentity::own() {
        write(file, &format!("{own} {path}"), read_changes(file));
    }
}

/// Reads who holds the exclusive lock.
pub(super) fn read_holder(file: &File) -> Option<Holder> {
    let text = read(file)?;
    let line = text.lines().next()?;
    let (identity, path) = line.split_at_checked(line.match_indices(' ').nth(1)?.0)?;
    Some(Holder { process: identity.parse().ok()?, path: path.trim_start().to_owned() })
}

/// Counts one more change of the output. The caller holds its lock.
pub(super) fn count_change(file: &File) {
    let text = read(file).unwrap_or_default();
    write(file, text.lines().next().unwrap_or_default(), read_changes(file).wrapping_add(1));
}

/// Returns how many changes were counted.
pub(super) fn read_changes(file: &File) -> u64 {
    let changes = read(file).and_then(|text| text.lines().nth(1)?.parse().ok());
    changes.unwrap_or_default()
}

fn read(mut file: &File) -> Option<String> {
    file.rewind().ok()?;
    String::from_utf8(read_open_file(file, MAX_FILE).ok()?).ok()
}

fn write(file: &File, holder: &str, changes: u64) {
    let text = format!("{holder}\n{changes}\n");
    if file.set_len(0).is_ok() {
        file.write_all_at(text.as_bytes(), 0).ok();
    }
}
