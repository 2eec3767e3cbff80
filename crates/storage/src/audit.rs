//! Checking all objects of a remote, and removing damaged ones.

use std::time::SystemTime;

use futures::TryStreamExt as _;
use larder_archive::UnpackError;
use larder_backend::{
    BackendExt as _, DeleteOptions, ErrorKind, Key, ListOptions, Listed, ObjectMeta, Prefix, Version,
    error_chain,
};
use larder_hashing::OutputPath;

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::layout::{Listing, OWN_SEGMENT, OutputKeys, output_name};
use crate::options::PullOptions;
use crate::outcome::RemoteObject;
use crate::pull::{Candidate, ContentDiffers, Wanted, fetch_candidate};
use crate::tasks::run_blocking;

/// Something that a remote holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored {
    /// Its URL: remote, `/`, key.
    pub url: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When it was published, by the remote's clock.
    pub last_modified: SystemTime,
    /// Its kind.
    pub what: StoredKind,
    key: Key,
    version: Option<Version>,
}

/// The kind of something in a remote.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoredKind {
    /// An object of this output, whole or not.
    Object {
        /// The output.
        output: OutputPath,
        /// What its key says.
        object: RemoteObject,
    },
    /// An object without a byte, as a killed weasel leaves it. It counts as absent.
    Empty {
        /// The output.
        output: OutputPath,
        /// Why it is empty, as far as its name tells.
        reason: &'static str,
    },
    /// Not an object of larder's. It is never used.
    Foreign {
        /// Why it is not an object of larder's.
        reason: &'static str,
    },
}

/// The result of reading an object to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Checked {
    /// It is whole.
    Whole {
        /// Whether its content was checked against its name. A custom name cannot be checked.
        verified: bool,
    },
    /// It ends too early.
    Truncated {
        /// Where it ends.
        reason: String,
    },
    /// Its bytes were changed.
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// It is whole, but its content does not have the hash in its name.
    OtherContent {
        /// The hash of its content.
        actual: String,
    },
    /// It is the archive of another output.
    OtherOutput {
        /// Its content, in words.
        reason: String,
    },
    /// It holds an entry that larder does not restore: a link that leads out of it, or in the place of the output.
    Refused {
        /// Its content, in words.
        reason: String,
    },
    /// A later larder wrote it.
    NeedsNewerLarder,
    /// It was removed meanwhile.
    Gone,
}

/// See [`crate::RemoteStorage::list_all`].
pub(crate) async fn list_all(context: &StorageContext) -> Result<Vec<Stored>> {
    context.recover().await?;
    everything(context).await
}

async fn everything(context: &StorageContext) -> Result<Vec<Stored>> {
    let mut all = Vec::new();
    let mut listing = context.backend.list(&Prefix::root(), ListOptions::default());
    while let Some(item) = context.or_cancelled(listing.try_next()).await?? {
        let Listed::Object(meta) = item else { continue };
        if meta.key.segments().next() != Some(OWN_SEGMENT) {
            all.push(stored(context, &meta));
        }
    }
    all.sort_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
    Ok(all)
}

fn stored(context: &StorageContext, meta: &ObjectMeta) -> Stored {
    let remote = context.backend.to_string();
    let url = format!("{remote}/{}", meta.key);
    let name = meta.key.segments().next().unwrap_or_default();
    let output = Prefix::parse(name)
        .ok()
        .and_then(|prefix| output_name(&prefix))
        .and_then(|name| OutputPath::with_literal_key(&name).ok());
    let what = match output {
        None => StoredKind::Foreign { reason: "its name is not that of an output" },
        Some(output) => match OutputKeys::new(remote, context.backend.capabilities(), &output) {
            Err(_) => StoredKind::Foreign { reason: "its name is too long" },
            Ok(keys) => match keys.read(meta) {
                Listing::Object(object) => StoredKind::Object { output, object },
                Listing::Empty { reason, .. } => StoredKind::Empty { output, reason },
                Listing::Foreign { reason, .. } => StoredKind::Foreign { reason },
            },
        },
    };
    Stored {
        url,
        bytes: meta.size,
        last_modified: meta.last_modified,
        what,
        key: meta.key.clone(),
        version: meta.version.clone(),
    }
}

/// See [`crate::RemoteStorage::check`].
pub(crate) async fn check(
    context: &StorageContext,
    output: &OutputPath,
    object: &RemoteObject,
) -> Result<Checked> {
    context.sweep().await?;
    let wanted = Wanted::new(output, output.below(&context.root));
    let candidate = Candidate::Listed(object.clone());
    let source = match fetch_candidate(context, &wanted, &candidate, &PullOptions::default()).await {
        Ok(fetched) => {
            let verified = fetched.verified;
            // Removing the unpacked files may take a while, so it does not run on an async thread.
            run_blocking(move || drop(fetched)).await;
            return Ok(Checked::Whole { verified });
        }
        Err(Error::NotFound { .. }) => return Ok(Checked::Gone),
        Err(Error::NeedsNewerLarder { .. }) => return Ok(Checked::NeedsNewerLarder),
        Err(Error::Damaged { source, .. }) => source,
        Err(error) => return Err(error),
    };
    if let Some(ContentDiffers { actual }) = source.downcast_ref() {
        return Ok(Checked::OtherContent { actual: actual.to_string() });
    }
    let reason = error_chain(&*source);
    Ok(match source.downcast_ref() {
        Some(UnpackError::Refused { .. }) => Checked::Refused { reason },
        Some(UnpackError::OtherOutput { .. }) => Checked::OtherOutput { reason },
        Some(UnpackError::Truncated { .. }) => Checked::Truncated { reason },
        _ => Checked::Damaged { reason },
    })
}

/// See [`crate::RemoteStorage::delete`].
pub(crate) async fn delete(context: &StorageContext, stored: &Stored) -> Result<bool> {
    let found = context.or_cancelled(context.backend.stat_if_exists(&stored.key)).await??;
    // An S3 ETag is the same after an upload of the same bytes. The time tells them apart.
    let is_same = found.is_some_and(|meta| {
        meta.size == stored.bytes
            && meta.last_modified == stored.last_modified
            && meta.version == stored.version
    });
    if !is_same {
        return Ok(false);
    }
    let mut options = DeleteOptions::default();
    options.if_version.clone_from(&stored.version);
    match context.or_cancelled(context.backend.delete(&stored.key, options)).await? {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error.into()),
    }
}
