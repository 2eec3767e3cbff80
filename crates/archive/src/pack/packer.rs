//! Turns the entries of a tree into a tar stream and a content hash.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use larder_hashing::{ContentHash, Digest, OutputPath, Scheme, hash_file_into};
use larder_tree::{EntryBody, EntryKind, FileState, ReadMode, TreeEntry, TreeError, TreeReader, Workers};

use super::content::ContentHasher;
use super::error::PackError;
use super::header::{self, HeaderKind};
use super::options::PackOptions;
use super::sink::{ArchiveInMemory, Sink};
use crate::frames::LATER_FORMAT;
use crate::limits::NameBudget;
use crate::links::LinkCheck;

/// The end of an archive: two blocks of zeros.
const END: usize = 2 * header::BLOCK;

/// The summary of an output that was read.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub(super) content_hash: ContentHash,
    pub(super) entries: u64,
    pub(super) files: u64,
    pub(super) content_bytes: u64,
    /// Whether the output is an executable file. `None` for a directory.
    pub(super) executable: Option<bool>,
}

/// An output in memory.
#[derive(Clone)]
pub(super) struct KeptArchive {
    /// The uncompressed archive, in pieces of the size of a frame.
    pub(super) archive: Vec<Bytes>,
    /// The output's files with their state when they were read. Paths are relative to the output.
    files: Arc<[(Vec<u8>, FileState)]>,
    path: PathBuf,
}

/// How many files a thread checks in one task.
const CHECKED_AT_ONCE: usize = 64;

impl KeptArchive {
    /// Checks on the file threads that no file has changed since it was read.
    pub(super) fn check(&self, workers: &Workers) -> Result<(), PackError> {
        let (sender, answers) = channel();
        let starts = (0..self.files.len()).step_by(CHECKED_AT_ONCE);
        let batches = starts.len();
        for start in starts {
            let (files, output, sender) = (Arc::clone(&self.files), self.path.clone(), sender.clone());
            workers.spawn_file(move || {
                let mut batch = files[start..].iter().take(CHECKED_AT_ONCE);
                // Sending fails only if the caller is gone.
                let _ = sender.send(batch.try_for_each(|(path, state)| state.check(below(&output, path))));
            });
        }
        (0..batches).try_for_each(|_| Ok(answers.recv().map_err(|_| PackError::Panicked)??))
    }
}

/// Packs one output.
pub(super) struct Packer {
    output: OutputPath,
    path: PathBuf,
    scheme: Scheme,
    reader: TreeReader<Scheme>,
    hasher: ContentHasher,
    links: LinkCheck,
    workers: Workers,
    header_limit: u64,
    header: Vec<u8>,
    entries: u64,
    files: u64,
    content_bytes: u64,
    executable: Option<bool>,
    names: NameBudget,
}

