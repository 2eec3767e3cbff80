//! A journal of uploads that another process can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use larder_backend::{UploadJournal, UploadToken};

/// Logs uploads in a file: one line for each opened (`+`) or closed (`-`) upload.
#[derive(Debug)]
pub struct FileJournal(Mutex<File>);

impl FileJournal {
    /// Appends to the file at `path`, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn append(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(OpenOptions::new().append(true).create(true).open(path)?)))
    }

    /// Reads the uploads that were opened and not closed. The writer may still run. A missing file counts as empty.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read_open(path: &Path) -> io::Result<Vec<UploadToken>> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let mut open: Vec<&str> = Vec::new();
        // The last line of a killed writer may be incomplete.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if let Some(token) = line.strip_prefix('+') {
                open.push(token);
            } else if let Some(token) = line.strip_prefix('-') {
                open.retain(|opened| *opened != token);
            }
        }
        Ok(open.into_iter().map(UploadToken::new).collect())
    }

    fn note(&self, sign: char, token: &UploadToken) -> io::Result<()> {
        let line = format!("{sign}{}\n", token.as_str());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
    }
}

impl UploadJournal for FileJournal {
    fn opened(&self, token: &UploadToken) -> io::Result<()> {
        self.note('+', token)
    }

    fn closed(&self, token: &UploadToken) {
        // The trait cannot report an error. The token then stays open, and a sweep finds no upload for it.
        let _ = self.note('-', token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_tells_what_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        assert_eq!(FileJournal::read_open(&path).unwrap(), []);
        let journal = FileJournal::append(&path).unwrap();
        let [first, second] = ["first", "second"].map(UploadToken::new);
        journal.opened(&first).unwrap();
        journal.opened(&second).unwrap();
        journal.closed(&first);
        assert_eq!(FileJournal::read_open(&path).unwrap(), [second]);
    }
}
