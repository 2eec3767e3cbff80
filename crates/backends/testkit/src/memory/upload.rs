//! Uploads to a remote in memory.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use larder_backend::{
    Backend, Error, ErrorKind, Key, ObjectMeta, Operation, PutMode, PutOptions, Result, Upload,
    UploadJournal, UploadToken,
};

use crate::memory::MemoryBackend;

pub(super) struct MemoryUpload {
    backend: MemoryBackend,
    id: u64,
    key: Key,
    mode: PutMode,
    journal: Option<Arc<dyn UploadJournal>>,
    bytes: BytesMut,
}

impl MemoryUpload {
    pub(super) fn new(backend: MemoryBackend, id: u64, key: Key, options: PutOptions) -> Self {
        let PutOptions { mode, journal, .. } = options;
        Self { backend, id, key, mode, journal, bytes: BytesMut::new() }
    }

    fn token(&self) -> UploadToken {
        UploadToken::new(self.id.to_string())
    }

    /// Adds the upload to the journal.
    pub(super) fn note(&self) -> Result<()> {
        let Some(journal) = &self.journal else { return Ok(()) };
        journal.opened(&self.token()).map_err(|error| {
            Error::new(ErrorKind::Other, Operation::Put, self.backend.location(&self.key)).with_source(error)
        })
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<ObjectMeta> {
        self.backend.log(Operation::Commit, &self.key, None);
        let bytes = self.bytes.split().freeze();
        let mut state = self.backend.state();
        let exclusive = self.mode == PutMode::CreateOnly && self.backend.capabilities().atomic_create;
        if exclusive && state.objects.contains_key(&self.key) {
            drop(state);
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                Operation::Commit,
                self.backend.location(&self.key),
            ));
        }
        Ok(state.publish(&self.key, bytes))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.backend.log(Operation::Abort, &self.key, None);
        Ok(())
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        self.backend.state().uploads.remove(&self.id);
        if let Some(journal) = &self.journal {
            journal.closed(&self.token());
        }
    }
}

impl fmt::Debug for MemoryUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUpload").field("id", &self.id).field("key", &self.key).finish_non_exhaustive()
    }
}
