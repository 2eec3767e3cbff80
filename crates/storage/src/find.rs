//! Finding outputs in a remote.

use std::cmp::Ordering;

use futures::TryStreamExt as _;
use larder_backend::{BackendExt as _, ListOptions, Listed};
use larder_hashing::OutputPath;

use crate::context::StorageContext;
use crate::error::Result;
use crate::layout::{Listing, OutputKeys};
use crate::options::FindOptions;
use crate::outcome::{Found, RemoteObject};
use crate::report::Warning;

/// How many foreign objects of an output are named one by one. The rest are counted.
const MAX_NAMED_FOREIGN: u64 = 10;

/// See [`crate::RemoteStorage::find`].
pub(crate) async fn find(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
) -> Result<Found> {
    context.recover().await?;
    let mut newest: Option<RemoteObject> = None;
    let mut count = 0;
    each_match(context, output, options, |object| {
        count += 1;
        if newest.as_ref().is_none_or(|newest| by_age(&object, newest).is_gt()) {
            newest = Some(object);
        }
    })
    .await?;
    newest.map(|newest| Found { newest, count }).ok_or_else(|| context.not_found(output, options))
}

/// See [`crate::RemoteStorage::find_all`].
pub(crate) async fn find_all(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
) -> Result<Vec<RemoteObject>> {
    context.recover().await?;
    let objects = matches(context, output, options).await?;
    if objects.is_empty() { Err(context.not_found(output, options)) } else { Ok(objects) }
}

/// Returns all matches, newest first. No match is not an error.
pub(crate) async fn matches(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
) -> Result<Vec<RemoteObject>> {
    let mut objects = Vec::new();
    each_match(context, output, options, |object| objects.push(object)).await?;
    objects.sort_unstable_by(|a, b| by_age(b, a));
    Ok(objects)
}

async fn each_match(
    context: &StorageContext,
    output: &OutputPath,
    options: &FindOptions,
    mut take: impl FnMut(RemoteObject),
) -> Result<()> {
    let keys = context.keys_of(output)?;
    let mut foreign = Foreign::default();
    if let (Some(command), Some(content)) = (&options.command_hash, &options.content_hash) {
        let key = keys.key(command, content)?;
        if let Some(meta) = context.or_cancelled(context.backend.stat_if_exists(&key)).await?? {
            take_listed(context, &keys, &meta, &mut foreign, &mut take);
        }
    } else {
        let mut listing =
            context.backend.list(&keys.prefix(options.command_hash.as_ref())?, ListOptions::default());
        while let Some(item) = context.or_cancelled(listing.try_next()).await?? {
            let Listed::Object(meta) = item else { continue };
            take_listed(context, &keys, &meta, &mut foreign, &mut |object| {
                if options.content_hash.as_ref().is_none_or(|wanted| *wanted == object.content_hash) {
                    take(object);
                }
            });
        }
    }
    if foreign.unnamed > 0 {
        context.warn(&Warning::MoreForeignObjects { count: foreign.unnamed });
    }
    Ok(())
}

fn take_listed(
    context: &StorageContext,
    keys: &OutputKeys,
    meta: &larder_backend::ObjectMeta,
    foreign: &mut Foreign,
    take: &mut impl FnMut(RemoteObject),
) {
    match keys.read(meta) {
        Listing::Object(object) => take(object),
        Listing::Empty { .. } | Listing::Foreign { .. } if foreign.named == MAX_NAMED_FOREIGN => {
            foreign.unnamed += 1;
        }
        Listing::Empty { url, reason } | Listing::Foreign { url, reason } => {
            foreign.named += 1;
            context.warn(&Warning::ForeignObject { url, reason });
        }
    }
}

#[derive(Default)]
struct Foreign {
    named: u64,
    unnamed: u64,
}

/// Orders objects from old to new.
pub(crate) fn by_age(a: &RemoteObject, b: &RemoteObject) -> Ordering {
    a.last_modified
        .cmp(&b.last_modified)
        .then_with(|| a.content_hash.cmp(&b.content_hash))
        .then_with(|| a.command_hash.cmp(&b.command_hash))
}
