//! The lines of outputs in the `.gitignore` of a project.

use std::io;
use std::path::PathBuf;

use larder_hashing::OutputPath;
use larder_tree::{StateDirectory, Symlinks, read_project_file};

use crate::error::{Error, Result};
use crate::git::Git;
use crate::write_lock::ProjectWriteLock;

/// The name of the file at the project root.
const NAME: &str = ".gitignore";

/// The maximum size of the file, in bytes. Real files have a few kilobytes.
const MAX_FILE: u64 = 16 << 20;

/// Makes git ignore outputs: adds a line such as `/models/en` for each one that no `.gitignore` of the repository ignores.
/// Returns the added lines.
///
/// All other bytes of the file stay as they are. Without git, a line that is there already counts.
///
/// # Errors
///
/// The file is a symlink, or cannot be read or written.
pub fn ignore_outputs<'a>(
    lock: &ProjectWriteLock,
    outputs: impl IntoIterator<Item = &'a OutputPath>,
) -> Result<Vec<String>> {
    let paths: Vec<&str> = outputs.into_iter().map(OutputPath::as_str).collect();
    ignore(lock, &paths)
}

/// Makes git ignore the directory `.larder`, as [`ignore_outputs`] does for outputs. Returns whether a line was added.
///
/// # Errors
///
/// As for [`ignore_outputs`].
pub fn ignore_state(lock: &ProjectWriteLock) -> Result<bool> {
    // With a `/` at its end, git would also read the `.gitignore` in the directory.
    let ignored = Git::at(lock.root()).ignores(&[StateDirectory::NAME]);
    if ignored.is_some_and(|ignored| ignored == [true]) {
        return Ok(false);
    }
    Ok(!add_lines(lock, vec![format!("/{}/", StateDirectory::NAME)])?.is_empty())
}

/// Removes the lines of outputs that [`ignore_outputs`] adds. Returns the removed lines.
///
/// # Errors
///
/// The file is a symlink, or cannot be read or written.
pub fn unignore_outputs<'a>(
    lock: &ProjectWriteLock,
    outputs: impl IntoIterator<Item = &'a OutputPath>,
) -> Result<Vec<String>> {
    let lines: Vec<String> = outputs.into_iter().map(|output| line_of(output.as_str())).collect();
    let Some(before) = read(lock)? else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    let mut after = Vec::with_capacity(before.len());
    for whole in before.split_inclusive(|byte| *byte == b'\n') {
        match lines.iter().find(|line| line.as_bytes() == without_end(whole)) {
            Some(line) => removed.push(line.clone()),
            None => after.extend_from_slice(whole),
        }
    }
    if !removed.is_empty() {
        lock.replace(NAME, &after)?;
    }
    Ok(removed)
}

/// Adds lines for the paths that are not ignored, and returns them.
fn ignore(lock: &ProjectWriteLock, paths: &[&str]) -> Result<Vec<String>> {
    let ignored = Git::at(lock.root()).ignores(paths).unwrap_or_else(|| vec![false; paths.len()]);
    let missing = paths.iter().zip(ignored).filter(|(_, ignored)| !ignored);
    add_lines(lock, missing.map(|(path, _)| line_of(path)).collect())
}

/// Adds the lines that the file lacks, and returns them.
fn add_lines(lock: &ProjectWriteLock, mut lines: Vec<String>) -> Result<Vec<String>> {
    if lines.is_empty() {
        return Ok(lines);
    }
    let mut text = read(lock)?.unwrap_or_default();
    let has =
        |line: &String| text.split(|byte| *byte == b'\n').any(|old| without_end(old) == line.as_bytes());
    lines.retain(|line| !has(line));
    if lines.is_empty() {
        return Ok(lines);
    }
    let end: &[u8] = if text.windows(2).any(|pair| pair == b"\r\n") { b"\r\n" } else { b"\n" };
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.extend_from_slice(end);
    }
    for line in &lines {
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(end);
    }
    lock.replace(NAME, &text)?;
    Ok(lines)
}

