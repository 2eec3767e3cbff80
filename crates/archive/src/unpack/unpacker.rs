//! Reads the entries of a tar stream, checks each, and creates it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::executor::block_on;
use larder_hashing::{ContentHash, HashOptions, OutputPath, Scheme, content_hash};
use larder_tree::{FileDigester as _, Observer, TreeOptions};
use tokio::io::AsyncReadExt as _;
use tokio_tar::{Archive, Entry};

use super::error::UnpackError;
use super::files::{OutputFiles, PIECE, SMALL};
use super::guard::{Guard, PieceSource};
use super::names::Names;
use super::options::UnpackOptions;
use super::records::{RecordKind, Records, Sorted};
use super::tree::{CreatedDirs, Tree};
use super::weasel::InOrder;
use crate::limits::NameBudget;
use crate::links::LinkCheck;

/// Unpacks one archive.
pub(super) struct Unpacker<'a, P> {
    output: &'a OutputPath,
    options: &'a UnpackOptions,
    tree: Arc<Tree>,
    made: CreatedDirs,
    guard: Guard<P>,
    files: OutputFiles,
    records: Records,
    content_bytes: u64,
    /// The end of the last entry's contents in the tar stream.
    contents_end: u64,
    /// The links. They are created last, so that nothing is created through one.
    symlinks: Vec<(Vec<u8>, Vec<u8>)>,
    hard_links: Vec<HardLink>,
    names: NameBudget,
    /// Weasel's hash, as long as it can be computed from the stream.
    in_order: Option<InOrder>,
}

struct HardLink {
    path: Vec<u8>,
    target: Vec<u8>,
    /// The number of earlier entries.
    before: usize,
}

/// The contents of an archive.
pub(super) struct Contents {
    pub(super) content_hash: Option<ContentHash>,
    pub(super) is_dir: bool,
    pub(super) entries: u64,
    pub(super) content_bytes: u64,
}

/// The longest text of a link, in bytes. It is the limit of Linux, and other systems allow less.
const MAX_TARGET: usize = 4095;

type TarEntry<P> = Entry<Archive<Guard<P>>>;

impl<'a, P: PieceSource> Unpacker<'a, P> {
    pub(super) fn new(
        dest_dir: &Path,
        output: &'a OutputPath,
        options: &'a UnpackOptions,
        pieces: P,
    ) -> Self {
        let tree = Arc::new(Tree::new(output.below(dest_dir)));
        let (workers, keep_alive) = (options.workers.clone(), options.keep_alive.clone());
        let keeps_states = options.remember.is_some();
        Self {
            output,
            options,
            files: OutputFiles::new(Arc::clone(&tree), options.scheme, workers, keep_alive, keeps_states),
            tree,
            made: CreatedDirs::new(options.limits.tree.entries),
            guard: Guard::new(pieces, options.limits.header_bytes),
            records: Records::default(),
            content_bytes: 0,
            contents_end: 0,
            symlinks: Vec::new(),
            hard_links: Vec::new(),
            names: NameBudget::default(),
            in_order: InOrder::new(options.scheme),
        }
    }

    pub(super) fn unpack(mut self) -> Result<Contents, UnpackError> {
        let names = Names::new(self.output, self.options.limits.tree);
        let mut archive = Archive::new(self.guard.clone());
        let mut entries = archive.entries().map_err(|error| self.guard.broken(error))?;
        // Nothing here is ever pending: see `Guard`.
        while let Some(entry) = block_on(entries.next()) {
            if self.options.observer.is_cancelled() {
                return Err(UnpackError::Cancelled);
            }
            let entry = entry.map_err(|error| self.guard.broken(error))?;
            self.entry(entry, &names)?;
        }
        self.guard.finish(self.contents_end)?;
        self.take_written(true)?;
        if self.records.len() == 0 && self.symlinks.is_empty() && self.hard_links.is_empty() {
            return Err(UnpackError::damaged(format!("it has nothing of {} in it", self.output)));
        }
        let has_links = !self.symlinks.is_empty() || !self.hard_links.is_empty();
        self.make_hard_links()?;
        self.make_symlinks()?;
        let is_dir = self.records.output_kind() == Some(RecordKind::Directory);
        let content_hash = match self.options.scheme {
            None => None,
            Some(Scheme::Weasel) => Some(match self.in_order.take().filter(|_| !has_links) {
                Some(hash) => hash.finish(),
                None => self.hash_finished()?,
            }),
            Some(scheme) => {
                let sorted = self.records.sorted();
                // A file that is put into place by itself is changed by that.
                if is_dir {
                    self.remember(&sorted, scheme);
                }
                sorted.content_hash(scheme)
            }
        };
        Ok(Contents {
            content_hash,
            is_dir,
            entries: self.records.len() as u64,
            content_bytes: self.content_bytes,
        })
    }

