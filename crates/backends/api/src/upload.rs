//! Uploads, which are invisible until they are committed.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::object::ObjectMeta;

/// An object that is being written.
///
/// Dropped without a commit it is aborted as well as a destructor can, and never published. A dropped future cannot
/// wait for the remote, so callers await [`Upload::abort`], and [`crate::Backend::close`] at the end.
#[async_trait]
pub trait Upload: fmt::Debug + Send {
    /// Takes the next bytes, and waits while the bounded buffer is full. After an error, or where the future was
    /// dropped before it was done, only [`Upload::abort`] is left.
    ///
    /// # Errors
    ///
    /// The remote refuses the bytes, or cannot be reached.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Publishes the object in one step, durably where the remote has that. Where it fails, nothing is visible and
    /// nothing is left behind.
    ///
    /// A commit whose answer was lost may have been done: where the object then exists with the size that was
    /// written, that is a success.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::AlreadyExists`] under [`PutMode::CreateOnly`] where the key exists.
    async fn commit(self: Box<Self>) -> Result<ObjectMeta>;

    /// Throws away what was written and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// The remote could not be told; what is left there is invisible, and for a later sweep.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// Whether an upload may replace an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// The commit fails where the key exists.
    #[default]
    CreateOnly,
    /// The commit replaces what the key holds.
    Overwrite,
}

/// How to write an object.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// Whether the upload may replace an object.
    pub mode: PutMode,
    /// About how many bytes will come, where that is known: it need not be exact, and may be much too large where they are
    /// compressed.
    pub size_hint: Option<u64>,
    /// Where the backend notes what it has open on the remote, so that it can be removed after a crash.
    pub journal: Option<Arc<dyn UploadJournal>>,
}

impl PutOptions {
    /// Writes in the given mode.
    pub fn new(mode: PutMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Adds about how many bytes will come.
    #[must_use]
    pub fn with_size_hint(mut self, bytes: u64) -> Self {
        self.size_hint = Some(bytes);
        self
    }

    /// Adds a journal.
    #[must_use]
    pub fn with_journal(mut self, journal: Arc<dyn UploadJournal>) -> Self {
        self.journal = Some(journal);
        self
    }
}

/// Names an upload that is open on a remote, in the backend's own text (an upload id, a temporary path). A single
/// line without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadToken(String);

impl UploadToken {
    /// Wraps the backend's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The backend's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Remembers, beyond the life of this process, what it has open on a remote. A backend whose uploads leave nothing
/// behind when the process is killed, or that can tell by itself what is dead, need not use it.
pub trait UploadJournal: fmt::Debug + Send + Sync {
    /// An upload was begun. Called before anything is sent that would stay behind, or as soon as its name is known.
    ///
    /// # Errors
    ///
    /// The note could not be written; the upload should fail.
    fn opened(&self, token: &UploadToken) -> io::Result<()>;

    /// The upload is gone from the remote: committed or aborted.
    fn closed(&self, token: &UploadToken);
}
