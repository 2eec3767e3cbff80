//! Resumable uploads: <https://cloud.google.com/storage/docs/resumable-uploads>.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::gcs::checksums::Expected;
use crate::gcs::content::ContentWriter;
use crate::gcs::failure::GcsFailure;
use crate::gcs::object::{Description, Metadata, Preconditions, StoredObject};
use crate::gcs::store::Store;

/// The unit of resumable uploads. Chunks are multiples of it. The server stores whole multiples of an interrupted chunk.
pub(super) const QUANTUM: usize = 256 << 10;

/// The target of an upload, as its first request named it.
#[derive(Clone, Debug)]
pub(super) struct Purpose {
    pub(super) bucket: String,
    pub(super) object: String,
    pub(super) metadata: Metadata,
    pub(super) expected: Expected,
    pub(super) preconditions: Preconditions,
    /// The total length, if the client announced it.
    pub(super) total: Option<u64>,
}

impl Purpose {
    /// Creates the object from its complete content. Compares the checksums and checks the preconditions.
    pub(super) fn finish(
        &self,
        store: &Store,
        writer: ContentWriter,
        expected: Expected,
    ) -> Result<Arc<StoredObject>, GcsFailure> {
        let expected = expected.or(self.expected);
        let (content, checksums) = writer.finish(expected.md5.is_some())?;
        expected.check(&checksums)?;
        let metadata = self.metadata.clone();
        store.insert(&self.bucket, &self.object, metadata, (content, checksums), &self.preconditions)
    }
}

#[derive(Debug)]
pub(super) struct UploadSession {
    id: String,
    pub(super) purpose: Purpose,
    state: Mutex<SessionState>,
}

#[derive(Debug)]
struct SessionState {
    /// Counts the requests. The latest one owns the session. An earlier one that still sends has lost it.
    turn: u64,
    phase: SessionPhase,
}

#[derive(Debug)]
enum SessionPhase {
    Open(ContentWriter),
    /// The object was created. The bytes may have been deleted since.
    Done(Arc<Description>),
    Refused(GcsFailure),
    Cancelled,
}

/// The progress of an upload.
#[derive(Clone, Debug)]
pub(super) enum UploadProgress {
    /// The number of stored bytes.
    Open(u64),
    Done(Arc<Description>),
}

/// Another request has taken the session over.
#[derive(Debug)]
pub(super) struct Lost;

impl UploadSession {
    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Takes over the session, and returns its progress.
    pub(super) fn take(&self) -> (u64, Result<UploadProgress, GcsFailure>) {
        let mut state = self.state();
        state.turn += 1;
        let progress = match &state.phase {
            SessionPhase::Open(writer) => Ok(UploadProgress::Open(writer.len())),
            SessionPhase::Done(object) => Ok(UploadProgress::Done(Arc::clone(object))),
            SessionPhase::Refused(failure) => Err(failure.clone()),
            SessionPhase::Cancelled => Err(cancelled()),
        };
        (state.turn, progress)
    }

    /// Stores all of the pieces, or none if the session was lost.
    pub(super) fn append(&self, turn: u64, pieces: &[Bytes]) -> Result<Result<(), GcsFailure>, Lost> {
        let mut state = self.state();
        if state.turn != turn {
            return Err(Lost);
        }
        match &mut state.phase {
            SessionPhase::Open(writer) => {
                Ok(pieces.iter().try_for_each(|piece| writer.append(piece)).map_err(GcsFailure::from))
            }
            _ => Err(Lost),
        }
    }

    /// Creates the object. The session ends, whether that succeeds or fails.
    pub(super) fn finish(
        &self,
        turn: u64,
        store: &Store,
        expected: Expected,
    ) -> Result<Result<Arc<StoredObject>, GcsFailure>, Lost> {
        let mut state = self.state();
        if state.turn != turn {
            return Err(Lost);
        }
        match std::mem::replace(&mut state.phase, SessionPhase::Cancelled) {
            SessionPhase::Open(writer) => {
                let made = self.purpose.finish(store, writer, expected);
                state.phase = match &made {
                    Ok(object) => SessionPhase::Done(Arc::clone(&object.description)),
                    Err(failure) => SessionPhase::Refused(failure.clone()),
                };
                Ok(made)
            }
            other => {
                state.phase = other;
                Err(Lost)
            }
        }
    }

    /// Discards the bytes, unless the object was already created.
    pub(super) fn cancel(&self) {
        let mut state = self.state();
        state.turn += 1;
        if !matches!(state.phase, SessionPhase::Done(_)) {
            state.phase = SessionPhase::Cancelled;
        }
    }

    /// Returns the number of stored bytes of an open session.
    pub(super) fn persisted(&self) -> Option<u64> {
        match &self.state().phase {
            SessionPhase::Open(writer) => Some(writer.len()),
            _ => None,
        }
    }
}

/// Returns Google's answer to a cancellation, and to later requests of the session.
pub(super) fn cancelled() -> GcsFailure {
    GcsFailure::new(499, "clientClosedRequest", "Client Closed Request")
}

/// All uploads since the start of the server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: Mutex<BTreeMap<String, Arc<UploadSession>>>,
    ids: RandomState,
}

impl Sessions {
    fn by_id(&self) -> MutexGuard<'_, BTreeMap<String, Arc<UploadSession>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, purpose: Purpose, dir: &Path) -> Arc<UploadSession> {
        let mut by_id = self.by_id();
        let number = by_id.len();
        // The id is random, so that no client can guess it or rely on an order.
        let id = format!("{:016x}{:016x}", self.ids.hash_one((number, 0)), self.ids.hash_one((number, 1)));
        let state = Mutex::new(SessionState { turn: 0, phase: SessionPhase::Open(ContentWriter::new(dir)) });
        let session = Arc::new(UploadSession { id: id.clone(), purpose, state });
        by_id.insert(id, Arc::clone(&session));
        session
    }

    pub(super) fn get(&self, id: &str) -> Result<Arc<UploadSession>, GcsFailure> {
        let unknown = || GcsFailure::new(404, "notFound", format!("No such upload: {id}"));
        self.by_id().get(id).cloned().ok_or_else(unknown)
    }

    pub(super) fn all(&self) -> Vec<Arc<UploadSession>> {
        self.by_id().values().cloned().collect()
    }
}
