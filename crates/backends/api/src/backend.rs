//! The trait of a storage backend.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{Key, Prefix};
use crate::object::{ObjectMeta, Version};
use crate::upload::{PutOptions, Upload, UploadToken};

/// The default no-progress timeout of remotes on a network. An operation fails if nothing was sent or received for so long, all
/// retries included.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(90);

/// The bytes of an object, in order. The stream ends with an error if the object cannot be read to its end.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// The objects and common prefixes of a listing, in no promised order.
pub type ObjectStream = BoxStream<'static, Result<Listed>>;

/// One item of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// An object.
    Object(ObjectMeta),
    /// With [`ListOptions::delimiter`]: a prefix with objects below it.
    Prefix(Prefix),
}

/// Storage of whole objects under keys.
///
/// `Display` shows the URL of the remote's root, without secrets and without a `/` at its end, for users and errors. Methods may
/// be called concurrently. They retry by themselves, and fail within the no-progress timeout if the remote does not answer.
#[async_trait]
pub trait Backend: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// The capabilities of the remote. Makes no request.
    fn capabilities(&self) -> Capabilities;

    /// Describes one object.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no object has this name. A denial is another error.
    async fn stat(&self, key: &Key) -> Result<ObjectMeta>;

    /// Reads an object. The stream has the bytes of the object that the result describes. If the object is replaced meanwhile, the
    /// stream ends with [`ErrorKind::Conflict`] and never mixes the two.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], or [`ErrorKind::Conflict`] if the object has another version than [`GetOptions::if_version`].
    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult>;

    /// Begins an upload. Nothing is visible under the key before its commit.
    ///
    /// # Errors
    ///
    /// The remote refuses, or cannot be reached. Only the commit checks whether the key exists.
    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>>;

    /// Lists the objects below `prefix`. The listing may be empty.
    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream;

    /// Deletes an object. The deletion of an absent object succeeds.
    ///
    /// With [`DeleteOptions::if_version`] an object of another version stays. Where
    /// [`Capabilities::conditional_delete`] is false, the version is checked right before the deletion: an object that is
    /// published between the two may be deleted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if the object has another version than [`DeleteOptions::if_version`]; the remote refuses,
    /// or cannot be reached.
    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()>;

    /// Reads configuration and sets up clients, without a request to the remote. Otherwise the first operation does it. Callers with
    /// long work before that operation learn about missing configuration early.
    ///
    /// # Errors
    ///
    /// The error of the first operation. Success says nothing about the remote.
    async fn get_ready(&self) -> Result<()> {
        Ok(())
    }

    /// Checks what an upload of this key needs, as far as the remote tells without a write. Publishes and creates nothing.
    ///
    /// # Errors
    ///
    /// What the upload would fail with. A success does not promise that the upload succeeds.
    async fn check_put(&self, _key: &Key) -> Result<()> {
        Ok(())
    }

    /// Returns how an upload of this backend created the root of the remote, if one did. Makes no request.
    fn created_root(&self) -> Option<CreatedRoot> {
        None
    }

    /// Removes the uploads of dead processes: those that `orphans` name, and others that the backend can prove to be dead. The
    /// tokens come from a [`crate::UploadJournal`]. It never harms a living process, and makes no request if there is nothing
    /// to do.
    ///
    /// # Errors
    ///
    /// An upload cannot be removed. The caller should try again later.
    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()>;

    /// Waits for aborts under way and closes connections. Call it once, at the end.
    ///
    /// # Errors
    ///
    /// Something did not end in order.
    async fn close(&self) -> Result<()>;
}

