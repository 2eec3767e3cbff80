//! Unpacking an archive that is not trusted.

mod error;
mod files;
mod first_entry;
mod guard;
mod names;
mod options;
mod records;
mod tree;
mod unpacker;
mod weasel;

use std::error::Error as StdError;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::{Stream, StreamExt as _};
use larder_hashing::{ContentHash, OutputPath};
use tokio::sync::{mpsc, oneshot};

pub(crate) use error::BoxError;
pub use error::{UnpackError, UnpackErrorKind};
pub use options::UnpackOptions;

use crate::frames::{FrameReader, ReadError};
use crate::thread::{self, Watch};
use guard::PieceSource;
use unpacker::Unpacker;

/// The name of the thread that works for a transfer.
const THREAD: &str = "larder-unpack";

/// Chunks of the archive that wait to be decompressed.
const CHUNKS_AHEAD: usize = 2;

/// How many bytes are collected before the decompressing thread is woken. Network streams arrive in pieces of a few
/// kilobytes.
const CHUNK: usize = 256 << 10;

/// The result of unpacking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpacked {
    /// The content hash of the unpacked output, if a scheme was given.
    pub content_hash: Option<ContentHash>,
    /// Whether the output is a directory.
    pub is_dir: bool,
    /// The number of entries in the archive.
    pub entries: u64,
    /// The size of all files together, in bytes.
    pub content_bytes: u64,
    /// The size of the archive, in bytes.
    pub archive_bytes: u64,
}

/// Unpacks an archive of `output` to `dest_dir/<output>`, which must not exist. Detects the compression.
///
/// Accepts only regular files, directories, links that stay inside the output, and hard links to earlier files. Each must
/// be below the output and occur once, and the archive must be complete to its last byte. Creates nothing through a link.
/// Modes follow the umask. Times, owners, and special bits are not restored.
///
/// # Errors
///
/// [`UnpackError`]. Its [`kind`](UnpackError::kind) distinguishes damage, a failing stream and a failing disk. The files
/// created so far stay in `dest_dir`, so use a directory of its own and remove it after an error.
///
/// ```
/// use futures::{StreamExt, stream};
/// use larder_archive::{PackOptions, UnpackOptions, pack, unpack};
/// use larder_hashing::{OutputPath, Scheme};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (project, restored) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// let output = OutputPath::new("metrics.json")?;
/// std::fs::write(project.path().join("metrics.json"), "{}")?;
/// let archive = pack(project.path(), &output, &PackOptions::default());
///
/// let options = UnpackOptions::default().with_scheme(Some(Scheme::Blake3));
/// let unpacked = unpack(archive, restored.path(), &output, &options).await?;
/// assert_eq!(std::fs::read_to_string(restored.path().join("metrics.json"))?, "{}");
/// assert!(unpacked.content_hash.unwrap().as_str().starts_with("blake3-"));
/// # Ok(())
/// # }
/// ```
pub async fn unpack<S, E>(
    stream: S,
    dest_dir: &Path,
    output: &OutputPath,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: StdError + Send + Sync + 'static,
{
    let (dest_dir, output) = (dest_dir.to_owned(), output.clone());
    let (contents, archive_bytes) = read(stream, options, move |frames, options| {
        Unpacker::new(&dest_dir, &output, options, frames).unpack()
    })
    .await?;
    Ok(Unpacked {
        content_hash: contents.content_hash,
        is_dir: contents.is_dir,
        entries: contents.entries,
        content_bytes: contents.content_bytes,
        archive_bytes,
    })
}

/// Reads whether an output that is a file is executable. Reads only the beginning of the archive, and verifies nothing.
/// Returns `None` if the archive begins with another entry.
///
/// # Errors
///
/// The same as for [`unpack`], for the beginning of the archive.
pub async fn is_executable<S, E>(
    stream: S,
    output: &OutputPath,
    options: &UnpackOptions,
) -> Result<Option<bool>, UnpackError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: StdError + Send + Sync + 'static,
{
    let output = output.clone();
    let (executable, _) =
        read(stream, options, move |frames, options| first_entry::is_executable(&output, options, frames))
            .await?;
    Ok(executable)
}

/// Feeds the stream to a thread that reads the archive. Returns the thread's result, and the number of bytes that were
/// taken from the stream.
async fn read<S, E, T>(
    stream: S,
    options: &UnpackOptions,
    job: impl FnOnce(FrameReader, &UnpackOptions) -> Result<T, UnpackError> + Send + 'static,
) -> Result<(T, u64), UnpackError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: StdError + Send + Sync + 'static,
    T: Send + 'static,
{
    // Stops the threads if this future is dropped.
    let watch = Watch::new(Arc::clone(&options.observer));
    let (chunks, received) = mpsc::channel(CHUNKS_AHEAD);
    let watched = options.clone().with_observer(watch.observer());
    let work = move || job(FrameReader::new(received, &watched.workers, &watched.limits), &watched);
    let mut work = thread::spawn(THREAD, work).map_err(UnpackError::Thread)?;
    let mut stream = pin!(stream);
    let mut collected = Collected::default();
    let mut archive_bytes = 0;
    let failure = loop {
        // A thread that has failed must not wait for a silent remote.
        let next = match select(stream.next(), &mut work).await {
            Either::Left((next, _)) => next,
            Either::Right((outcome, _)) => return Ok((finished(outcome)?, archive_bytes)),
        };
        match next {
            Some(Ok(chunk)) => {
                archive_bytes += chunk.len() as u64;
                options.observer.bytes(chunk.len() as u64);
                if let Some(ready) = collected.add(&chunk)
                    && chunks.send(Ok(ready)).await.is_err()
                {
                    break None;
                }
            }
            Some(Err(error)) => break Some(Box::new(error) as BoxError),
            None => break None,
        }
    };
    // Sending fails if the thread has ended. Its result says why.
    let _ = chunks.send(Ok(collected.take())).await;
    if let Some(error) = failure {
        let _ = chunks.send(Err(error)).await;
    }
    drop(chunks);
    Ok((finished(work.await)?, archive_bytes))
}

/// Joins small chunks.
#[derive(Default)]
struct Collected(BytesMut);

impl Collected {
    /// Adds a chunk. Returns the joined chunks once they are large enough.
    fn add(&mut self, chunk: &Bytes) -> Option<Bytes> {
        if self.0.is_empty() && chunk.len() >= CHUNK {
            return Some(chunk.clone());
        }
        self.0.extend_from_slice(chunk);
        (self.0.len() >= CHUNK).then(|| self.take())
    }

    fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}

fn finished<T>(outcome: Result<Result<T, UnpackError>, oneshot::error::RecvError>) -> Result<T, UnpackError> {
    outcome.map_err(|_| UnpackError::Panicked)?
}

impl PieceSource for FrameReader {
    fn next(&mut self) -> Result<Option<Bytes>, UnpackError> {
        FrameReader::next(self).map_err(|error| match error {
            ReadError::Source(source) => UnpackError::Source(source),
            ReadError::Damaged { what, source } => UnpackError::Damaged { what, source },
            ReadError::Truncated { place } => UnpackError::Truncated { place },
            ReadError::NewerLarder => UnpackError::NewerLarder,
            ReadError::Memory(source) => UnpackError::Memory(source),
            ReadError::Thread(source) => UnpackError::Thread(source),
            ReadError::Panicked => UnpackError::Panicked,
        })
    }
}
