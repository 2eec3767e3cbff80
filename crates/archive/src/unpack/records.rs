//! The unpacked entries, in little memory, until they are hashed.

use std::cmp::Ordering;

use larder_hashing::{ContentHash, Digest, Scheme, TreeHasher};
use larder_tree::{EntryKind, FileState};

use super::files::WrittenFile;

/// The entries of an archive, in its order. Each costs the bytes of its path and an [`EntryRecord`].
#[derive(Default)]
pub(super) struct Records {
    paths: Vec<u8>,
    entries: Vec<EntryRecord>,
    /// The states of the first files when they were closed, by the numbers of their entries. Empty if they are not wanted.
    states: Vec<Option<FileState>>,
}

struct EntryRecord {
    path_start: u64,
    size: u64,
    /// The digest of a file's bytes or of a link's text. `None` until it is known, and if nothing is hashed.
    digest: Option<Digest>,
    path_len: u16,
    kind: RecordKind,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    File { executable: bool },
    Directory,
    Symlink,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry and returns its number. [`Self::set_written`] adds the digest of a file later.
    pub(super) fn add(&mut self, path: &[u8], kind: RecordKind, size: u64, digest: Option<Digest>) -> usize {
        let path_start = self.paths.len() as u64;
        self.paths.extend_from_slice(path);
        let path_len = u16::try_from(path.len()).expect("longer paths were refused: see Names");
        self.entries.push(EntryRecord { path_start, size, digest, path_len, kind });
        self.entries.len() - 1
    }

    /// Adds the digest and the state of a file that was written.
    pub(super) fn set_written(&mut self, file: &WrittenFile) {
        self.entries[file.number].digest = file.digest;
        if file.state.is_some() {
            if self.states.len() <= file.number {
                self.states.resize(file.number + 1, None);
            }
            self.states[file.number] = file.state;
        }
    }

    /// Returns the kind of the output itself. It is a directory if it has no entry of its own.
    pub(super) fn output_kind(&self) -> Option<RecordKind> {
        let own = self.entries.iter().find(|record| record.path_len == 0).map(|record| record.kind);
        own.or_else(|| (!self.entries.is_empty()).then_some(RecordKind::Directory))
    }

    /// Sorts the entries, so that paths can be found.
    pub(super) fn sorted(&self) -> Sorted<'_> {
        let mut order: Vec<u32> = (0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)).collect();
        // Larder's archives have this order.
        let compare = |a: &u32, b: &u32| compare(self.path(*a), self.path(*b));
        if !order.is_sorted_by(|a, b| compare(a, b).is_le()) {
            order.sort_by(compare);
        }
        Sorted { records: self, order }
    }

    fn path(&self, number: u32) -> &[u8] {
        let EntryRecord { path_start, path_len, .. } = self.entries[number as usize];
        let start = usize::try_from(path_start).expect("an offset in memory");
        &self.paths[start..start + usize::from(path_len)]
    }
}

/// The entries in the order of manifests: depth first, the children of a directory by the bytes of their names.
pub(super) struct Sorted<'a> {
    records: &'a Records,
    order: Vec<u32>,
}

/// The properties that a hard link shares with its file.
#[derive(Clone, Copy)]
pub(super) struct LinkedFile {
    pub(super) kind: RecordKind,
    pub(super) size: u64,
    pub(super) digest: Option<Digest>,
}

