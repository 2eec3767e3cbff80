//! Named pipes, at which commands wait for the test.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A named pipe. A shell waits at it with `read _ < PIPE`.
///
/// Drop closes it, which ends such a wait with an error. So a failed test leaves no process behind.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    // Open for reading too, so that neither side waits for the other to open it, and a line stays until it is read.
    file: File,
}

impl Fifo {
    /// Creates the pipe at a path where nothing exists.
    ///
    /// # Panics
    ///
    /// Panics if `mkfifo` fails.
    pub fn new(path: &Path) -> Self {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self { path: path.to_owned(), file }
    }

    /// Returns the path of the pipe.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line, which ends one wait.
    pub fn release(&self) {
        (&self.file).write_all(b"\n").unwrap();
    }
}
