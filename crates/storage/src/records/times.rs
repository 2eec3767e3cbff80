//! When the objects of an output were recorded last.

use std::collections::HashMap;

use larder_hashing::{CommandHash, ContentHash};
use larder_records::RunTime;

use super::listing::RecordListing;
use crate::outcome::RemoteObject;

/// The time of the newest record of each object of an output.
#[derive(Debug, Default)]
pub(crate) struct RecordTimes {
    newest: HashMap<(CommandHash, ContentHash), RunTime>,
    /// The time of the oldest record of a listing that was cut off.
    oldest_listed: Option<RunTime>,
}

impl RecordTimes {
    pub(crate) fn of(listing: &RecordListing) -> Self {
        let mut times = Self::default();
        for record in &listing.records {
            let object = (record.command_hash.clone(), record.name.content_hash.clone());
            let newest = times.newest.entry(object).or_insert(record.name.time);
            *newest = record.name.time.max(*newest);
        }
        if listing.is_truncated {
            times.oldest_listed = listing.records.iter().map(|record| record.name.time).min();
        }
        times
    }

    /// Sets the time of each object that a record names. Returns whether the order of the objects is certain: an object that
    /// no listed record names may have a record that the listing lacks.
    pub(crate) fn apply(&self, objects: &mut [RemoteObject]) -> bool {
        let mut is_certain = true;
        for object in objects {
            let named = self.newest.get(&(object.command_hash.clone(), object.content_hash.clone()));
            object.recorded = named.map(|time| time.as_system_time());
            if let (None, Some(oldest)) = (named, self.oldest_listed) {
                is_certain &= RunTime::from(object.last_modified) <= oldest;
            }
        }
        is_certain
    }
}
