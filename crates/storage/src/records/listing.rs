//! Listing records.

use std::fmt;
use std::time::SystemTime;

use futures::TryStreamExt as _;
use larder_backend::{ListOptions, Listed, Prefix};

use super::keys::RecordRef;
use crate::context::StorageContext;
use crate::error::Result;
use crate::report::Warning;

/// How many records one page has: what S3 and Google Cloud Storage list with one request.
const PAGE: usize = 1_000;

/// The records below a prefix.
#[derive(Debug, Default)]
pub(crate) struct RecordListing {
    pub(crate) records: Vec<RecordRef>,
    /// Whether older records may exist that were not listed.
    pub(crate) is_truncated: bool,
    /// Whether some of the objects are not records that this version reads.
    pub(crate) has_foreign: bool,
}

/// The limit of a listing below one command hash that has the newest records. `None` if the remote lists in no order, so
/// that only a whole listing has them.
pub(crate) fn first_page(context: &StorageContext) -> Option<usize> {
    context.backend.capabilities().ordered_list.then_some(PAGE)
}

/// Lists the records below a prefix, at most `limit` of them. Warns about foreign objects once.
pub(crate) async fn list_records(
    context: &StorageContext,
    prefix: &Prefix,
    limit: Option<usize>,
) -> Result<RecordListing> {
    let mut records = Vec::new();
    let listed = each_record(context, prefix, limit, |record| records.push(record)).await?;
    Ok(RecordListing { is_truncated: limit == Some(listed), has_foreign: records.len() < listed, records })
}

/// Lists the records below a prefix one by one. Returns the number of objects in the listing.
pub(super) async fn each_record(
    context: &StorageContext,
    prefix: &Prefix,
    limit: Option<usize>,
    mut take: impl FnMut(RecordRef),
) -> Result<usize> {
    let now = SystemTime::now();
    let mut options = ListOptions::default();
    options.limit = limit;
    let mut listing = context.backend.list(prefix, options);
    let mut listed = 0;
    while let Some(item) = context.or_cancelled(listing.try_next()).await?? {
        let Listed::Object(meta) = item else { continue };
        listed += 1;
        match RecordRef::read(&meta, now) {
            Ok(record) => take(record),
            Err(reason) => warn_foreign(context, &meta.key, &reason),
        }
    }
    Ok(listed)
}

/// Warns about an object that is not a record, once per storage.
pub(super) fn warn_foreign(context: &StorageContext, key: &larder_backend::Key, reason: &dyn fmt::Display) {
    let url = format!("{}/{key}", context.backend);
    context.warn_once(&Warning::ForeignRecord { url, reason: reason.to_string() });
}
