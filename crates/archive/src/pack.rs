//! Packing an output into an archive.

mod content;
mod error;
mod header;
mod options;
mod packer;
mod sink;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use larder_hashing::{ContentHash, OutputPath};
use larder_tree::Observer;
use tokio::sync::{mpsc, oneshot};

pub use error::PackError;
pub use options::PackOptions;

use crate::thread::{self, Watch};
use packer::{KeptArchive, Packer, Summary};

use crate::frames::FrameWriter;

/// The number of frames that wait for the receiver, beside those in the compressor.
const FRAMES_AHEAD: usize = 1;

/// The name of the thread that works for a transfer.
const THREAD: &str = "larder-pack";

/// The result of packing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packed {
    /// The content hash of the output in the archive.
    pub content_hash: ContentHash,
    /// The number of files, directories and links, including the output itself.
    pub entries: u64,
    /// The size of all files together, in bytes.
    pub content_bytes: u64,
    /// The size of the archive, in bytes.
    pub archive_bytes: u64,
}

/// Packs the output of the project at `root` on a separate thread. Reads, hashes and compresses it as fast as the stream is
/// read.
///
/// The archive is the same, byte for byte, on every machine and with any number of threads.
///
/// ```
/// use futures::TryStreamExt;
/// use larder_archive::{PackOptions, pack};
/// use larder_hashing::OutputPath;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let root = tempfile::tempdir()?;
/// # let root = root.path();
/// std::fs::write(root.join("metrics.json"), "{}")?;
/// let mut packing = pack(root, &OutputPath::new("metrics.json")?, &PackOptions::default());
/// let mut archive = Vec::new();
/// while let Some(bytes) = packing.try_next().await? {
///     archive.extend_from_slice(&bytes);
/// }
/// let packed = packing.finish().await?;
/// assert_eq!((packed.content_bytes, packed.archive_bytes), (2, archive.len() as u64));
/// # Ok(())
/// # }
/// ```
pub fn pack(root: &Path, output: &OutputPath, options: &PackOptions) -> Packing {
    let (root, output) = (root.to_owned(), output.clone());
    Packing::start(options.clone(), move |options, frames| pack_files(&root, &output, options, frames, None))
}

/// Reads and hashes the output of the project at `root`, so that its content hash is known before packing. A small output
/// is kept in memory and read only once.
///
/// # Errors
///
/// The output is missing, cannot be read, changes meanwhile, or has entries that an archive cannot hold.
pub async fn prepare(root: &Path, output: &OutputPath, options: &PackOptions) -> Result<Prepared, PackError> {
    let (root, output) = (root.to_owned(), output.clone());
    let watch = Watch::new(Arc::clone(&options.observer));
    let watched = options.clone().with_observer(watch.observer());
    let place = (root.clone(), output.clone());
    let work =
        thread::spawn(THREAD, move || Packer::new(&root, &output, &watched).prepare(watched.kept_bytes))
            .map_err(PackError::Thread)?;
    let (summary, kept) = work.await.map_err(|_| PackError::Panicked)??;
    // Until here the guard stops the thread if this future is dropped.
    drop(watch);
    let (root, output) = place;
    Ok(Prepared { root, output, options: options.clone(), summary, kept })
}

/// An output that was read and hashed. It can be packed any number of times.
pub struct Prepared {
    root: PathBuf,
    output: OutputPath,
    options: PackOptions,
    summary: Summary,
    kept: Option<KeptArchive>,
}

impl Prepared {
    /// The content hash of the output.
    pub fn content_hash(&self) -> &ContentHash {
        &self.summary.content_hash
    }

    /// The size of all files together, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.summary.content_bytes
    }

    /// The number of files, directories and links, including the output itself.
    pub fn entries(&self) -> u64 {
        self.summary.entries
    }

    /// Returns the number of regular files.
    pub fn files(&self) -> u64 {
        self.summary.files
    }

    /// Returns whether the output is an executable file, or `None` if it is a directory. The content hash of a file does not
    /// cover this.
    pub fn executable(&self) -> Option<bool> {
        self.summary.executable
    }

    /// Packs the hashed output, from memory or by reading it again. Bytes that are read again are hashed again, and the
    /// metadata of files in memory is compared again. If something has changed, the stream ends with
    /// [`PackError::Changed`].
    pub fn pack(&self) -> Packing {
        self.pack_observed(Arc::clone(&self.options.observer))
    }

    /// Packs like [`Prepared::pack`], and reports the bytes of the files to `observer` once more.
    pub fn pack_observed(&self, observer: Arc<dyn Observer>) -> Packing {
        let options = self.options.clone().with_observer(observer);
        let summary = self.summary.clone();
        if let Some(kept) = &self.kept {
            let kept = kept.clone();
            return Packing::start(options, move |options, frames| pack_kept(kept, summary, options, frames));
        }
        let (root, output, expected) = (self.root.clone(), self.output.clone(), summary.content_hash);
        Packing::start(options, move |options, frames| {
            pack_files(&root, &output, options, frames, Some(&expected))
        })
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("output", &self.output)
            .field("summary", &self.summary)
            .field("in_memory", &self.kept.is_some())
            .finish_non_exhaustive()
    }
}

