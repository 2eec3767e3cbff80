//! Creates and writes files. Small files are written on the file threads, many at a time. Large files have a thread of
//! their own, so that writing, hashing and decompressing overlap.

use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use larder_hashing::{Digest, DigestHasher, Scheme};
use larder_tree::{FileState, Workers};
use tokio::sync::oneshot;

use super::error::UnpackError;
use super::tree::{NewFile, Tree};
use crate::thread;

/// Files of up to this size, in bytes, are small.
pub(super) const SMALL: u64 = 1 << 20;

/// How many bytes of small files may wait for a file thread. Eight threads that take a millisecond per file write 4 MiB of
/// 4 KiB files in a tenth of a second.
const MAX_WAITING_BYTES: u64 = 4 << 20;
const MAX_WAITING_FILES: usize = 1024;

/// The largest group of small files that a file thread gets at once, in files and in bytes (plus one file). Handing over a
/// single file takes about as long as creating it.
const GROUP_FILES: usize = 16;
const GROUP_BYTES: usize = 64 << 10;
/// A group grows by one file for this many waiting groups, so that a few files keep all threads busy too.
const GROUPS_PER_FILE: usize = 8;

/// The number of buffers of a large file, and their size in bytes: one is written, one waits, one is filled.
const PIECES: usize = 3;
pub(super) const PIECE: usize = 1 << 20;

/// Keeps a directory while a thread may still write into it.
pub(super) type KeepAlive = Option<Arc<dyn Any + Send + Sync>>;

/// The state that all threads of one archive share.
struct FilesContext {
    tree: Arc<Tree>,
    scheme: Option<Scheme>,
    /// Whether the states of files are wanted.
    keeps_states: bool,
    /// Set if the archive has failed: nothing more has to be written.
    abandoned: AtomicBool,
    _keep_alive: KeepAlive,
}

/// Writes the files of one archive.
pub(super) struct OutputFiles {
    shared: Arc<FilesContext>,
    workers: Workers,
    /// The group that is being filled. It is handed over when it is large enough.
    group: Group,
    waiting: VecDeque<WaitingGroup>,
    /// The bytes in all groups that were not waited for.
    pending: usize,
    pending_bytes: u64,
    written: VecDeque<WrittenFile>,
    /// Groups to be filled again. Memory that one thread allocates and another frees would make the threads wait for each
    /// other.
    empty: Vec<Group>,
    writer: Option<LargeFileWriter>,
}

/// Small files that one thread writes, one after the other.
#[derive(Default)]
struct Group {
    files: Vec<SmallFile>,
    /// The bytes of all of them.
    bytes: Vec<u8>,
}

struct SmallFile {
    number: usize,
    path: Vec<u8>,
    executable: bool,
    /// The end of its bytes. They begin at the end of the previous file's.
    end: usize,
    /// When it was written.
    digest: Option<Digest>,
    state: Option<FileState>,
}

/// A group that is being written.
struct WaitingGroup {
    files: usize,
    bytes: u64,
    group: Receiver<Result<Group, UnpackError>>,
}

/// A file that was written, by its number.
pub(super) struct WrittenFile {
    pub(super) number: usize,
    pub(super) digest: Option<Digest>,
    /// Its state when it was closed, if the states are wanted.
    pub(super) state: Option<FileState>,
}

impl OutputFiles {
    /// Digests are those of `scheme`. Weasel's scheme has none for single files.
    pub(super) fn new(
        tree: Arc<Tree>,
        scheme: Option<Scheme>,
        workers: Workers,
        keep_alive: KeepAlive,
        keeps_states: bool,
    ) -> Self {
        let scheme = scheme.filter(|scheme| *scheme != Scheme::Weasel);
        let abandoned = AtomicBool::new(false);
        let shared = FilesContext { tree, scheme, keeps_states, abandoned, _keep_alive: keep_alive };
        Self {
            shared: Arc::new(shared),
            workers,
            group: Group::default(),
            waiting: VecDeque::new(),
            pending: 0,
            pending_bytes: 0,
            written: VecDeque::new(),
            empty: Vec::new(),
            writer: None,
        }
    }

