//! The trait of a storage backend.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use futures::stream::BoxStream;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::key::{Key, Prefix};
use crate::object::{ObjectMeta, Version};
use crate::upload::{PutOptions, Upload, UploadToken};

/// The default of the no-progress timeout of every remote that is reached over a network: an operation fails when nothing
/// has been sent or received for so long, all retries included.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(90);

/// The bytes of an object, in order. Ends with an error where the object could not be read to its end.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// The objects and common prefixes of a listing, in no promised order.
pub type ObjectStream = BoxStream<'static, Result<Listed>>;

/// One item of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// An object.
    Object(ObjectMeta),
    /// With [`ListOptions::delimiter`]: there are objects below this prefix.
    Prefix(Prefix),
}

/// A place that keeps whole objects under keys.
///
/// `Display` shows the URL of the remote's root, without secrets and without a `/` at its end: it stands in errors
/// and in what users read. Methods may be called concurrently. All of them end within the backend's configured
/// no-progress timeout where the remote does not answer, and retry what is worth it by themselves.
#[async_trait]
pub trait Backend: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// What the remote can do. Asks nothing of the remote.
    fn capabilities(&self) -> Capabilities;

    /// Looks at one object.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] where there is no object of this name; a denial is never that.
    async fn stat(&self, key: &Key) -> Result<ObjectMeta>;

    /// Reads an object. The object that the result describes is the one whose bytes follow: where it is replaced
    /// meanwhile, the stream ends with [`ErrorKind::Conflict`], never with a mixture.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], or [`ErrorKind::Conflict`] where [`GetOptions::if_version`] does not hold.
    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult>;

    /// Begins an upload, of which nothing is visible under the key before its commit.
    ///
    /// # Errors
    ///
    /// Whether the key exists is asked by the commit, not here: [`ErrorKind::AlreadyExists`] never comes from here.
    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>>;

    /// Lists what is below `prefix`. A prefix with nothing below it gives an empty listing.
    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream;

    /// Deletes an object. An absent one is a success.
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

    /// Does what the first operation would otherwise do, as far as it takes no request to the remote: reads configuration
    /// and sets up clients. Whoever has long work of his own before that does this meanwhile, and learns early of what is
    /// known to be missing.
    ///
    /// # Errors
    ///
    /// What the first operation would fail with. That this succeeds says nothing about the remote.
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

    /// Removes what dead processes left behind: the uploads that `orphans` name (tokens that their owners gave to an
    /// [`crate::UploadJournal`] and never took back), and whatever else the backend can prove to be dead. Never
    /// harms a live process. Makes no request where there is nothing to do.
    ///
    /// # Errors
    ///
    /// Something dead could not be removed. The caller should try again another time.
    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()>;

    /// Waits for aborts under way and closes connections. Call it once, at the end.
    ///
    /// # Errors
    ///
    /// Something could not be ended in order.
    async fn close(&self) -> Result<()>;
}

/// What callers of a [`Backend`] want besides its primitives.
#[async_trait]
pub trait BackendExt: Backend {
    /// Looks at one object that may be absent.
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

    /// Reads a whole object, or the range of it, into memory. The caller knows that it is small: more than `limit`
    /// bytes are an error.
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

/// What a remote can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Of several creators of one key, exactly one succeeds. Where this is false, creators may overwrite each other.
    pub atomic_create: bool,
    /// An overwrite replaces the object in one step. Where this is false, a reader may find no object in between.
    pub atomic_overwrite: bool,
    /// The remote itself compares the version of [`DeleteOptions::if_version`]. Where this is false, the backend compares
    /// it right before the deletion.
    pub conditional_delete: bool,
    /// The longest segment of a key that the remote takes, in bytes.
    pub max_name_len: usize,
}

impl Capabilities {
    /// Describes a remote.
    pub const fn new(atomic_create: bool, atomic_overwrite: bool, max_name_len: usize) -> Self {
        Self { atomic_create, atomic_overwrite, conditional_delete: false, max_name_len }
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

/// How to read an object.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// The bytes to read, by default all. A range that ends behind the object ends with it; one that begins there or
    /// behind it gives no bytes.
    pub range: Option<Range<u64>>,
    /// Read only where the object still has this version.
    pub if_version: Option<Version>,
}

impl GetOptions {
    /// Reads a part of the object.
    #[must_use]
    pub fn with_range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Reads only where the object still has this version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }
}

/// How to delete an object.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Delete only an object of this version.
    pub if_version: Option<Version>,
}

impl DeleteOptions {
    /// Deletes only an object of this version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }
}

/// An object that is being read.
#[non_exhaustive]
pub struct GetResult {
    /// The whole object, also where only a range of it is read.
    pub meta: ObjectMeta,
    /// The bytes that were asked for.
    pub stream: ByteStream,
}

impl GetResult {
    /// Joins a description and the bytes.
    pub fn new(meta: ObjectMeta, stream: ByteStream) -> Self {
        Self { meta, stream }
    }
}

impl fmt::Debug for GetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetResult").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// What to list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// List only what is directly below the prefix: deeper objects appear as their common prefix, once.
    pub delimiter: bool,
}

impl ListOptions {
    /// Lists one level.
    #[must_use]
    pub fn with_delimiter(mut self) -> Self {
        self.delimiter = true;
        self
    }
}