    fn entry(&mut self, mut entry: TarEntry<P>, names: &Names<'_>) -> Result<(), UnpackError> {
        let name = entry.path_bytes().map_err(|error| self.guard.broken(error))?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Err(UnpackError::refused(&name, "which would change what all later entries mean"));
        }
        let path = names.relative(&name)?;
        let entries = (self.records.len() + self.symlinks.len() + self.hard_links.len()) as u64;
        if entries >= self.options.limits.tree.entries {
            return Err(UnpackError::refused(
                &name,
                format!("one more than {} entries, which is the limit", self.options.limits.tree.entries),
            ));
        }
        let target_len = entry
            .link_name_bytes()
            .map_err(|error| self.guard.broken(error))?
            .map_or(0, |target| target.len());
        if !self.names.add(path.len() + target_len) {
            return Err(UnpackError::refused(&name, "and too many long names before it to be remembered"));
        }
        if self.is_sparse(&mut entry)? {
            return Err(UnpackError::refused(&name, "which is sparse: its size on disk has no bound"));
        }
        let size = entry.effective_size();
        if !kind.is_file() && size > 0 {
            return Err(UnpackError::refused(&name, "which has contents and is no file"));
        }
        self.guard.contents(size)?;
        self.contents_end = self.guard.position() + size;
        if kind.is_dir() {
            self.tree.make_dir(&path, &mut self.made)?;
            self.records.add(&path, RecordKind::Directory, 0, None);
            return Ok(());
        }
        if kind.is_symlink() && path.is_empty() {
            return Err(UnpackError::refused(&name, "a link in the place of the output"));
        }
        self.tree.prepare_file(&path, &mut self.made)?;
        if kind.is_file() {
            if name.ends_with(b"/") {
                return Err(UnpackError::refused(&name, "a file with the name of a directory"));
            }
            let mode = entry.header().mode().map_err(|error| self.guard.broken(error))?;
            self.file(&mut entry, path, size, mode & 0o100 != 0)
        } else if kind.is_symlink() {
            let target = self.link_target(&entry, &name)?;
            self.symlinks.push((path, target));
            Ok(())
        } else if kind.is_hard_link() {
            let target = names.relative(&self.link_target(&entry, &name)?)?;
            self.hard_links.push(HardLink { path, target, before: self.records.len() });
            Ok(())
        } else {
            Err(UnpackError::refused(&name, "which is neither a file, a directory nor a link"))
        }
    }

    fn link_target(&self, entry: &TarEntry<P>, name: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let target = entry
            .link_name_bytes()
            .map_err(|error| self.guard.broken(error))?
            .map(std::borrow::Cow::into_owned);
        match target {
            None => Err(UnpackError::refused(name, "a link without a target")),
            Some(target) if target.is_empty() || target.contains(&0) => {
                Err(UnpackError::refused(name, "a link whose target is no path"))
            }
            Some(target) if target.len() > MAX_TARGET => {
                Err(UnpackError::refused(name, "a link whose target is too long for any system"))
            }
            Some(target) => Ok(target),
        }
    }

    fn is_sparse(&self, entry: &mut TarEntry<P>) -> Result<bool, UnpackError> {
        if entry.header().entry_type().is_gnu_sparse() {
            return Ok(true);
        }
        let extensions = block_on(entry.pax_extensions()).map_err(|error| self.guard.broken(error))?;
        for extension in extensions.into_iter().flatten() {
            let extension = extension.map_err(|error| self.guard.broken(error))?;
            let key = extension.key_bytes();
            if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn file(
        &mut self,
        entry: &mut TarEntry<P>,
        path: Vec<u8>,
        size: u64,
        executable: bool,
    ) -> Result<(), UnpackError> {
        self.content_bytes = self.content_bytes.saturating_add(size);
        if self.in_order.as_mut().is_some_and(|hash| !hash.begin(&path)) {
            self.in_order = None;
        }
        let number = self.records.add(&path, RecordKind::File { executable }, size, None);
        if size <= SMALL {
            let bytes = self.files.small_bytes();
            let begin = bytes.len();
            bytes.try_reserve(usize::try_from(size).unwrap_or(PIECE))?;
            read(&self.guard, entry, bytes, size)?;
            if let Some(hash) = &mut self.in_order {
                hash.update(&bytes[begin..]);
            }
            self.files.write_small(number, path, executable);
            return self.take_written(false);
        }
        let mut left = size;
        let mut large = self.files.begin_large(&path, executable)?;
        while left > 0 {
            if self.options.observer.is_cancelled() {
                return Err(UnpackError::Cancelled);
            }
            let mut bytes = large.buffer()?;
            let len = left.min(PIECE as u64);
            read(&self.guard, entry, &mut bytes, len)?;
            if let Some(hash) = &mut self.in_order {
                hash.update(&bytes);
            }
            large.write(bytes)?;
            left -= len;
        }
        let written = large.finish(number)?;
        self.records.set_written(&written);
        Ok(())
    }

    fn take_written(&mut self, all: bool) -> Result<(), UnpackError> {
        while let Some(written) = self.files.next_written(all)? {
            self.records.set_written(&written);
        }
        Ok(())
    }

    fn make_hard_links(&mut self) -> Result<(), UnpackError> {
        let links = std::mem::take(&mut self.hard_links);
        let mut linked = Vec::with_capacity(links.len());
        {
            let sorted = self.records.sorted();
            for link in &links {
                let file = sorted.earlier_file(&link.target, link.before).ok_or_else(|| {
                    UnpackError::refused(&link.path, "a hard link to what is no earlier file of the archive")
                })?;
                linked.push(file);
            }
        }
        for (link, file) in links.iter().zip(linked) {
            self.tree.make_hard_link(&link.path, &link.target)?;
            self.records.add(&link.path, file.kind, file.size, file.digest);
        }
        Ok(())
    }

    fn make_symlinks(&mut self) -> Result<(), UnpackError> {
        let links = std::mem::take(&mut self.symlinks);
        for (path, target) in &links {
            self.tree.make_symlink(path, target)?;
            let digest = self.options.scheme.map(|scheme| scheme.digest(target));
            self.records.add(path, RecordKind::Symlink, target.len() as u64, digest);
        }
        // Only the finished tree shows where a link leads through other links.
        let mut check = LinkCheck::new(&self.tree.place(b""));
        for (path, target) in &links {
            if self.options.observer.is_cancelled() {
                return Err(UnpackError::Cancelled);
            }
            let refused = check
                .refuse(path, target)
                .map_err(|error| UnpackError::io("follow", self.tree.place(path))(error.into()))?;
            if let Some(why) = refused {
                let why = format!("a link to `{}`, which {why}", String::from_utf8_lossy(target));
                return Err(UnpackError::refused(path, why));
            }
        }
        Ok(())
    }

    /// Records the digests of all files.
    fn remember(&self, sorted: &Sorted<'_>, scheme: Scheme) {
        let Some((cache, destination)) = &self.options.remember else { return };
        // Every file is closed.
        let Some(clock) = cache.clock(&self.tree.place(b"")) else { return };
        let files = sorted
            .files()
            .filter_map(|(path, state, digest)| Some((path, state, Scheme::digest_bytes(&digest)?)));
        cache.record(destination, scheme.name(), clock, files);
    }

    fn hash_finished(&self) -> Result<ContentHash, UnpackError> {
        let observer = OnlyCancelled(Arc::clone(&self.options.observer));
        let tree = TreeOptions::default()
            .with_workers(self.options.workers.clone())
            .with_observer(Arc::new(observer));
        let options = HashOptions::new(Scheme::Weasel).with_tree(tree);
        content_hash(&self.tree.place(b""), &options).map_err(|error| {
            if error.is_cancelled() { UnpackError::Cancelled } else { UnpackError::Hash(error) }
        })
    }
}

/// Passes on cancellation, and reports no progress: the bytes were counted when they arrived.
struct OnlyCancelled(Arc<dyn Observer>);

impl Observer for OnlyCancelled {
    fn bytes(&self, _count: u64) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Appends exactly `len` bytes of an entry.
fn read<P: PieceSource>(
    guard: &Guard<P>,
    entry: &mut TarEntry<P>,
    bytes: &mut Vec<u8>,
    len: u64,
) -> Result<(), UnpackError> {
    let got = block_on(entry.take(len).read_to_end(bytes));
    match got {
        Ok(got) if got as u64 == len => Ok(()),
        Ok(_) => Err(guard.broken(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(guard.broken(error)),
    }
}
