//! Fetching one output into a staging directory, and verifying it there.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use larder_archive::{UnpackError, UnpackErrorKind, UnpackOptions, Unpacked};
use larder_backend::{ByteStream, GetOptions, GetResult};
use larder_hashing::ContentHash;
use tokio_util::sync::CancellationToken;

use super::candidates::Candidate;
use super::damaged::DamagedCandidates;
use super::wanted::Wanted;
use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::layout::Listing;
use crate::options::{FindOptions, PullOptions};
use crate::outcome::RemoteObject;
use crate::report::{Phase, PhaseReport};
use crate::state::{Planned, Staging};
use crate::tasks::run_blocking;
use crate::turns::turn_to_download;

/// A restored output that waits in its staging directory.
pub(crate) struct Fetched {
    pub(super) object: RemoteObject,
    pub(crate) verified: bool,
    /// The size of what was unpacked, in bytes.
    pub(super) content_bytes: u64,
    pub(super) staging: Arc<Staging>,
}

impl Fetched {
    pub(super) fn plan(&self, wanted: &Wanted, replace: bool) -> Planned {
        Planned {
            staged: wanted.output.below(&self.staging.new_root()),
            destination: wanted.destination.clone(),
            backup: self.staging.backup(),
            replace,
        }
    }
}

/// Fetches the first candidate that is whole. Reports damaged ones.
pub(super) async fn fetch(
    context: &StorageContext,
    wanted: &Wanted,
    candidates: &[Candidate],
    options: &PullOptions,
    damaged: &DamagedCandidates,
) -> Result<Fetched> {
    let mut failure = None;
    for (index, candidate) in candidates.iter().enumerate() {
        match fetch_candidate(context, wanted, candidate, options).await {
            Err(Error::Damaged { url, source }) => {
                if index + 1 < candidates.len() {
                    damaged.report(context, &url, &*source);
                }
                // If none is whole, the error names the newest one, because the caller asked for that.
                failure.get_or_insert(Error::Damaged { url, source });
            }
            // It was deleted since it was listed.
            Err(error @ Error::NotFound { .. }) => {
                failure.get_or_insert(error);
            }
            outcome => return outcome,
        }
    }
    Err(failure.unwrap_or_else(|| context.not_found(&wanted.output, &FindOptions::default())))
}

/// Fetches an object into a staging directory of its own.
pub(crate) async fn fetch_candidate(
    context: &StorageContext,
    wanted: &Wanted,
    candidate: &Candidate,
    options: &PullOptions,
) -> Result<Fetched> {
    let keys = context.keys_of(&wanted.output)?;
    let key = candidate.key(&keys)?;
    let missing = || Error::NotFound {
        remote: context.backend.to_string(),
        outputs: vec![wanted.output.clone()],
        narrowed: options.command_hash.is_some() || options.content_hash.is_some(),
    };
    let _turn = context.or_cancelled(turn_to_download(candidate.size())).await?;
    let got = match context.or_cancelled(context.backend.get(&key, GetOptions::default())).await? {
        Err(error) if error.is_not_found() => return Err(missing()),
        got => got?,
    };
    let Listing::Object(object) = keys.read(&got.meta) else { return Err(missing()) };
    let staging = stage(context, wanted).await?;
    let (verified, content_bytes) = unpack(context, wanted, &object, got, &staging, options).await?;
    if let Some(executable) = wanted.executable {
        let staged = wanted.output.below(&staging.new_root());
        set_executable(&staged, executable).map_err(Error::io("set the mode of", &staged))?;
    }
    Ok(Fetched { object, verified, content_bytes, staging })
}

/// Reads from the beginning of an object whether its output is an executable file. Returns `None` if it is not a file.
pub(super) async fn is_executable(
    context: &StorageContext,
    wanted: &Wanted,
    candidate: &Candidate,
) -> Result<Option<bool>> {
    let key = candidate.key(&context.keys_of(&wanted.output)?)?;
    let _turn = context.or_cancelled(turn_to_download(candidate.size())).await?;
    let got = context.or_cancelled(context.backend.get(&key, GetOptions::default())).await??;
    let options = UnpackOptions::default()
        .with_limits(context.options.limits)
        .with_workers(context.options.workers.clone());
    let executable = larder_archive::is_executable(got.stream, &wanted.output, &options);
    context.or_cancelled(executable).await?.map_err(Error::Unpack)
}