/// Operations for callers, made of the methods of [`Backend`].
#[async_trait]
pub trait BackendExt: Backend {
    /// Describes one object that may be absent.
    ///
    /// # Errors
    ///
    /// The remote refuses, or cannot be reached.
    async fn stat_if_exists(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        match self.stat(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a small object, or a range of one, into memory. More than `limit` bytes are an error.
    ///
    /// # Errors
    ///
    /// As [`Backend::get`]; [`ErrorKind::InvalidInput`] beyond the limit.
    async fn get_bytes(&self, key: &Key, options: GetOptions, limit: usize) -> Result<Bytes> {
        let mut stream = self.get(key, options).await?.stream;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = stream.try_next().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::InvalidInput, Operation::Get, format!("{self}/{key}"))
                    .with_source(format!("the object is larger than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

impl<B: Backend + ?Sized> BackendExt for B {}

/// The capabilities of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a promise of its own")]
pub struct Capabilities {
    /// If several uploads create one key, exactly one succeeds. Otherwise they may overwrite each other.
    pub atomic_create: bool,
    /// An overwrite replaces the object in one step. Otherwise a reader may find no object in between.
    pub atomic_overwrite: bool,
    /// The remote itself compares the version of [`DeleteOptions::if_version`]. Where this is false, the backend compares
    /// it right before the deletion.
    pub conditional_delete: bool,
    /// Listings without a delimiter come in the order of the bytes of their keys.
    pub ordered_list: bool,
    /// The longest segment of a key that the remote takes, in bytes.
    pub max_name_len: usize,
}

impl Capabilities {
    /// Describes a remote that lists in no order, and does not compare versions itself.
    pub const fn new(atomic_create: bool, atomic_overwrite: bool, max_name_len: usize) -> Self {
        Self { atomic_create, atomic_overwrite, conditional_delete: false, ordered_list: false, max_name_len }
    }

    /// Sets whether listings without a delimiter come in the order of their keys.
    #[must_use]
    pub const fn with_ordered_list(mut self, ordered_list: bool) -> Self {
        self.ordered_list = ordered_list;
        self
    }

    /// Sets whether the remote itself compares versions on deletion.
    #[must_use]
    pub const fn with_conditional_delete(mut self, conditional_delete: bool) -> Self {
        self.conditional_delete = conditional_delete;
        self
    }
}

/// How an upload created the root of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatedRoot {
    /// In a directory that is in use.
    InUsedParent,
    /// In an empty directory, where a file system may be missing that should be mounted there.
    InEmptyParent,
}

/// Options of a download.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// The bytes to read. The default is all of them. A range is cut at the end of the object, so it may be empty.
    pub range: Option<Range<u64>>,
    /// Read only an object of this version.
    pub if_version: Option<Version>,
}

impl GetOptions {
    /// Sets the range.
    #[must_use]
    pub fn with_range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }
}

/// Options of a deletion.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Delete only an object of this version.
    pub if_version: Option<Version>,
}

impl DeleteOptions {
    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }
}

/// An object that is being read.
#[non_exhaustive]
pub struct GetResult {
    /// The whole object, even if only a range of it is read.
    pub meta: ObjectMeta,
    /// The requested bytes.
    pub stream: ByteStream,
}

impl GetResult {
    /// Creates a result.
    pub fn new(meta: ObjectMeta, stream: ByteStream) -> Self {
        Self { meta, stream }
    }
}

impl fmt::Debug for GetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetResult").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// Options of a listing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// List one level. Deeper objects appear as their common prefix, once.
    pub delimiter: bool,
    /// List at most this many items. They are the first ones only where [`Capabilities::ordered_list`] is true.
    pub limit: Option<usize>,
}

impl ListOptions {
    /// Lists one level.
    #[must_use]
    pub fn with_delimiter(mut self) -> Self {
        self.delimiter = true;
        self
    }

    /// Limits the number of items.
    #[must_use]
    pub fn with_limit(mut self, items: usize) -> Self {
        self.limit = Some(items);
        self
    }

    /// Ends a listing at the limit, if there is one.
    pub fn limited(&self, listing: ObjectStream) -> ObjectStream {
        match self.limit {
            Some(limit) => listing.take(limit).boxed(),
            None => listing,
        }
    }
}
