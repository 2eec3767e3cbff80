//! The backend.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, CreatedRoot, DeleteOptions, Error, ErrorKind, GetOptions, GetResult, Key,
    ListOptions, ObjectMeta, ObjectStream, Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};
use rustix::fs::AtFlags;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::LocalConfig;
use crate::error::{failed, is_absent};
use crate::get::{describe, is_object};
use crate::publish::FileSystem;
use crate::root::{MAX_NAME_LEN, Root};
use crate::temporary::Temporary;
use crate::upload::LocalUpload;
use crate::{access, get, list, sweep};

/// A remote in a directory. Its `Display` is the absolute path of the root.
#[derive(Debug)]
pub struct LocalBackend {
    remote: Arc<Remote>,
}

/// What the backend and its uploads share.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) root: Arc<Root>,
    pub(crate) file_system: FileSystem,
    /// Blocking threads whose uploads were dropped.
    unfinished: Mutex<Vec<JoinHandle<()>>>,
}

impl LocalBackend {
    /// Opens a remote. The root need not exist: the first upload creates as much of it as [`LocalConfig::create`]
    /// allows. Until then the remote is empty. Where no upload could create the root, every operation fails with
    /// [`RootMissing`].
    ///
    /// # Errors
    ///
    /// [`RootMissing`] where the root is a file. The working directory is gone, and the root is relative to it.
    ///
    /// [`RootMissing`]: larder_backend::ErrorKind::RootMissing
    #[expect(clippy::needless_pass_by_value, reason = "the configuration is the backend's from here on")]
    pub fn open(config: LocalConfig) -> Result<Self> {
        let root = Arc::new(Root::new(&config)?);
        let remote = Remote { root, file_system: FileSystem::default(), unfinished: Mutex::default() };
        Ok(Self { remote: Arc::new(remote) })
    }

    /// Runs on a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        job: impl FnOnce(&Remote) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let remote = Arc::clone(&self.remote);
        let answer = tokio::task::spawn_blocking(move || job(&remote));
        let answer = self.remote.root.wait(operation, answer).await?;
        answer.unwrap_or_else(|error| Err(failed(operation, self.to_string(), io::Error::other(error))))
    }
}

impl Remote {
    /// Lets [`Backend::close`] wait for a blocking thread.
    pub(crate) fn wait_for<T: Send + 'static>(&self, job: JoinHandle<T>) {
        // Without a runtime nobody can wait; the thread then cleans up alone.
        if let Ok(runtime) = Handle::try_current() {
            let job = runtime.spawn(async move { drop(job.await) });
            let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
            unfinished.retain(|job| !job.is_finished());
            unfinished.push(job);
        }
    }
}

impl fmt::Display for LocalBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.remote.root.path().display(), f)
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn capabilities(&self) -> Capabilities {
        let atomic_create = !self.remote.file_system.cannot_create_exclusively.load(Ordering::Relaxed);
        Capabilities::new(atomic_create, true, MAX_NAME_LEN)
    }

    fn created_root(&self) -> Option<CreatedRoot> {
        self.remote.root.created()
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let key = key.clone();
        self.run(Operation::Stat, move |remote| get::stat(&remote.root, &key)).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let key = key.clone();
        self.run(Operation::Get, move |remote| get::get(&remote.root, &key, &options)).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        let key = key.clone();
        let remote = Arc::clone(&self.remote);
        self.run(Operation::Put, move |_| {
            remote.root.check(&key, Operation::Put)?;
            let temporary = Temporary::create(&remote.root.open_or_create(Operation::Put)?)
                .map_err(|error| failed(Operation::Put, remote.root.location(&key), error))?;
            Ok(Box::new(LocalUpload::new(remote, key, options.mode, temporary)) as Box<dyn Upload>)
        })
        .await
    }

    async fn check_put(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.run(Operation::Put, move |remote| access::check_put(&remote.root, &key)).await
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        list::list(&self.remote.root, prefix, &options)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let key = key.clone();
        self.run(Operation::Delete, move |remote| delete(&remote.root, &key, &options)).await
    }

    /// Removes the temporaries of dead processes. Needs no journal: a lock tells who is alive.
    async fn sweep(&self, _orphans: &[UploadToken]) -> Result<()> {
        self.run(Operation::Sweep, |remote| {
            let directory = match remote.root.open(Operation::Sweep) {
                Err(error) if error.kind() == ErrorKind::RootMissing => return Ok(()),
                Ok(None) => return Ok(()),
                Ok(Some(directory)) => directory,
                Err(error) => return Err(error),
            };
            sweep::sweep(&directory)
                .map_err(|error| failed(Operation::Sweep, remote.root.path().display().to_string(), error))
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        loop {
            let job = self.remote.unfinished.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(job) = job else { return Ok(()) };
            // What it did with its temporary was nobody's to hear.
            let _ = self.remote.root.wait(Operation::Close, job).await?;
        }
    }
}

/// Deletes an object. Version and name cannot be compared and removed in one step: a file that another process publishes
/// between `fstatat` and `unlinkat` is deleted.
fn delete(root: &Root, key: &Key, options: &DeleteOptions) -> Result<(), Error> {
    let operation = Operation::Delete;
    root.check(key, operation)?;
    let Some(directory) = root.open(operation)? else { return Ok(()) };
    let mut segments = key.segments();
    let name = segments.next_back().unwrap_or_default();
    let deleted = directory.descend(segments).and_then(|parent| {
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // Anything but a regular file is no object, and is left alone.
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