impl Packer {
    pub(super) fn new(root: &Path, output: &OutputPath, options: &PackOptions) -> Self {
        let path = output.below(root);
        Self {
            reader: TreeReader::with_digester(
                &path,
                &options.tree_options(),
                options.scheme,
                ReadMode::Bytes,
            ),
            scheme: options.scheme,
            hasher: ContentHasher::new(options.scheme),
            links: LinkCheck::new(&path),
            workers: options.workers.clone(),
            header_limit: options.limits.header_bytes,
            names: NameBudget::default(),
            header: Vec::new(),
            entries: 0,
            files: 0,
            content_bytes: 0,
            executable: None,
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

    /// Reads everything, and keeps the archive while it has at most `room` bytes.
    pub(super) fn prepare(mut self, room: usize) -> Result<(Summary, Option<KeptArchive>), PackError> {
        let mut memory = Some((ArchiveInMemory::default(), Vec::new()));
        while let Some(entry) = self.reader.next() {
            let entry = self.begin(entry?)?;
            if entry.is_remembered && memory.take().is_some() {
                // Its bytes were not read. If they are needed, all files are read.
                self.reader.stop_reading();
            }
            if let Some((kept, files)) = &mut memory {
                let needed = (kept.len() + self.header.len() + END) as u64
                    + entry.size.next_multiple_of(header::BLOCK as u64);
                if needed <= room as u64 {
                    files.extend(entry.state.map(|state| (entry.path.clone(), state)));
                    self.write(entry, kept)?;
                    continue;
                }
                memory = None;
                // Without manifests the hash covers the bytes themselves.
                if self.scheme.has_manifests() {
                    self.reader.stop_reading();
                }
            }
            self.hash(entry)?;
        }
        let kept = match memory {
            Some((mut archive, files)) => {
                archive.write_zeros(END)?;
                let path = self.path.clone();
                Some(KeptArchive { archive: archive.into_pieces(), files: files.into(), path })
            }
            None => None,
        };
        Ok((self.finish(), kept))
    }

    /// Checks an entry and writes its header.
    fn begin(&mut self, entry: TreeEntry<Digest>) -> Result<TreeEntry<Digest>, PackError> {
        let mut name = Vec::new();
        if self.output.as_str().as_bytes().starts_with(LATER_FORMAT) {
            // An uncompressed archive begins with this name, which would look like an object of a later format.
            name.extend_from_slice(b"./");
        }
        name.extend_from_slice(self.output.as_str().as_bytes());
        if !entry.path.is_empty() {
            name.push(b'/');
            name.extend_from_slice(&entry.path);
        }
        if let (EntryKind::File { executable }, []) = (&entry.kind, &*entry.path) {
            self.executable = Some(*executable);
        }
        let kind = match &entry.kind {
            EntryKind::File { executable } => HeaderKind::File { executable: *executable, size: entry.size },
            EntryKind::Directory { .. } => {
                name.push(b'/');
                HeaderKind::Directory
            }
            EntryKind::Symlink { target } => {
                self.check_link(&entry.path, target)?;
                HeaderKind::Symlink { target }
            }
        };
        let target_len = if let EntryKind::Symlink { target } = &entry.kind { target.len() } else { 0 };
        if !self.names.add(entry.path.len() + target_len) {
            return Err(PackError::Names { path: self.full_path(&entry.path) });
        }
        self.header.clear();
        header::write(&mut self.header, &name, kind);
        // The padding of the previous entry counts too.
        if (self.header.len() + header::BLOCK) as u64 > self.header_limit {
            return Err(PackError::Header { path: self.full_path(&entry.path), limit: self.header_limit });
        }
        self.entries += 1;
        if matches!(entry.kind, EntryKind::File { .. }) {
            self.files += 1;
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
            Err(error) => Err(PackError::Read(TreeError::Io {
                operation: "follow the link",
                path: self.full_path(path),
                source: error.into(),
            })),
        }
    }

    /// Writes an entry after its header, and hashes it.
    fn write(&mut self, entry: TreeEntry<Digest>, sink: &mut impl Sink) -> Result<(), PackError> {
        sink.write(&self.header)?;
        let (digest, state) = (entry.digest, entry.state);
        let is_open = matches!(entry.body, EntryBody::Open(_));
        match entry.body {
            EntryBody::Bytes(bytes) => {
                if digest.is_none() {
                    self.hasher.update(&bytes);
                }
                sink.write(&bytes)?;
            }
            EntryBody::Open(mut file) => sink.copy(&mut file, &mut self.hasher)?,
            EntryBody::None => self.hash_target(&entry)?,
        }
        if matches!(entry.kind, EntryKind::File { .. }) {
            sink.write_zeros(header::padding(entry.size))?;
        }
        let digest = self.hasher.add(&entry.kind, entry.size, digest, &entry.path);
        self.remember(&entry.path, state.filter(|_| is_open), digest);
        Ok(())
    }

    /// Records the digest of a file that the reader returned open.
    fn remember(&mut self, path: &[u8], state: Option<FileState>, digest: Option<Digest>) {
        if let (Some(state), Some(digest)) = (state, digest) {
            self.reader.remember(path, &state, &digest);
        }
    }

    /// Only hashes an entry.
    fn hash(&mut self, entry: TreeEntry<Digest>) -> Result<(), PackError> {
        let mut digest = entry.digest;
        match entry.body {
            EntryBody::Bytes(bytes) if digest.is_none() => self.hasher.update(&bytes),
            EntryBody::Bytes(_) => {}
            EntryBody::Open(file) => {
                digest = self.hasher.hash_file(file, &self.workers)?;
                self.remember(&entry.path, entry.state, digest);
            }
            EntryBody::None => self.hash_target(&entry)?,
        }
        let _ = self.hasher.add(&entry.kind, entry.size, digest, &entry.path);
        Ok(())
    }

    /// Under weasel's scheme, a link to a file counts as the bytes of that file.
    fn hash_target(&mut self, link: &TreeEntry<Digest>) -> Result<(), PackError> {
        if let (ContentHasher::Bytes(hasher), EntryKind::Symlink { .. }) = (&mut self.hasher, &link.kind)
            && let Some(file) = self.reader.open_target(link)?
        {
            hash_file_into(file, hasher, &self.workers)?;
        }
        Ok(())
    }

    fn finish(self) -> Summary {
        Summary {
            content_hash: self.hasher.finish(),
            entries: self.entries,
            files: self.files,
            content_bytes: self.content_bytes,
            executable: self.executable,
        }
    }

    fn full_path(&self, path: &[u8]) -> PathBuf {
        below(&self.path, path)
    }
}

/// Returns the path of an entry of the output at `output`.
fn below(output: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { output.to_owned() } else { output.join(OsStr::from_bytes(path)) }
}