impl Sorted<'_> {
    /// Returns the regular file at `path`, if it is among the first `before` entries of the archive.
    pub(super) fn earlier_file(&self, path: &[u8], before: usize) -> Option<LinkedFile> {
        let found = self.order.binary_search_by(|number| compare(self.records.path(*number), path)).ok()?;
        let number = self.order[found] as usize;
        let EntryRecord { kind, size, digest, .. } = self.records.entries[number];
        (number < before && matches!(kind, RecordKind::File { .. })).then_some(LinkedFile {
            kind,
            size,
            digest,
        })
    }

    /// Returns the path, the state and the digest of each file whose state is known.
    pub(super) fn files(&self) -> impl Iterator<Item = (&[u8], FileState, Digest)> {
        self.order.iter().filter_map(|&number| {
            let state = self.records.states.get(number as usize).copied().flatten()?;
            Some((self.records.path(number), state, self.records.entries[number as usize].digest?))
        })
    }

    /// The content hash of the output.
    pub(super) fn content_hash(&self, scheme: Scheme) -> Option<ContentHash> {
        let mut hasher = TreeHasher::new(scheme)?;
        for (place, number) in self.order.iter().enumerate() {
            let EntryRecord { size, digest, kind, .. } = &self.records.entries[*number as usize];
            let path = self.records.path(*number);
            let next = self.order.get(place + 1).map(|next| self.records.path(*next));
            match kind {
                RecordKind::File { .. } if path.is_empty() => {
                    return digest.map(|digest| ContentHash::of_file(scheme, &digest));
                }
                // A directory may be named twice.
                RecordKind::Directory if next == Some(path) => {}
                RecordKind::Directory => {
                    let is_empty = !next.is_some_and(|next| is_below(next, path));
                    hasher.add(&EntryKind::Directory { is_empty }, 0, None, path);
                }
                RecordKind::File { executable } => {
                    hasher.add(&EntryKind::File { executable: *executable }, *size, digest.as_ref(), path);
                }
                RecordKind::Symlink => {
                    hasher.add(&EntryKind::Symlink { target: Vec::new() }, *size, digest.as_ref(), path);
                }
            }
        }
        Some(hasher.finish())
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| directory.is_empty() || rest.starts_with(b"/"))
}

/// Compares component by component: `/` sorts before every other byte.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(paths: &[(&str, RecordKind)]) -> ContentHash {
        let mut records = Records::default();
        for (path, kind) in paths {
            let digest = (*kind != RecordKind::Directory).then(|| Scheme::Blake3.digest(b"x"));
            records.add(path.as_bytes(), *kind, 1, digest);
        }
        records.sorted().content_hash(Scheme::Blake3).unwrap()
    }

    #[test]
    fn the_order_of_the_archive_does_not_matter() {
        let file = RecordKind::File { executable: false };
        let canonical = [
            ("", RecordKind::Directory),
            ("a", RecordKind::Directory),
            ("a/b", file),
            ("a/b.c", file),
            ("a-b", file),
            ("ab", file),
        ];
        let mut shuffled = canonical;
        shuffled.reverse();
        assert_eq!(hash_of(&canonical), hash_of(&shuffled));
        assert_eq!(
            hash_of(&canonical),
            hash_of(&canonical[2..]),
            "directories with something in them have no line"
        );
    }

    #[test]
    fn an_empty_directory_counts_once() {
        let once = [
            ("", RecordKind::Directory),
            ("e", RecordKind::Directory),
            ("ee", RecordKind::Directory),
            ("ee/x", RecordKind::Symlink),
        ];
        let twice =
            [("e", RecordKind::Directory), ("e", RecordKind::Directory), ("ee/x", RecordKind::Symlink)];
        assert_eq!(hash_of(&once), hash_of(&twice));
        assert_ne!(hash_of(&once), hash_of(&twice[2..]));
    }

    #[test]
    fn a_hard_link_names_an_earlier_file() {
        let mut records = Records::default();
        records.add(b"a", RecordKind::File { executable: true }, 1, None);
        records.add(b"d", RecordKind::Directory, 0, None);
        records.add(b"b", RecordKind::File { executable: false }, 2, None);
        let sorted = records.sorted();
        assert!(sorted.earlier_file(b"a", 1).is_some());
        assert!(sorted.earlier_file(b"b", 2).is_none(), "it comes later");
        assert!(sorted.earlier_file(b"d", 3).is_none(), "it is a directory");
        assert!(sorted.earlier_file(b"c", 3).is_none());
    }
}