/// Makes a file executable for everybody who may read it, or for nobody. Leaves a directory as it is.
fn set_executable(path: &Path, executable: bool) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Ok(());
    }
    let mode = found.permissions().mode();
    let wanted = if executable { mode | ((mode & 0o444) >> 2) } else { mode & !0o111 };
    if wanted == mode { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(wanted)) }
}

async fn stage(context: &StorageContext, wanted: &Wanted) -> Result<Arc<Staging>> {
    let (state, destination) = (Arc::clone(&context.state), wanted.destination.clone());
    Ok(Arc::new(run_blocking(move || state.staging_for(&destination)).await?))
}

/// Unpacks the object into the staging. Returns whether the content was verified, and its size in bytes.
async fn unpack(
    context: &StorageContext,
    wanted: &Wanted,
    object: &RemoteObject,
    got: GetResult,
    staging: &Arc<Staging>,
    options: &PullOptions,
) -> Result<(bool, u64)> {
    let scheme = object.content_hash.verifiable_under(context.options.scheme).filter(|_| options.verify);
    let report = PhaseReport::start(
        &context.options.reporter,
        &context.options.cancel,
        &wanted.output,
        Phase::Download,
        Some(object.bytes),
    );
    // The worker threads hold the staging, so that it is not removed under them.
    let mut unpack_options = UnpackOptions::default()
        .with_scheme(scheme)
        .with_limits(context.options.limits)
        .with_workers(context.options.workers.clone())
        .with_observer(report)
        .with_keep_alive(Arc::clone(staging) as _);
    if let (Some(cache), Some(_)) = (&context.options.stat_cache, scheme) {
        unpack_options = unpack_options.with_remember(cache.clone(), wanted.destination.clone());
    }
    let stream = until_cancelled(got.stream, context.options.cancel.clone());
    let root = staging.new_root();
    let unpacked = larder_archive::unpack(stream, &root, &wanted.output, &unpack_options).await;
    context.check_cancelled()?;
    match unpacked {
        Ok(Unpacked { content_hash: Some(actual), .. }) if actual != object.content_hash => {
            Err(damaged(object, ContentDiffers { actual }))
        }
        Ok(unpacked) => Ok((scheme.is_some(), unpacked.content_bytes)),
        Err(error) => Err(from_unpack(object, error)),
    }
}

/// The content of an object is not what its name says.
#[derive(Debug, thiserror::Error)]
#[error("its content has the hash {actual}")]
pub(crate) struct ContentDiffers {
    pub(crate) actual: ContentHash,
}

fn damaged(object: &RemoteObject, source: impl StdError + Send + Sync + 'static) -> Error {
    Error::Damaged { url: object.url.clone(), source: Box::new(source) }
}

fn from_unpack(object: &RemoteObject, error: UnpackError) -> Error {
    match error.kind() {
        UnpackErrorKind::Integrity => damaged(object, error),
        UnpackErrorKind::Unsupported => Error::NeedsNewerLarder { url: object.url.clone() },
        UnpackErrorKind::Cancelled => Error::Cancelled,
        UnpackErrorKind::Source => match error.into_source::<larder_backend::Error>() {
            Ok(error) => Error::Backend(error),
            Err(error) => Error::Unpack(error),
        },
        _ => Error::Unpack(error),
    }
}

/// Ends the stream with an error as soon as the caller asks to stop, also while the remote is silent.
fn until_cancelled(
    stream: ByteStream,
    cancel: CancellationToken,
) -> impl Stream<Item = larder_backend::Result<bytes::Bytes>> + Send {
    use larder_backend::{Error, ErrorKind, Operation};
    stream::unfold(Some((stream, cancel)), |state| async move {
        let (mut stream, cancel) = state?;
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => Some(Err(Error::new(ErrorKind::Cancelled, Operation::Get, "the object"))),
            next = stream.next() => next,
        };
        match next? {
            Ok(chunk) => Some((Ok(chunk), Some((stream, cancel)))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}