    /// Returns the buffer to which the bytes of the next small file are appended.
    pub(super) fn small_bytes(&mut self) -> &mut Vec<u8> {
        &mut self.group.bytes
    }

    /// Creates a small file on a file thread, together with others. Its bytes were just appended to
    /// [`OutputFiles::small_bytes`].
    pub(super) fn write_small(&mut self, number: usize, path: Vec<u8>, executable: bool) {
        let Group { files, bytes } = &mut self.group;
        let (begin, end) = (files.last().map_or(0, |before| before.end), bytes.len());
        files.push(SmallFile { number, path, executable, end, digest: None, state: None });
        self.pending += 1;
        self.pending_bytes += (end - begin) as u64;
        let enough = GROUP_FILES.min(1 + self.waiting.len() / GROUPS_PER_FILE);
        if files.len() >= enough || end >= GROUP_BYTES {
            self.write_group();
        }
    }

    fn write_group(&mut self) {
        if self.group.files.is_empty() {
            return;
        }
        let mut group = mem::replace(&mut self.group, self.empty.pop().unwrap_or_default());
        let (files, bytes) = (group.files.len(), group.bytes.len() as u64);
        let (sender, received) = sync_channel(1);
        let shared = Arc::clone(&self.shared);
        self.workers.spawn_file(move || {
            let outcome = shared.write_group(&mut group);
            drop(shared);
            // Sending fails only if the archive has failed.
            let _ = sender.send(outcome.map(|()| group));
        });
        self.waiting.push_back(WaitingGroup { files, bytes, group: received });
    }

    /// Returns the next file in the order of submission: one that is known to be written, or the first if too many are
    /// waiting. With `all`, it waits for each file.
    pub(super) fn next_written(&mut self, all: bool) -> Result<Option<WrittenFile>, UnpackError> {
        if let Some(written) = self.written.pop_front() {
            return Ok(Some(written));
        }
        let too_many = self.pending > MAX_WAITING_FILES || self.pending_bytes > MAX_WAITING_BYTES;
        if !all && !too_many {
            return Ok(None);
        }
        if all {
            self.write_group();
        }
        let Some(WaitingGroup { files, bytes, group }) = self.waiting.pop_front() else { return Ok(None) };
        self.pending -= files;
        self.pending_bytes -= bytes;
        let mut group = group.recv().map_err(|_| UnpackError::Panicked)??;
        let written = |SmallFile { number, digest, state, .. }| WrittenFile { number, digest, state };
        self.written.extend(group.files.drain(..).map(written));
        // The bound counts bytes, not buffers, so a large buffer is not kept.
        if group.bytes.capacity() <= 2 * GROUP_BYTES {
            group.bytes.clear();
            self.empty.push(group);
        }
        Ok(self.written.pop_front())
    }

    /// Creates a large file. Its bytes follow.
    pub(super) fn begin_large(
        &mut self,
        path: &[u8],
        executable: bool,
    ) -> Result<LargeFile<'_>, UnpackError> {
        let file = self.shared.tree.create(path, executable)?;
        let hasher = self.shared.scheme.map(DigestHasher::new);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(LargeFileWriter::start(Arc::clone(&self.shared))?),
        };
        writer.send(Order::Begin(file))?;
        Ok(LargeFile { writer, hasher })
    }
}

impl Drop for OutputFiles {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
    }
}

impl FilesContext {
    fn write_group(&self, group: &mut Group) -> Result<(), UnpackError> {
        let mut begin = 0;
        for SmallFile { path, executable, end, digest, state, .. } in &mut group.files {
            if self.abandoned.load(Ordering::Relaxed) {
                return Err(UnpackError::Cancelled);
            }
            let bytes = &group.bytes[begin..*end];
            let mut file = self.tree.create(path, *executable)?;
            file.write(bytes)?;
            *state = file.close(self.keeps_states)?;
            *digest = self.scheme.map(|scheme| scheme.digest(bytes));
            begin = *end;
        }
        Ok(())
    }
}

