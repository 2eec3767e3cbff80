//! The work itself: from entries of a tree to a tar stream and a content hash.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_hashing::{
    Body, ContentHash, Contents, EntryKind, HashError, OutputPath, TreeEntry, TreeReader, Workers,
};

use super::content::ContentHasher;
use super::error::PackError;
use super::header::{self, Kind};
use super::options::PackOptions;
use super::sink::{Memory, Sink};
use crate::frames::LATER_FORMAT;
use crate::limits::NameBudget;
use crate::links::LinkCheck;

/// The end of an archive: two blocks of zeros.
const END: usize = 2 * header::BLOCK;

/// What is known of an output when all of it was read.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) content_hash: ContentHash,
    pub(super) entries: u64,
    pub(super) content_bytes: u64,
}

/// Packs one output.
pub(super) struct Packer {
    output: OutputPath,
    path: PathBuf,
    reader: TreeReader,
    hasher: ContentHasher,
    links: LinkCheck,
    workers: Workers,
    header_limit: u64,
    header: Vec<u8>,
    entries: u64,
    content_bytes: u64,
    names: NameBudget,
}

impl Packer {
    pub(super) fn new(root: &Path, output: &OutputPath, options: &PackOptions) -> Self {
        let path = output.below(root);
        Self {
            reader: TreeReader::open(&path, &options.hash_options(), Contents::Read),
            hasher: ContentHasher::new(options.scheme),
            links: LinkCheck::new(&path),
            workers: options.workers.clone(),
            header_limit: options.limits.header_bytes,
            names: NameBudget::default(),
            header: Vec::new(),
            entries: 0,
            content_bytes: 0,
            output: output.clone(),
            path,
        }
    }

    /// Writes the whole archive.
    pub(super) fn pack(mut self, sink: &mut impl Sink) -> Result<Summary, PackError> {
        while let Some(entry) = self.reader.next() {
            let entry = self.begin(entry?)?;
            self.write(entry, sink)?;
        }
        sink.write_zeros(END)?;
        Ok(self.finish())
    }

    /// Reads everything, and keeps the archive as long as it has no more than `room` bytes.
    pub(super) fn prepare(mut self, room: usize) -> Result<(Summary, Option<Memory>), PackError> {
        let mut memory = Some(Memory::default());
        while let Some(entry) = self.reader.next() {
            let entry = self.begin(entry?)?;
            if let Some(kept) = &mut memory {
                let needed = (kept.len() + self.header.len() + END) as u64
                    + entry.size.next_multiple_of(header::BLOCK as u64);
                if needed <= room as u64 {
                    self.write(entry, kept)?;
                    continue;
                }
                memory = None;
                self.reader.stop_reading();
            }
            self.hash(entry)?;
        }
        if let Some(kept) = &mut memory {
            kept.write_zeros(END)?;
        }
        Ok((self.finish(), memory))
    }

    /// Checks an entry and makes its header.
    fn begin(&mut self, entry: TreeEntry) -> Result<TreeEntry, PackError> {
        let mut name = Vec::new();
        if self.output.as_str().as_bytes().starts_with(LATER_FORMAT) {
            // An uncompressed archive begins with this name, and would be taken for an object of a later format.
            name.extend_from_slice(b"./");
        }
        name.extend_from_slice(self.output.as_str().as_bytes());
        if !entry.path.is_empty() {
            name.push(b'/');
            name.extend_from_slice(&entry.path);
        }
        let kind = match &entry.kind {
            EntryKind::File { executable } => Kind::File { executable: *executable, size: entry.size },
            EntryKind::Directory { .. } => {
                name.push(b'/');
                Kind::Directory
            }
            EntryKind::Symlink { target } => {
                self.check_link(&entry.path, target)?;
                Kind::Symlink { target }
            }
        };
        let target_len = if let EntryKind::Symlink { target } = &entry.kind { target.len() } else { 0 };
        if !self.names.add(entry.path.len() + target_len) {
            return Err(PackError::Names { path: self.full_path(&entry.path) });
        }
        self.header.clear();
        header::write(&mut self.header, &name, kind);
        // The padding of the entry before counts too.
        if (self.header.len() + header::BLOCK) as u64 > self.header_limit {
            return Err(PackError::Header { path: self.full_path(&entry.path), limit: self.header_limit });
        }
        self.entries += 1;
        if matches!(entry.kind, EntryKind::File { .. }) {
            self.content_bytes += entry.size;
        }
        Ok(entry)
    }

    fn check_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), PackError> {
        match self.links.refuse(path, target) {
            Ok(None) => Ok(()),
            Ok(Some(why)) => {
                let target = String::from_utf8_lossy(target).into_owned();
                Err(PackError::Link { path: self.full_path(path), target, why })
            }
            Err(error) => Err(PackError::Read(HashError::Io {
                operation: "follow the link",
                path: self.full_path(path),
                source: error.into(),
            })),
        }
    }

    /// Writes an entry behind its header, and hashes it.
    fn write(&mut self, entry: TreeEntry, sink: &mut impl Sink) -> Result<(), PackError> {
        sink.write(&self.header)?;
        let digest = entry.digest;
        match entry.body {
            Body::Bytes(bytes) => {
                if digest.is_none() {
                    self.hasher.update(&bytes);
                }
                sink.write(&bytes)?;
            }
            Body::Open(mut file) => sink.copy(&mut file, &mut self.hasher)?,
            Body::None => self.hash_target(&entry)?,
        }
        if matches!(entry.kind, EntryKind::File { .. }) {
            sink.write_zeros(header::padding(entry.size))?;
        }
        self.hasher.add(&entry.kind, entry.size, digest, &entry.path);
        Ok(())
    }

    /// Hashes an entry, and no more.
    fn hash(&mut self, entry: TreeEntry) -> Result<(), PackError> {
        let digest = entry.digest;
        match entry.body {
            Body::Bytes(bytes) if digest.is_none() => self.hasher.update(&bytes),
            Body::Bytes(_) => {}
            Body::Open(file) => self.hasher.with_hasher(|hasher| file.hash_into(hasher, &self.workers))?,
            Body::None => self.hash_target(&entry)?,
        }
        self.hasher.add(&entry.kind, entry.size, digest, &entry.path);
        Ok(())
    }

    /// Under weasel's scheme, a link to a file counts as the bytes of that file.
    fn hash_target(&mut self, link: &TreeEntry) -> Result<(), PackError> {
        if let (ContentHasher::Bytes(hasher), EntryKind::Symlink { .. }) = (&mut self.hasher, &link.kind)
            && let Some(file) = self.reader.open_target(link)?
        {
            file.hash_into(hasher, &self.workers)?;
        }
        Ok(())
    }

    fn finish(self) -> Summary {
        Summary {
            content_hash: self.hasher.finish(),
            entries: self.entries,
            content_bytes: self.content_bytes,
        }
    }

    fn full_path(&self, path: &[u8]) -> PathBuf {
        if path.is_empty() { self.path.clone() } else { self.path.join(OsStr::from_bytes(path)) }
    }
}
