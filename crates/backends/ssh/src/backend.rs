//! The backend.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, CreatedRoot, DeleteOptions, ErrorKind, GetOptions, GetResult, Key, ListOptions,
    ObjectMeta, ObjectStream, Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};
use tokio::task::JoinHandle;

use crate::config::SshConfig;
use crate::connection::Connection;
use crate::error::Trouble;
use crate::parts::{PART, PARTS_IN_MEMORY};
use crate::pool::{MAX_SESSIONS, Pool};
use crate::root::{MAX_NAME_LEN, Place};
use crate::upload::SshUpload;
use crate::{get, list, sweep};

/// A link that answers faster than this is not held to its window: two sessions are for the processors of both sides.
const NEAR: Duration = Duration::from_millis(5);
const SESSIONS_WHEN_NEAR: usize = 2;

/// A remote in a directory on another machine. Its `Display` is its URL.
#[derive(Debug)]
pub struct SshBackend {
    remote: Arc<Remote>,
}

/// What the backend, its uploads and its streams share.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) pool: Arc<Pool>,
    pub(crate) place: Place,
    /// How many transfers are under way.
    transfers: Arc<AtomicUsize>,
    /// How long the link takes both ways, at the most.
    round_trip: Mutex<Duration>,
    /// What still cleans up behind uploads that were dropped.
    unfinished: Mutex<Vec<JoinHandle<()>>>,
}

impl SshBackend {
    /// Describes a remote. Nothing is read, and nobody is asked, before the first operation. The root need not exist:
    /// the first upload creates its last component, and until then the remote is empty. Where the directory above it is
    /// missing too, every operation fails with [`RootMissing`].
    ///
    /// [`RootMissing`]: larder_backend::ErrorKind::RootMissing
    pub fn new(config: SshConfig) -> Self {
        let remote = Remote {
            place: Place::new(config.path.clone(), config.url()),
            pool: Arc::new(Pool::new(config)),
            transfers: Arc::default(),
            round_trip: Mutex::new(Duration::MAX),
            unfinished: Mutex::default(),
        };
        Self { remote: Arc::new(remote) }
    }
}

impl Remote {
    /// Lets [`Backend::close`] wait for a task.
    pub(crate) fn wait_for(&self, job: JoinHandle<()>) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished.retain(|job| !job.is_finished());
        unfinished.push(job);
    }

    pub(crate) fn note_round_trip(&self, round_trip: Duration) {
        let mut known = self.round_trip.lock().unwrap_or_else(PoisonError::into_inner);
        *known = round_trip.min(*known);
    }

    /// How many sessions are worth it for a transfer of so many bytes: each takes some round trips to begin.
    pub(crate) fn sessions_for(&self, bytes: u64) -> usize {
        let is_near = *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner) < NEAR;
        let most = if is_near { SESSIONS_WHEN_NEAR } else { MAX_SESSIONS };
        usize::try_from(bytes / (2 * PART as u64)).unwrap_or(most).clamp(1, most)
    }

    /// Counts a transfer.
    pub(crate) fn begin_transfer(&self) -> Transfer {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        Transfer(Arc::clone(&self.transfers))
    }
}

/// One of the transfers under way.
#[derive(Debug)]
pub(crate) struct Transfer(Arc<AtomicUsize>);

impl Transfer {
    /// How many parts it may have in memory.
    pub(crate) fn room(&self) -> usize {
        (PARTS_IN_MEMORY / self.0.load(Ordering::Relaxed).max(1)).max(2)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for SshBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.remote.place.url())
    }
}

#[async_trait]
impl Backend for SshBackend {
    fn capabilities(&self) -> Capabilities {
        // Version 3 of SFTP renames without replacing, and libssh2 offers nothing else: an overwrite is two steps.
        Capabilities::new(true, false, MAX_NAME_LEN)
    }

    fn created_root(&self) -> Option<CreatedRoot> {
        self.remote.place.created()
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        get::stat(&self.remote, key).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        get::get(&self.remote, key, &options).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.remote.place.check(key, Operation::Put)?;
        let upload = SshUpload::begin(Arc::clone(&self.remote), key.clone(), options).await?;
        Ok(Box::new(upload))
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        list::list(&self.remote, prefix, &options)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let remote = Arc::clone(&self.remote);
        remote.place.check(key, Operation::Delete)?;
        let task = remote.pool.task(Operation::Delete, remote.place.location(key));
        let (pool, key) = (Arc::clone(&remote.pool), key.clone());
        pool.run(task, move |connection, _| delete(&remote.place, connection, &key, &options)).await
    }

    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()> {
        if orphans.is_empty() {
            return Ok(());
        }
        let remote = Arc::clone(&self.remote);
        let mut task = remote.pool.task(Operation::Sweep, remote.place.url());
        task.patience = task.patience.for_cleaning_up();
        let (pool, orphans) = (Arc::clone(&remote.pool), orphans.to_vec());
        pool.run(task, move |connection, _| match remote.place.root(connection) {
            Err(trouble) if trouble.kind == ErrorKind::RootMissing => Ok(()),
            root => root?.map_or(Ok(()), |root| sweep::sweep(connection, &root, &orphans)),
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        loop {
            let job = self.remote.unfinished.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(job) = job else { break };
            // What became of an upload that was dropped is nobody's to hear.
            let _ = job.await;
        }
        self.remote.pool.close().await;
        Ok(())
    }
}

/// Deletes an object. SFTP cannot compare and remove in one step: a file that another client publishes between `lstat` and
/// `remove` is deleted.
fn delete(place: &Place, connection: &Connection, key: &Key, options: &DeleteOptions) -> Result<(), Trouble> {
    let Some(root) = place.root(connection)? else { return Ok(()) };
    let path = root.path_of(key.as_str());
    match get::look(connection, &root, key) {
        // Anything but a regular file is no object, and is left alone.
        Ok(None) => return Ok(()),
        Ok(Some(stat)) => {
            let meta =
                get::describe(key.clone(), stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default());
            if options.if_version.is_some() && options.if_version != meta.version {
                return Err(Trouble::new(ErrorKind::Conflict));
            }
        }
        Err(trouble) => return Err(trouble),
    }
    match connection.remove(&path) {
        Err(trouble) if !trouble.is_absent() => Err(trouble),
        _ => root.prune(connection, key),
    }
}
