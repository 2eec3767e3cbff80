//! Comparing a destination with the remote's objects.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use larder_hashing::{ContentHash, Scheme};

use super::candidates::{Candidate, look_at};
use super::fetch::is_executable;
use super::wanted::Wanted;
use crate::context::StorageContext;
use crate::error::{Error, ErrorKind, Result};
use crate::find::has_object;
use crate::hash::content_hash;
use crate::options::{FindOptions, KnownVersion, PullOptions};
use crate::outcome::{Incomparable, RemoteObject};

/// A destination, compared with an object.
pub(super) struct Compared {
    destination: PathBuf,
    pub(super) object: RemoteObject,
    pub(super) found: Comparison,
}

#[derive(Clone, Copy)]
pub(super) enum Comparison {
    Same,
    Differs,
    /// It is a version that may be replaced, but the remote does not have that version any more.
    OnlyCopy,
    Impossible(Incomparable),
    /// The destination does not exist, and a dry run does not create it.
    Absent,
}

impl Compared {
    /// Returns why several outputs cannot be restored as one.
    pub(super) fn as_error(&self) -> Option<Error> {
        let (destination, url) = (self.destination.clone(), self.object.url.clone());
        match self.found {
            Comparison::Same | Comparison::Absent => None,
            Comparison::Differs | Comparison::OnlyCopy => Some(Error::Differs { destination, url }),
            Comparison::Impossible(reason) => Some(Error::Incomparable { destination, url, reason }),
        }
    }
}

/// What to do with an output.
pub(super) enum Decision {
    /// The destination stays.
    Leave(Compared),
    /// Restore it. What exists may be replaced only with `force`.
    Restore,
    /// Restore it, and replace this version.
    Replace(KnownVersion),
}

/// Compares the destination with the newest candidate.
pub(super) async fn compare(
    context: &StorageContext,
    wanted: &Wanted,
    candidates: &[Candidate],
    options: &PullOptions,
) -> Result<Decision> {
    let Ok(existing) = fs::symlink_metadata(&wanted.destination) else { return Ok(Decision::Restore) };
    let Some(candidate) = candidates.first() else { return Ok(Decision::Restore) };
    if !options.force {
        let object = look_at(context, wanted, candidate).await?;
        let mut compared = compare_with(context, wanted, object).await?;
        if let (Comparison::Differs, Some(known)) =
            (compared.found, known_version(context, wanted, &options.replaces).await?)
        {
            if has_object(context, &wanted.output, known).await? {
                return Ok(Decision::Replace(known.clone()));
            }
            compared.found = Comparison::OnlyCopy;
        }
        return Ok(Decision::Leave(compared));
    }
    // A link is always replaced.
    if existing.is_symlink() {
        return Ok(Decision::Restore);
    }
    match compare_content(context, wanted, candidate.content_hash()).await {
        Ok(Comparison::Same) if has_same_mode(context, wanted, candidate, &existing).await? => {
            let object = look_at(context, wanted, candidate).await?;
            let destination = wanted.destination.clone();
            Ok(Decision::Leave(Compared { destination, object, found: Comparison::Same }))
        }
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        // If the destination cannot be hashed, it differs.
        Ok(_) | Err(_) => Ok(Decision::Restore),
    }
}

/// Returns which of the versions is at the destination.
pub(super) async fn known_version<'v>(
    context: &StorageContext,
    wanted: &Wanted,
    versions: &'v [KnownVersion],
) -> Result<Option<&'v KnownVersion>> {
    if wanted.destination.is_symlink() {
        return Ok(None);
    }
    for version in versions {
        let Some(scheme) = version.content_hash.verifiable_under(context.options.scheme) else { continue };
        if hash_destination(context, wanted, scheme).await?.as_ref() == Some(&version.content_hash) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

pub(super) async fn compare_with(
    context: &StorageContext,
    wanted: &Wanted,
    object: RemoteObject,
) -> Result<Compared> {
    let found = compare_content(context, wanted, &object.content_hash).await?;
    Ok(Compared { destination: wanted.destination.clone(), object, found })
}

async fn compare_content(
    context: &StorageContext,
    wanted: &Wanted,
    expected: &ContentHash,
) -> Result<Comparison> {
    Ok(match expected.verifiable_under(context.options.scheme) {
        Some(scheme) if hash_destination(context, wanted, scheme).await?.as_ref() == Some(expected) => {
            Comparison::Same
        }
        Some(_) => Comparison::Differs,
        None if expected.verifiable_under(Scheme::Weasel).is_some() => {
            Comparison::Impossible(Incomparable::OtherScheme)
        }
        // A custom name says nothing about the content.
        None => Comparison::Impossible(Incomparable::OwnName),
    })
}

async fn hash_destination(
    context: &StorageContext,
    wanted: &Wanted,
    scheme: Scheme,
) -> Result<Option<ContentHash>> {
    if fs::metadata(&wanted.destination).is_err() {
        // A dangling link differs from every object.
        return Ok(None);
    }
    content_hash(context, scheme, &wanted.destination, Some(&wanted.output)).await.map(Some)
}

/// Returns whether a file at the destination has the wanted execute bit, or that of the remote's. The content hash of a file does not cover
/// this bit. That of a directory does, except under weasel's scheme.
async fn has_same_mode(
    context: &StorageContext,
    wanted: &Wanted,
    candidate: &Candidate,
    existing: &fs::Metadata,
) -> Result<bool> {
    if !existing.is_file() {
        return Ok(true);
    }
    let is_now = existing.mode() & 0o100 != 0;
    if let Some(executable) = wanted.executable {
        return Ok(executable == is_now);
    }
    match is_executable(context, wanted, candidate).await {
        Ok(executable) => Ok(executable == Some(is_now)),
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        // Fetching it reports the failure.
        Err(_) => Ok(false),
    }
}

pub(super) async fn would_restore(
    context: &StorageContext,
    wanted: &Wanted,
    candidates: &[Candidate],
) -> Result<Compared> {
    let candidate =
        candidates.first().ok_or_else(|| context.not_found(&wanted.output, &FindOptions::default()))?;
    let object = look_at(context, wanted, candidate).await?;
    Ok(Compared { destination: wanted.destination.clone(), object, found: Comparison::Absent })
}