/// A large file that is being written. Its bytes are hashed on this thread and written on another, because both take about
/// as long.
pub(super) struct LargeFile<'a> {
    writer: &'a mut LargeFileWriter,
    hasher: Option<DigestHasher>,
}

impl LargeFile<'_> {
    /// Returns a buffer for up to [`PIECE`] bytes.
    pub(super) fn buffer(&mut self) -> Result<Vec<u8>, UnpackError> {
        self.writer.buffer()
    }

    /// Appends bytes to the file.
    pub(super) fn write(&mut self, bytes: Vec<u8>) -> Result<(), UnpackError> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        self.writer.send(Order::Write(bytes))
    }

    /// Waits until everything is written. Returns the file with this number.
    pub(super) fn finish(self, number: usize) -> Result<WrittenFile, UnpackError> {
        self.writer.send(Order::Finish)?;
        let state = self.writer.results.recv().map_err(|_| UnpackError::Panicked)??;
        Ok(WrittenFile { number, digest: self.hasher.map(DigestHasher::finish), state })
    }
}

enum Order {
    Begin(NewFile),
    Write(Vec<u8>),
    Finish,
}

/// The thread that writes large files, one after the other.
struct LargeFileWriter {
    orders: SyncSender<Order>,
    results: Receiver<Result<Option<FileState>, UnpackError>>,
    /// Buffers to be filled again. There are at most [`PIECES`].
    empty: Receiver<Vec<u8>>,
    made: usize,
    /// It ends with the thread.
    _ended: oneshot::Receiver<()>,
}

impl LargeFileWriter {
    fn start(shared: Arc<FilesContext>) -> Result<Self, UnpackError> {
        let (orders, received) = sync_channel(PIECES + 2);
        let (result_sender, results) = sync_channel(1);
        let (returned, empty) = sync_channel(PIECES);
        let ended = thread::spawn("larder-write", move || {
            // The directory is not removed while this thread may write into it.
            let keeps_states = shared.keeps_states;
            while let Ok(order) = received.recv() {
                let Order::Begin(file) = order else { continue };
                let outcome = write_large(file, keeps_states, &received, &returned);
                let failed = outcome.is_err();
                if result_sender.send(outcome).is_err() || failed {
                    break;
                }
            }
            drop(shared);
        })
        .map_err(UnpackError::Thread)?;
        Ok(Self { orders, results, empty, made: 0, _ended: ended })
    }

    fn send(&self, order: Order) -> Result<(), UnpackError> {
        self.orders.send(order).map_err(|_| self.failure())
    }

    fn buffer(&mut self) -> Result<Vec<u8>, UnpackError> {
        if self.made < PIECES {
            self.made += 1;
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(PIECE)?;
            return Ok(buffer);
        }
        self.empty.recv().map_err(|_| self.failure())
    }

    /// Returns the error that ended the thread.
    fn failure(&self) -> UnpackError {
        match self.results.recv() {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => UnpackError::Panicked,
        }
    }
}

/// Writes one file, and returns its buffers.
fn write_large(
    mut file: NewFile,
    keeps_state: bool,
    orders: &Receiver<Order>,
    returned: &SyncSender<Vec<u8>>,
) -> Result<Option<FileState>, UnpackError> {
    loop {
        match orders.recv() {
            Ok(Order::Write(mut bytes)) => {
                file.write(&bytes)?;
                bytes.clear();
                // Sending fails only if the archive has failed.
                let _ = returned.send(bytes);
            }
            Ok(Order::Finish) => return file.close(keeps_state),
            Ok(Order::Begin(_)) | Err(_) => return Err(UnpackError::Cancelled),
        }
    }
}
