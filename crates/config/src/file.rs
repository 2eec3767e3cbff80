//! Reads configuration files.

use std::fs;
use std::io;
use std::path::Path;

use larder_tree::{Symlinks, read_project_file};

use crate::document;
use crate::error::{Error, Result};
use crate::layer::{FileKind, Layer};
use crate::origin::FilePlace;

/// The maximum size of a configuration file, in bytes. Real files have a few hundred bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

impl Layer {
    /// Reads a configuration file. Returns `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a regular file, or is not valid.
    pub fn read(path: &Path, kind: FileKind) -> Result<Option<Self>> {
        let not_a_file = |problem| Err(Error::NotAFile { path: path.to_owned(), problem });
        match read_project_file(path, MAX_FILE_BYTES, Symlinks::Follow) {
            Ok(bytes) => match str::from_utf8(&bytes) {
                Ok(text) => Self::from_toml(text, path, kind).map(Some),
                Err(error) => {
                    let before = bytes.iter().take(error.valid_up_to());
                    let line = 1 + before.filter(|byte| **byte == b'\n').count();
                    let place = FilePlace { path: path.to_owned(), line };
                    Err(Error::Syntax { place, problem: "it must be UTF-8 text".to_owned() })
                }
            },
            Err(error) => match error.kind() {
                io::ErrorKind::IsADirectory => not_a_file("is a directory: replace it with a file"),
                io::ErrorKind::InvalidInput => not_a_file("is not a regular file: replace it with one"),
                io::ErrorKind::FileTooLarge => {
                    not_a_file("is larger than 1 MiB, which is the limit: is it the right file?")
                }
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => match fs::symlink_metadata(path) {
                    Ok(metadata) if metadata.is_symlink() => {
                        not_a_file("is a link that points at nothing: create its target, or remove it")
                    }
                    _ => Ok(None),
                },
                _ => Err(Error::Read { path: path.to_owned(), source: error }),
            },
        }
    }

    /// Parses the text of the configuration file at `path`.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or has a key or value that larder does not know. The error names file, line and key.
    pub fn from_toml(text: &str, path: &Path, kind: FileKind) -> Result<Self> {
        document::parse(text, path, kind)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Reads a path that `make` has filled, and returns the error without the path of the test's directory.
    fn refused(make: impl FnOnce(&Path)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        make(&path);
        let error = Layer::read(&path, FileKind::Project).unwrap_err();
        error.to_string().replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn what_is_there_and_no_file_is_no_absent_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Layer::read(&dir.path().join("larder.toml"), FileKind::Project).unwrap().is_none());
        assert_eq!(
            refused(|path| fs::create_dir(path).unwrap()),
            "the configuration file larder.toml is a directory: replace it with a file"
        );
        assert_eq!(
            refused(|path| symlink("nowhere", path).unwrap()),
            "the configuration file larder.toml is a link that points at nothing: create its target, or remove it"
        );
        assert_eq!(
            refused(|path| symlink("larder.toml", path).unwrap()),
            "failed to read the configuration file larder.toml"
        );
        let problem = refused(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
        assert!(problem.contains("not a regular file"), "{problem}");
        let problem = refused(|path| symlink("/dev/zero", path).unwrap());
        assert!(problem.contains("not a regular file"), "{problem}");
        let problem = refused(|path| fs::write(path, vec![b'#'; 1024 * 1024 + 1]).unwrap());
        assert!(problem.contains("larger than 1 MiB"), "{problem}");
        // Opening a FIFO would wait for a writer.
        let problem = refused(|path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        });
        assert!(problem.contains("not a regular file"), "{problem}");
    }

    #[test]
    fn bytes_that_are_no_text_are_named_with_their_line() {
        assert_eq!(
            refused(|path| fs::write(path, b"jobs = 1\n# caf\xe9\n").unwrap()),
            "larder.toml:2: not valid TOML: it must be UTF-8 text"
        );
    }
}
