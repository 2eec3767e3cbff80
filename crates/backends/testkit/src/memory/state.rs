//! The state of a remote in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use larder_backend::{Key, Listed, ObjectMeta, Prefix, Version};

use crate::clock::ManualClock;
use crate::memory::Request;

#[derive(Debug, Default)]
pub(super) struct SharedMemory(Mutex<MemoryState>);

impl SharedMemory {
    pub(super) fn state(&self) -> MutexGuard<'_, MemoryState> {
        // Every change of the state is complete, so that the state is valid after a test has panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct MemoryState {
    pub(super) objects: BTreeMap<Key, MemoryObject>,
    /// The keys of open uploads.
    pub(super) uploads: BTreeMap<u64, Key>,
    pub(super) requests: Vec<Request>,
    pub(super) clock: Option<ManualClock>,
    /// The last number assigned to an upload or a version.
    last_number: u64,
}

#[derive(Debug)]
pub(super) struct MemoryObject {
    pub(super) bytes: Bytes,
    pub(super) last_modified: SystemTime,
    generation: u64,
}

impl MemoryObject {
    pub(super) fn describe(&self, key: &Key) -> ObjectMeta {
        ObjectMeta::new(key.clone(), self.bytes.len() as u64, self.last_modified)
            .with_version(Version::new(self.generation.to_string()))
    }
}

impl MemoryState {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn begin(&mut self, key: &Key) -> u64 {
        let id = self.next_number();
        self.uploads.insert(id, key.clone());
        id
    }

    pub(super) fn publish(&mut self, key: &Key, bytes: Bytes) -> ObjectMeta {
        let last_modified = self.clock.as_ref().map_or_else(SystemTime::now, ManualClock::now);
        let object = MemoryObject { bytes, last_modified, generation: self.next_number() };
        let meta = object.describe(key);
        self.objects.insert(key.clone(), object);
        meta
    }

    /// Returns a page of a listing, with the items after the text `after`. Also returns the text after which the next page
    /// starts, if there is one.
    pub(super) fn list(
        &self,
        prefix: &Prefix,
        delimiter: bool,
        after: &str,
        page_size: usize,
    ) -> (Vec<Listed>, Option<String>) {
        let mut page = Vec::new();
        let mut prefixes = BTreeSet::new();
        let mut last = after.to_owned();
        for (key, object) in &self.objects {
            let Some(below) = key.below(prefix) else { continue };
            // Skip items of an earlier page, and keys below one of its prefixes.
            if key.as_str() <= after || after.ends_with('/') && key.as_str().starts_with(after) {
                continue;
            }
            let common =
                below.split_once('/').filter(|_| delimiter).map(|(name, _)| format!("{prefix}{name}/"));
            if common.as_ref().is_some_and(|common| prefixes.contains(common)) {
                continue;
            }
            if page.len() == page_size {
                return (page, Some(last));
            }
            if let Some(common) = common {
                if let Ok(prefix) = Prefix::parse(common.as_str()) {
                    page.push(Listed::Prefix(prefix));
                }
                last.clone_from(&common);
                prefixes.insert(common);
            } else {
                page.push(Listed::Object(object.describe(key)));
                key.as_str().clone_into(&mut last);
            }
        }
        (page, None)
    }
}
