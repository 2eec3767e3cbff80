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
/// An upload that is dropped without a commit is never published. A destructor cannot wait for the remote, so callers await
/// [`Upload::abort`], and [`crate::Backend::close`] at the end.
#[async_trait]
pub trait Upload: fmt::Debug + Send {
    /// Takes the next bytes, and waits while the bounded buffer is full. After an error, or after a future that was dropped early,
    /// only [`Upload::abort`] can be called.
    ///
    /// # Errors
    ///
    /// The remote refuses the bytes, or cannot be reached.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Publishes the object in one step, durably if the remote can. After a failure, nothing is visible and nothing is left
    /// behind.
    ///
    /// The answer to a commit may be lost. If the object then exists with the right size, the commit has succeeded.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::AlreadyExists`] under [`PutMode::CreateOnly`] if the key exists.
    async fn commit(self: Box<Self>) -> Result<ObjectMeta>;

    /// Discards the upload and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// The remote cannot be reached. The rest is invisible, and a later sweep removes it.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// Whether an upload may replace an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// The commit fails if the key exists.
    #[default]
    CreateOnly,
    /// The commit replaces an object that has the key.
    Overwrite,
}

/// How to write an object.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// Whether the upload may replace an object.
    pub mode: PutMode,
    /// The estimated number of bytes, if known. For compressed bytes it may be much too large.
    pub size_hint: Option<u64>,
    /// The journal of open uploads. After a crash they are removed with its help.
    pub journal: Option<Arc<dyn UploadJournal>>,
}

impl PutOptions {
    /// Writes in the given mode.
    pub fn new(mode: PutMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Adds the estimated number of bytes.
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

/// Names an open upload, as text with a meaning for the backend only (an upload id, a temporary path). It is one line without
/// control characters.
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

/// Remembers the open uploads of a process after its end. A backend does not need it if a killed process leaves nothing behind,
/// or if the remote itself shows which uploads are dead.
pub trait UploadJournal: fmt::Debug + Send + Sync {
    /// Notes that an upload begins. It is called before the upload is created, or as soon as its name is known.
    ///
    /// # Errors
    ///
    /// The entry cannot be written. The upload should fail.
    fn opened(&self, token: &UploadToken) -> io::Result<()>;

    /// Notes that an upload is committed or aborted.
    fn closed(&self, token: &UploadToken);
}