fn read(lock: &ProjectWriteLock) -> Result<Option<Vec<u8>>> {
    let path: PathBuf = lock.root().join(NAME);
    match read_project_file(&path, MAX_FILE, Symlinks::Refuse) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns the pattern that matches only this path below the project root.
fn line_of(path: &str) -> String {
    let spaces_at = path.trim_end_matches(' ').len();
    // The slash at the beginning also keeps `#` and `!` from being special.
    let mut line = String::from("/");
    for (at, character) in path.char_indices() {
        match character {
            '\\' | '*' | '?' | '[' => line.extend(['\\', character]),
            // Git removes spaces at the end of a line.
            ' ' if at >= spaces_at => line.extend(['\\', ' ']),
            // A pattern cannot have them. The wildcard matches them.
            '\n' | '\r' => line.push('?'),
            character => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    fn path(text: &str) -> OutputPath {
        OutputPath::new(text).unwrap()
    }

    fn lock(dir: &tempfile::TempDir) -> ProjectWriteLock {
        ProjectWriteLock::acquire(dir.path()).unwrap()
    }

    fn init(dir: &Path) -> bool {
        let mut git = Command::new("git");
        git.args(["init", "-q", "."]).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
        git.status().is_ok_and(|status| status.success())
    }

    #[test]
    fn lines_are_added_once_and_removed_without_a_trace() {
        for before in ["", "*.bin\n", "# a\r\n\r\nb\r\n", "\u{e4}\n\n"] {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(NAME);
            fs::write(&file, before).unwrap();
            let (lock, outputs) = (lock(&dir), [path("models/en"), path("b")]);
            let end = if before.contains('\r') { "\r\n" } else { "\n" };
            assert_eq!(ignore_outputs(&lock, &outputs).unwrap(), ["/models/en", "/b"]);
            let expected = format!("{before}/models/en{end}/b{end}");
            assert_eq!(fs::read_to_string(&file).unwrap(), expected);
            assert!(ignore_outputs(&lock, &outputs).unwrap().is_empty());
            assert_eq!(unignore_outputs(&lock, &outputs[..1]).unwrap(), ["/models/en"]);
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{before}/b{end}"));
            assert_eq!(unignore_outputs(&lock, &outputs).unwrap(), ["/b"]);
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
            assert!(unignore_outputs(&lock, &outputs).unwrap().is_empty());
        }
    }

    #[test]
    fn a_last_line_without_an_end_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        fs::write(&file, b"caf\xe9").unwrap();
        ignore_outputs(&lock(&dir), [&path("a")]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"caf\xe9\n/a\n");
    }

    #[test]
    fn an_absent_file_is_created_only_for_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock(&dir);
        assert!(unignore_outputs(&lock, [&path("a")]).unwrap().is_empty());
        assert!(ignore_outputs(&lock, []).unwrap().is_empty());
        assert!(!dir.path().join(NAME).exists());
        assert!(ignore_state(&lock).unwrap() && !ignore_state(&lock).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), "/.larder/\n");
    }

    #[test]
    fn a_symlink_is_refused() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = outside.path().join("target");
        fs::write(&target, "/a\n").unwrap();
        symlink(&target, dir.path().join(NAME)).unwrap();
        let lock = lock(&dir);
        for outcome in [ignore_outputs(&lock, [&path("b")]), unignore_outputs(&lock, [&path("a")])] {
            assert!(outcome.unwrap_err().to_string().contains("failed to read"));
        }
        assert_eq!(fs::read(&target).unwrap(), b"/a\n");
    }

    #[test]
    fn git_reads_each_line_as_the_path() {
        let dir = tempfile::tempdir().unwrap();
        if !init(dir.path()) {
            return;
        }
        let project = dir.path().join("sub/project");
        fs::create_dir_all(&project).unwrap();
        let lock = ProjectWriteLock::acquire(&project).unwrap();
        let git = Git::at(&project);
        let ignores = |path: &str| git.ignores(&[path]).map(|ignored| ignored[0]);
        for name in [
            "models/en",
            "#a",
            "!a",
            "a b",
            "a ",
            "a   ",
            " a",
            "a*b",
            "a?b",
            "[ab]",
            "a\\b",
            "a\\",
            "\u{e4}\u{1f600}",
            "a\tb",
            "a\t",
            "a\nb",
            "a\r",
            "\"a\"",
            "'a'",
            "a\u{1}b",
            ":(glob)a",
            "a/#b/!c",
            "-a",
            "**",
            "a\\ ",
        ] {
            let output = path(name);
            assert_eq!(ignores(output.as_str()), Some(false), "{name:?}");
            assert_eq!(ignore_outputs(&lock, [&output]).unwrap().len(), 1, "{name:?}");
            assert_eq!(ignores(output.as_str()), Some(true), "{name:?}");
            assert_eq!(ignores(&format!("below/{name}")), Some(false), "{name:?}");
            assert!(ignore_outputs(&lock, [&output]).unwrap().is_empty(), "{name:?}");
            assert_eq!(unignore_outputs(&lock, [&output]).unwrap().len(), 1, "{name:?}");
        }
        for (listed, other) in [("a*b", "axb"), ("a?b", "axb"), ("[ab]", "a"), ("a ", "a"), ("a\\b", "ab")] {
            ignore_outputs(&lock, [&path(listed)]).unwrap();
            assert_eq!(ignores(other), Some(false), "{listed:?} and {other:?}");
        }
    }

    #[test]
    fn what_git_ignores_already_gets_no_line() {
        let dir = tempfile::tempdir().unwrap();
        if !init(dir.path()) {
            return;
        }
        let lock = lock(&dir);
        assert!(ignore_state(&lock).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join(NAME)).unwrap(), "/.larder/\n");
        assert!(!ignore_state(&lock).unwrap());
        fs::write(dir.path().join(NAME), "models/\n.larder/\n").unwrap();
        assert!(ignore_outputs(&lock, [&path("models/en")]).unwrap().is_empty());
        assert!(!ignore_state(&lock).unwrap());
        // A file of this user only does not help others.
        fs::write(dir.path().join(".git/info/exclude"), "mine\n").unwrap();
        assert_eq!(ignore_outputs(&lock, [&path("mine")]).unwrap(), ["/mine"]);
    }
}
