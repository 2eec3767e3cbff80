//! The backend.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, CreatedRoot, DeleteOptions, Error, ErrorKind, GetOptions, GetResult, Key,
    ListOptions, ObjectMeta, ObjectStream, Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};
use larder_backend_files::layout::MAX_NAME_LEN;
use rustix::fs::AtFlags;

use crate::config::LocalConfig;
use crate::context::LocalContext;
use crate::error::{failed, is_absent};
use crate::object::{describe, is_object};
use crate::root::LocalRoot;
use crate::temporary::Temporary;
use crate::upload::LocalUpload;
use crate::{access, get, list, sweep};

/// A remote in a directory. `Display` shows the absolute path of the root.
#[derive(Debug)]
pub struct LocalBackend {
    context: Arc<LocalContext>,
}

impl LocalBackend {
    /// Opens a remote. The root need not exist: the first upload creates as much of it as [`LocalConfig::create`]
    /// allows. Until then the remote is empty. Where no upload could create the root, or the root is a file, every operation
    /// fails with [`RootMissing`]. Opening makes no system call for an absolute path, so it never waits for a share.
    ///
    /// # Errors
    ///
    /// The working directory is gone, and the root is relative to it.
    ///
    /// [`RootMissing`]: larder_backend::ErrorKind::RootMissing
    #[expect(clippy::needless_pass_by_value, reason = "the configuration is the backend's from here on")]
    pub fn open(config: LocalConfig) -> Result<Self> {
        Ok(Self { context: Arc::new(LocalContext::new(&config)?) })
    }

    /// Runs on a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        job: impl FnOnce(&LocalContext) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let context = Arc::clone(&self.context);
        let answer = tokio::task::spawn_blocking(move || job(&context));
        let answer = self.context.root.wait(operation, answer).await?;
        answer.unwrap_or_else(|error| Err(failed(operation, self.to_string(), io::Error::other(error))))
    }
}

impl fmt::Display for LocalBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.context.root.path().display(), f)
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn capabilities(&self) -> Capabilities {
        let atomic_create = !self.context.file_system.cannot_create_exclusively.load(Ordering::Relaxed);
        Capabilities::new(atomic_create, true, MAX_NAME_LEN)
    }

    fn created_root(&self) -> Option<CreatedRoot> {
        self.context.root.created()
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let key = key.clone();
        self.run(Operation::Stat, move |context| get::stat(&context.root, &key)).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let key = key.clone();
        self.run(Operation::Get, move |context| get::get(&context.root, &key, &options)).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        let key = key.clone();
        let context = Arc::clone(&self.context);
        self.run(Operation::Put, move |_| {
            context.root.check(&key, Operation::Put)?;
            let temporary = Temporary::create(&context.root.open_or_create(Operation::Put)?)
                .map_err(|error| failed(Operation::Put, context.root.location(&key), error))?;
            Ok(Box::new(LocalUpload::new(context, key, options.mode, temporary)) as Box<dyn Upload>)
        })
        .await
    }

    async fn check_put(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.run(Operation::Put, move |context| access::check_put(&context.root, &key)).await
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        options.limited(list::list(&self.context.root, prefix, &options))
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let key = key.clone();
        self.run(Operation::Delete, move |context| delete(&context.root, &key, &options)).await
    }

    /// Removes the temporaries of dead processes. It needs no journal: a lock shows that its owner is alive.
    async fn sweep(&self, _orphans: &[UploadToken]) -> Result<()> {
        self.run(Operation::Sweep, |context| {
            let directory = match context.root.open(Operation::Sweep) {
                Err(error) if error.kind() == ErrorKind::RootMissing => return Ok(()),
                Ok(None) => return Ok(()),
                Ok(Some(directory)) => directory,
                Err(error) => return Err(error),
            };
            sweep::sweep(&directory)
                .map_err(|error| failed(Operation::Sweep, context.root.path().display().to_string(), error))
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.context.finish().await
    }
}

/// Deletes an object. Its version cannot be compared and its name removed in one step: a file that another process
/// publishes between `fstatat` and `unlinkat` is deleted.
fn delete(root: &LocalRoot, key: &Key, options: &DeleteOptions) -> Result<(), Error> {
    let operation = Operation::Delete;
    root.check(key, operation)?;
    let Some(directory) = root.open(operation)? else { return Ok(()) };
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    let deleted = directory.descend(segments).and_then(|parent| {
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // Only regular files are objects. Everything else stays.
        if !is_object(&stat) {
            return Ok(true);
        }
        if options.if_version.is_some() && options.if_version != describe(key.clone(), &stat).version {
            return Ok(false);
        }
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
        Ok(true)
    });
    match deleted {
        Ok(false) => Err(Error::new(ErrorKind::Conflict, operation, root.location(key))),
        Ok(true) => {
            directory.prune(key);
            Ok(())
        }
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(failed(operation, root.location(key), error)),
    }
}
