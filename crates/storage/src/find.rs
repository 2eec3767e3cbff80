//! Finding outputs in a remote.

use std::cmp::Ordering;

use futures::TryStreamExt as _;
use futures::future::try_join;
use larder_backend::{BackendExt as _, ListOptions, Listed, ObjectMeta};
use larder_hashing::{OutputPath, Scheme};

use crate::context::StorageContext;
use crate::error::Result;
use crate::layout::{Listing, OutputKeys};
use crate::options::{FindOptions, KnownVersion};
use crate::outcome::{Found, RemoteObject};
use crate::records::{RecordKeys, RecordListing, RecordRef, RecordTimes, first_page, list_records};
use crate::report::Warning;

/// How many foreign objects of an output are named one by one. The rest are counted.
const MAX_NAMED_FOREIGN: u64 = 10;

/// The objects of an output that match.
pub(crate) struct OutputMatches {
    /// The newest first.
    pub(crate) objects: Vec<RemoteObject>,
    /// The records that name objects of the output, in no order. Some may name objects that are gone.
    pub(crate) records: Vec<RecordRef>,
    /// Whether older records may exist.
    pub(crate) is_truncated: bool,
    /// Whether objects among the records are none that this version reads.
    pub(crate) has_foreign_records: bool,
}

/// How many records of one command are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordExtent {
    /// As many as the order of the objects needs: one page, if the remote lists in order.
    Newest,
    All,
}

/// See [`crate::RemoteStorage::find`].
pub(crate) async fn find(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
) -> Result<Found> {
    let objects = find_all(context, output, options).await?;
    let count = objects.len() as u64;
    let newest = objects.into_iter().next();
    newest.map(|newest| Found { newest, count }).ok_or_else(|| context.not_found(output, options))
}

/// See [`crate::RemoteStorage::find_all`].
pub(crate) async fn find_all(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
) -> Result<Vec<RemoteObject>> {
    context.recover().await?;
    let objects = matches(context, output, options, RecordExtent::Newest).await?.objects;
    if objects.is_empty() { Err(context.not_found(output, options)) } else { Ok(objects) }
}

/// Returns whether the remote has the object of a version. Makes one request.
pub(crate) async fn has_object(
    context: &StorageContext,
    output: &OutputPath,
    version: &KnownVersion,
) -> Result<bool> {
    let key = context.keys_of(output)?.key(&version.command_hash, &version.content_hash)?;
    let found = context.or_cancelled(context.backend.stat_if_exists(&key)).await??;
    // An interrupted weasel leaves empty objects.
    Ok(found.is_some_and(|meta| meta.size > 0))
}

/// Returns all matches. No match is not an error.
pub(crate) async fn matches(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
    extent: RecordExtent,
) -> Result<OutputMatches> {
    let has_both = options.command_hash.is_some() && options.content_hash.is_some();
    // weasel knows no records, and everybody who uses its remote goes by the times of objects.
    let (mut objects, listing) = if has_both || context.options.scheme == Scheme::Weasel {
        (list_matches(context, output, options).await?, RecordListing::default())
    } else {
        list_with_records(context, output, options, extent).await?
    };
    objects.sort_unstable_by(|a, b| by_age(b, a));
    Ok(OutputMatches {
        objects,
        records: listing.records,
        is_truncated: listing.is_truncated,
        has_foreign_records: listing.has_foreign,
    })
}

/// Lists the objects and the run records of an output at the same time.
async fn list_with_records(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
    extent: RecordExtent,
) -> Result<(Vec<RemoteObject>, RecordListing)> {
    let command = options.command_hash.as_ref();
    let prefix = RecordKeys::of(output).prefix(command)?;
    // The names of one command's records sort by time, so the first page has the newest.
    let limit = command.filter(|_| extent == RecordExtent::Newest).and_then(|_| first_page(context));
    let (mut objects, mut listing) =
        try_join(list_matches(context, output, options), list_records(context, &prefix, limit)).await?;
    if !RecordTimes::of(&listing).apply(&mut objects) {
        listing = list_records(context, &prefix, None).await?;
        RecordTimes::of(&listing).apply(&mut objects);
    }
    Ok((objects, listing))
}

/// Looks the objects up that match, in no order.
pub(crate) async fn list_matches(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
) -> Result<Vec<RemoteObject>> {
    let keys = context.keys_of(output)?;
    let (mut objects, mut foreign) = (Vec::new(), Foreign::default());
    if let (Some(command), Some(content)) = (&options.command_hash, &options.content_hash) {
        let key = keys.key(command, content)?;
        if let Some(meta) = context.or_cancelled(context.backend.stat_if_exists(&key)).await?? {
            objects.extend(read_listed(context, &keys, &meta, &mut foreign));
        }
    } else {
        let mut listing =
            context.backend.list(&keys.prefix(options.command_hash.as_ref())?, ListOptions::default());
        while let Some(item) = context.or_cancelled(listing.try_next()).await?? {
            let Listed::Object(meta) = item else { continue };
            let object = read_listed(context, &keys, &meta, &mut foreign);
            objects.extend(object.filter(|object| {
                options.content_hash.as_ref().is_none_or(|wanted| *wanted == object.content_hash)
            }));
        }
    }
    if foreign.unnamed > 0 {
        context.warn(&Warning::MoreForeignObjects { count: foreign.unnamed });
    }
    Ok(objects)
}

/// Reads an item of a listing. Warns about a foreign object, and returns `None`.
fn read_listed(
    context: &StorageContext,
    keys: &OutputKeys,
    meta: &ObjectMeta,
    foreign: &mut Foreign,
) -> Option<RemoteObject> {
    match keys.read(meta) {
        Listing::Object(object) => return Some(object),
        Listing::Empty { .. } | Listing::Foreign { .. } if foreign.named == MAX_NAMED_FOREIGN => {
            foreign.unnamed += 1;
        }
        Listing::Empty { url, reason } | Listing::Foreign { url, reason } => {
            foreign.named += 1;
            context.warn(&Warning::ForeignObject { url, reason });
        }
    }
    None
}

#[derive(Default)]
struct Foreign {
    named: u64,
    unnamed: u64,
}

/// Orders objects from old to new.
pub(crate) fn by_age(a: &RemoteObject, b: &RemoteObject) -> Ordering {
    a.time()
        .cmp(&b.time())
        .then_with(|| a.content_hash.cmp(&b.content_hash))
        .then_with(|| a.command_hash.cmp(&b.command_hash))
}
