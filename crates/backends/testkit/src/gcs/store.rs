//! Buckets and their objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::gcs::checksums::Checksums;
use crate::gcs::content::Content;
use crate::gcs::failure::GcsFailure;
use crate::gcs::listing::{ObjectPage, Selection};
use crate::gcs::object::{Description, Metadata, Preconditions, StoredObject, check_name};

/// All buckets under one lock, so that a precondition and its change are one step.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<StoreState>);

#[derive(Debug, Default)]
struct StoreState {
    buckets: BTreeMap<String, Bucket>,
    /// The last generation. Each object has its own.
    last_generation: i64,
}

#[derive(Debug)]
struct Bucket {
    created: Timestamp,
    objects: BTreeMap<String, Arc<StoredObject>>,
}

impl Store {
    fn state(&self) -> MutexGuard<'_, StoreState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a bucket, and returns the time of its creation.
    pub(super) fn create_bucket(&self, name: &str) -> Result<Timestamp, GcsFailure> {
        let mut state = self.state();
        if state.buckets.contains_key(name) {
            let message =
                "Your previous request to create the named bucket succeeded and you already own it.";
            return Err(GcsFailure::new(409, "conflict", message));
        }
        let created = Timestamp::now();
        state.buckets.insert(name.to_owned(), Bucket { created, objects: BTreeMap::new() });
        Ok(created)
    }

    /// Returns the time of a bucket's creation.
    pub(super) fn bucket(&self, name: &str) -> Result<Timestamp, GcsFailure> {
        self.state().bucket(name).map(|bucket| bucket.created)
    }

    /// Inserts or replaces an object, if the preconditions hold.
    pub(super) fn insert(
        &self,
        bucket: &str,
        name: &str,
        metadata: Metadata,
        (content, checksums): (Content, Checksums),
        preconditions: &Preconditions,
    ) -> Result<Arc<StoredObject>, GcsFailure> {
        check_name(name)?;
        let mut state = self.state();
        let live = state.bucket(bucket)?.objects.get(name);
        preconditions.check_change(live.map(Arc::as_ref))?;
        let created = Timestamp::now();
        // Google's generations are microseconds too.
        let generation = created.as_microsecond().max(state.last_generation + 1);
        state.last_generation = generation;
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        let size = content.len();
        let description = Description { bucket, name, generation, created, metadata, size, checksums };
        let object = Arc::new(StoredObject { description: Arc::new(description), content });
        let objects = &mut state.bucket(&object.bucket)?.objects;
        objects.insert(object.name.clone(), Arc::clone(&object));
        Ok(object)
    }

    /// Returns the live object. If a generation is given, it must match.
    pub(super) fn get(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<i64>,
        preconditions: &Preconditions,
    ) -> Result<Arc<StoredObject>, GcsFailure> {
        let mut state = self.state();
        let object = state.object(bucket, name, generation)?;
        preconditions.check(Some(&object))?;
        Ok(object)
    }

    pub(super) fn delete(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<i64>,
        preconditions: &Preconditions,
    ) -> Result<(), GcsFailure> {
        let mut state = self.state();
        let object = state.object(bucket, name, generation)?;
        preconditions.check_change(Some(&object))?;
        state.bucket(bucket)?.objects.remove(name);
        Ok(())
    }

    pub(super) fn list(&self, bucket: &str, selection: &Selection) -> Result<ObjectPage, GcsFailure> {
        selection.page(&self.state().bucket(bucket)?.objects)
    }

    /// Returns the objects of a bucket, sorted by name.
    pub(super) fn objects(&self, bucket: &str) -> Result<Vec<Arc<StoredObject>>, GcsFailure> {
        Ok(self.state().bucket(bucket)?.objects.values().cloned().collect())
    }
}

impl StoreState {
    fn bucket(&mut self, name: &str) -> Result<&mut Bucket, GcsFailure> {
        self.buckets.get_mut(name).ok_or_else(GcsFailure::no_bucket)
    }

    fn object(
        &mut self,
        bucket: &str,
        name: &str,
        generation: Option<i64>,
    ) -> Result<Arc<StoredObject>, GcsFailure> {
        let live = self.bucket(bucket)?.objects.get(name);
        let wanted = live.filter(|object| generation.is_none_or(|wanted| wanted == object.generation));
        wanted.cloned().ok_or_else(|| GcsFailure::no_object(bucket, name))
    }
}