/// The bytes of an archive, as a stream.
///
/// The end of the stream does not mean that the archive is complete: call [`Packing::finish`]. Dropping it stops its
/// thread.
#[derive(Debug)]
pub struct Packing {
    frames: mpsc::Receiver<Bytes>,
    state: PackingState,
    _watch: Watch,
}

#[derive(Debug)]
enum PackingState {
    Working(oneshot::Receiver<Result<Packed, PackError>>),
    Failed(PackError),
    Complete(Packed),
    Over,
}

impl Packing {
    fn start(
        options: PackOptions,
        work: impl FnOnce(&PackOptions, mpsc::Sender<Bytes>) -> Result<Packed, PackError> + Send + 'static,
    ) -> Self {
        let (sender, frames) = mpsc::channel(FRAMES_AHEAD);
        let watch = Watch::new(Arc::clone(&options.observer));
        let options = options.with_observer(watch.observer());
        let state = match thread::spawn(THREAD, move || work(&options, sender)).map_err(PackError::Thread) {
            Ok(result) => PackingState::Working(result),
            Err(error) => PackingState::Failed(error),
        };
        Self { frames, state, _watch: watch }
    }

    /// Returns the result, after the stream has ended without an error.
    ///
    /// # Errors
    ///
    /// [`PackError::Unfinished`] if it has not. Then the archive is not complete.
    #[expect(
        clippy::unused_async,
        reason = "that nothing has to be awaited any more is not for callers to know"
    )]
    pub async fn finish(self) -> Result<Packed, PackError> {
        match self.state {
            PackingState::Complete(packed) => Ok(packed),
            PackingState::Failed(error) => Err(error),
            PackingState::Working(_) | PackingState::Over => Err(PackError::Unfinished),
        }
    }
}

impl Stream for Packing {
    type Item = Result<Bytes, PackError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(frame) = ready!(this.frames.poll_recv(context)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        // All frames have arrived. Return the result of the thread.
        if let PackingState::Working(result) = &mut this.state {
            this.state = match ready!(Pin::new(result).poll(context)) {
                Ok(Ok(packed)) => PackingState::Complete(packed),
                Ok(Err(error)) => PackingState::Failed(error),
                Err(_) => PackingState::Failed(PackError::Panicked),
            };
        }
        match std::mem::replace(&mut this.state, PackingState::Over) {
            PackingState::Failed(error) => Poll::Ready(Some(Err(error))),
            other => {
                this.state = other;
                Poll::Ready(None)
            }
        }
    }
}

fn pack_files(
    root: &Path,
    output: &OutputPath,
    options: &PackOptions,
    frames: mpsc::Sender<Bytes>,
    expected: Option<&ContentHash>,
) -> Result<Packed, PackError> {
    let mut writer = FrameWriter::new(options.compression, options.workers.clone(), frames);
    // The archive must have the bytes that were read, whatever is remembered of them.
    let options = options.clone().with_stat_cache(None);
    let summary = Packer::new(root, output, &options).pack(&mut writer)?;
    if expected.is_some_and(|expected| *expected != summary.content_hash) {
        return Err(PackError::Changed { path: output.below(root) });
    }
    Ok(summary.packed(writer.finish()?))
}

fn pack_kept(
    mut kept: KeptArchive,
    summary: Summary,
    options: &PackOptions,
    frames: mpsc::Sender<Bytes>,
) -> Result<Packed, PackError> {
    let mut writer = FrameWriter::new(options.compression, options.workers.clone(), frames);
    // The observer counts the bytes of files, without headers.
    let mut unseen = summary.content_bytes;
    for piece in std::mem::take(&mut kept.archive) {
        if options.observer.is_cancelled() {
            return Err(PackError::Cancelled);
        }
        let seen = unseen.min(piece.len() as u64);
        writer.write_piece(piece)?;
        options.observer.bytes(seen);
        unseen -= seen;
    }
    let archive_bytes = writer.finish()?;
    // Check as late as possible, because the receiver may have been slow.
    kept.check(&options.workers)?;
    Ok(summary.packed(archive_bytes))
}

impl Summary {
    fn packed(self, archive_bytes: u64) -> Packed {
        let Self { content_hash, entries, content_bytes, .. } = self;
        Packed { content_hash, entries, content_bytes, archive_bytes }
    }
}
