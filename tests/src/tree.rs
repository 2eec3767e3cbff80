//! Trees of files: how tests write, read and compare them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The entry at one path of a tree.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Dir,
    /// A file: its content, and whether its owner may execute it.
    File(Vec<u8>, bool),
    /// A symlink and its target.
    Link(Vec<u8>),
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir => f.write_str("directory"),
            Self::File(bytes, executable) => {
                let start = &bytes[..bytes.len().min(24)];
                write!(f, "file of {} bytes, executable: {executable}, {}", bytes.len(), start.escape_ascii())
            }
            Self::Link(target) => write!(f, "link to {}", target.escape_ascii()),
        }
    }
}

/// A tree in memory, keyed by paths as raw bytes. A single file is a tree whose only path is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<Vec<u8>, Entry>);

impl Tree {
    /// Creates an empty directory.
    pub fn new() -> Self {
        Self(BTreeMap::from([(Vec::new(), Entry::Dir)]))
    }

    /// Creates a single file.
    pub fn of_file(contents: impl Into<Vec<u8>>) -> Self {
        Self(BTreeMap::from([(Vec::new(), Entry::File(contents.into(), false))]))
    }

    /// Adds a file.
    #[must_use]
    pub fn with(self, path: impl AsRef<[u8]>, contents: impl Into<Vec<u8>>) -> Self {
        self.with_entry(path, Entry::File(contents.into(), false))
    }

    /// Adds an entry and its parent directories.
    #[must_use]
    pub fn with_entry(mut self, path: impl AsRef<[u8]>, entry: Entry) -> Self {
        let path = path.as_ref();
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.0.entry(path[..at].to_vec()).or_insert(Entry::Dir);
        }
        self.0.insert(path.to_vec(), entry);
        self
    }

    /// Creates a few files of some kilobytes, for tests that run a command many times.
    pub fn small(seed: u64) -> Self {
        Self::new()
            .with("config.cfg", text(seed, 3_000))
            .with("ner/model", noise(seed, 9_000))
            .with("ner/moves", text(seed + 1, 500))
            .with_entry("run", Entry::File(b"#!/bin/sh\n".to_vec(), true))
            .with_entry("vocab/empty", Entry::Dir)
            .with_entry("latest", Entry::Link(b"ner/model".to_vec()))
    }

    /// Creates every kind of name and entry that a real tree may have.
    pub fn awkward() -> Self {
        let deep = vec!["d"; 200].join("/");
        let long_name = "n".repeat(255);
        let long_path = format!("{}/{long_name}/{long_name}/leaf", "p".repeat(120));
        Self::new()
            .with("with space/a b", "space")
            .with("übung/größe-日本語", "not ASCII")
            .with(" ", "only a space")
            .with("line\nbreak/file\n", "newlines")
            .with(b"undecodable-\xff\xfe/\x80", "not UTF-8")
            .with("quote'\"`$(x)\\;&*?[", "shell")
            .with("-r", "like an option")
            .with("%2F+~", "like an encoded name")
            .with(format!("{deep}/leaf"), "deep")
            .with(long_path, "long")
            .with("empty", "")
            .with(".hidden/.also", "hidden")
            .with("larder-looks-like-a-later-format", "larder-tree 1\n")
            .with("big", noise(7, 9 << 20))
            .with("texts", text(8, 5 << 20))
            .with_entry("tool", Entry::File(b"#!/bin/sh\n".to_vec(), true))
            .with_entry("nothing here", Entry::Dir)
            .with_entry("nothing/at/all", Entry::Dir)
            .with_entry("links/up", Entry::Link(b"../empty".to_vec()))
            .with_entry("links/dir", Entry::Link("../with space".into()))
            .with_entry("links/dangling", Entry::Link(b"nowhere".to_vec()))
            .with_entry("links/undecodable", Entry::Link(b"x\xff".to_vec()))
    }

    /// Writes the tree to `at`, which must not exist.
    pub fn write(&self, at: &Path) {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        for (path, entry) in &self.0 {
            let to = if path.is_empty() { at.to_owned() } else { at.join(OsStr::from_bytes(path)) };
            match entry {
                Entry::Dir => fs::create_dir(&to).unwrap(),
                Entry::Link(target) => symlink(OsStr::from_bytes(target), &to).unwrap(),
                Entry::File(bytes, executable) => {
                    fs::write(&to, bytes).unwrap();
                    let mode = if *executable { 0o755 } else { 0o644 };
                    fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        }
    }

    /// Reads the tree at `at`, including hidden entries, without following links.
    ///
    /// # Panics
    ///
    /// Panics if there is no tree, or if it cannot be read.
    #[track_caller]
    pub fn read(at: &Path) -> Self {
        match Self::try_read(at) {
            Ok(tree) => tree,
            Err(error) => panic!("failed to read {}: {error}", at.display()),
        }
    }

    /// Reads the tree. Returns `None` if nothing exists at the path.
    pub fn read_if_exists(at: &Path) -> Option<Self> {
        at.symlink_metadata().is_ok().then(|| Self::read(at))
    }

    /// Reads a tree that another process may replace.
    ///
    /// # Errors
    ///
    /// Fails if an entry is gone.
    pub fn try_read(at: &Path) -> std::io::Result<Self> {
        fn visit(tree: &mut Tree, at: &Path, path: &[u8]) -> std::io::Result<()> {
            let meta = at.symlink_metadata()?;
            let entry = if meta.is_symlink() {
                Entry::Link(fs::read_link(at)?.into_os_string().into_vec())
            } else if meta.is_dir() {
                for child in fs::read_dir(at)? {
                    let name = child?.file_name();
                    let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                    visit(tree, &at.join(&name), &[path, separator, name.as_bytes()].concat())?;
                }
                Entry::Dir
            } else {
                Entry::File(fs::read(at)?, meta.permissions().mode() & 0o100 != 0)
            };
            tree.0.insert(path.to_vec(), entry);
            Ok(())
        }
        let mut tree = Self::default();
        visit(&mut tree, at, b"")?;
        Ok(tree)
    }

    /// Asserts that both trees are equal. A failure shows only the differences.
    #[track_caller]
    pub fn assert_same(&self, expected: &Self) {
        let differs = |one: &Self, other: &Self, what: &str| -> Vec<String> {
            let only = one.0.iter().filter(|(path, entry)| other.0.get(*path) != Some(*entry));
            only.map(|(path, entry)| format!("{what}: {}: {entry:?}", path.escape_ascii())).collect()
        };
        let mut lines = differs(expected, self, "expected");
        lines.extend(differs(self, expected, "found"));
        assert!(lines.is_empty(), "the trees differ:\n{}", lines.join("\n"));
    }
}

/// Generates incompressible bytes, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("larder-tests noise")
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Generates compressible text, the same for the same seed.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the ", "pantry ", "of ", "flour", " and ", "salt, ", "jars", " on ", "a ", "shelf", ".\n", "honey ",
        "keeps ", "for ", "winter ", "well ",
    ];
    noise(seed, len / 3 + 16)
        .iter()
        .flat_map(|byte| WORDS[usize::from(byte % 16)].bytes())
        .take(len)
        .collect()
}
