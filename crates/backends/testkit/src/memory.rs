//! A remote in memory.

mod state;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use larder_backend::{
    Backend, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, GetResult, Key, ListOptions, Listed,
    ObjectMeta, ObjectStream, Operation, Prefix, PutOptions, Result, Upload, UploadToken, Version,
};

use crate::clock::ManualClock;
use crate::memory::state::{MemoryState, SharedMemory};
use crate::memory::upload::MemoryUpload;

/// The length of the chunks of a get, in bytes. It is short, so that tests see more than one chunk.
const CHUNK: usize = 64 * 1024;

/// A remote in memory that keeps every promise of [`Backend`]. Clones share the remote.
///
/// It logs its requests, and lets a test read and change objects without a request.
///
/// ```
/// use larder_backend::{Backend, BackendExt, Key, Operation};
/// use larder_testkit::MemoryBackend;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let remote = MemoryBackend::new();
/// let key = Key::parse("model/c/h")?;
/// remote.insert(&key, "bytes");
/// assert_eq!(remote.stat(&key).await?.size, 5);
/// assert_eq!(remote.requests().len(), 1);
/// assert_eq!(remote.requests()[0].operation, Operation::Stat);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryBackend {
    shared: Arc<SharedMemory>,
    capabilities: Capabilities,
    page_size: usize,
}

/// A request to a [`MemoryBackend`]. Each page of a listing is one request. Writing the bytes of an upload is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The operation.
    pub operation: Operation,
    /// The key, the prefix of a listing, or the token of a swept upload.
    pub target: String,
    /// The range of a get.
    pub range: Option<Range<u64>>,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// Creates an empty remote that uses the machine's clock. Its listings have pages of 1,000 items.
    pub fn new() -> Self {
        Self {
            shared: Arc::default(),
            capabilities: Capabilities::new(true, true, Key::MAX_LEN)
                .with_conditional_delete(true)
                .with_ordered_list(true),
            page_size: 1000,
        }
    }

    /// Uses `clock` instead of the machine's clock.
    #[must_use]
    pub fn with_clock(self, clock: ManualClock) -> Self {
        self.state().clock = Some(clock);
        self
    }

    /// Sets the capabilities of the remote. Without `atomic_create`, a commit overwrites an object that appeared during
    /// the upload.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Sets the number of items per page of a listing.
    #[must_use]
    pub fn with_page_size(mut self, items: usize) -> Self {
        self.page_size = items.max(1);
        self
    }

    fn state(&self) -> std::sync::MutexGuard<'_, MemoryState> {
        self.shared.state()
    }

    fn log(&self, operation: Operation, target: impl fmt::Display, range: Option<Range<u64>>) {
        self.state().requests.push(Request { operation, target: target.to_string(), range });
    }

    /// Returns the requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Returns the operations of the requests so far, in order, and clears the log.
    pub fn take_operations(&self) -> Vec<Operation> {
        self.state().requests.drain(..).map(|request| request.operation).collect()
    }

    /// Inserts or replaces an object, published now, without a request.
    pub fn insert(&self, key: &Key, bytes: impl Into<Bytes>) {
        self.state().publish(key, bytes.into());
    }

    /// Removes an object without a request.
    pub fn remove(&self, key: &Key) -> Option<Bytes> {
        self.state().objects.remove(key).map(|object| object.bytes)
    }

    /// Returns the bytes of an object, without a request.
    pub fn bytes(&self, key: &Key) -> Option<Bytes> {
        self.state().objects.get(key).map(|object| object.bytes.clone())
    }

    /// Returns the keys of all objects, in order, without a request.
    pub fn keys(&self) -> Vec<Key> {
        self.state().objects.keys().cloned().collect()
    }

    /// Sets the time at which an object was published.
    pub fn set_last_modified(&self, key: &Key, time: SystemTime) {
        if let Some(object) = self.state().objects.get_mut(key) {
            object.last_modified = time;
        }
    }

    /// Returns the uploads that were begun and neither committed nor aborted.
    pub fn open_uploads(&self) -> Vec<UploadToken> {
        self.state().uploads.keys().map(|id| UploadToken::new(id.to_string())).collect()
    }

    /// Leaves an upload open, as a killed process does.
    pub fn leak_upload(&self, key: &Key) -> UploadToken {
        UploadToken::new(self.state().begin(key).to_string())
    }

    fn location(&self, key: &Key) -> String {
        format!("{self}/{key}")
    }

    fn find(&self, key: &Key, operation: Operation) -> Result<(ObjectMeta, Bytes)> {
        let state = self.state();
        let object = state
            .objects
            .get(key)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, operation, self.location(key)))?;
        Ok((object.describe(key), object.bytes.clone()))
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").field("objects", &self.state().objects.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory:")
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.log(Operation::Stat, key, None);
        self.find(key, Operation::Stat).map(|(meta, _)| meta)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.log(Operation::Get, key, options.range.clone());
        let (meta, bytes) = self.find(key, Operation::Get)?;
        if options.if_version.is_some() && options.if_version != meta.version {
            return Err(Error::new(ErrorKind::Conflict, Operation::Get, self.location(key)));
        }
        let bound = |end: u64| usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
        let range = options.range.map_or(0..bytes.len(), |range| bound(range.start)..bound(range.end));
        let mut rest = if range.start < range.end { bytes.slice(range) } else { Bytes::new() };
        let chunks =
            std::iter::from_fn(move || (!rest.is_empty()).then(|| Ok(rest.split_to(CHUNK.min(rest.len())))));
        Ok(GetResult::new(meta, stream::iter(chunks).boxed()))
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.log(Operation::Put, key, None);
        if key.segments().any(|segment| segment.len() > self.capabilities.max_name_len) {
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Put, self.location(key)));
        }
        let id = self.state().begin(key);
        let upload = MemoryUpload::new(self.clone(), id, key.clone(), options);
        upload.note()?;
        Ok(Box::new(upload))
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        let (backend, prefix, delimiter) = (self.clone(), prefix.clone(), options.delimiter);
        let pages = stream::unfold(Some(String::new()), move |after| {
            let (backend, prefix) = (backend.clone(), prefix.clone());
            async move {
                let after = after?;
                backend.log(Operation::List, &prefix, None);
                let (page, next) = backend.state().list(&prefix, delimiter, &after, backend.page_size);
                Some((page, next))
            }
        });
        options.limited(pages.flat_map(stream::iter).map(Ok::<Listed, Error>).boxed())
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.log(Operation::Delete, key, None);
        let mut state = self.state();
        let is_another = |version: &Version| {
            state
                .objects
                .get(key)
                .is_some_and(|object| object.describe(key).version.as_ref() != Some(version))
        };
        if options.if_version.as_ref().is_some_and(is_another) {
            return Err(Error::new(ErrorKind::Conflict, Operation::Delete, self.location(key)));
        }
        state.objects.remove(key);
        Ok(())
    }

    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()> {
        for orphan in orphans {
            self.log(Operation::Sweep, orphan.as_str(), None);
            if let Ok(id) = orphan.as_str().parse() {
                self.state().uploads.remove(&id);
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
