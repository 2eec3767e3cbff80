//! What the backend and its uploads share.

use std::sync::{Arc, Mutex, PoisonError};

use larder_backend::{Operation, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::LocalConfig;
use crate::publish::FileSystem;
use crate::root::LocalRoot;

/// The state of a remote.
#[derive(Debug)]
pub(crate) struct LocalContext {
    pub(crate) root: Arc<LocalRoot>,
    pub(crate) file_system: FileSystem,
    /// Blocking threads whose uploads were dropped.
    unfinished: Mutex<Vec<JoinHandle<()>>>,
}

impl LocalContext {
    pub(crate) fn new(config: &LocalConfig) -> Result<Self> {
        let root = Arc::new(LocalRoot::new(config)?);
        Ok(Self { root, file_system: FileSystem::default(), unfinished: Mutex::default() })
    }

    /// Lets [`LocalContext::finish`] wait for a blocking thread.
    pub(crate) fn wait_for<T: Send + 'static>(&self, job: JoinHandle<T>) {
        // Without a runtime nobody can wait. The thread then cleans up alone.
        if let Ok(runtime) = Handle::try_current() {
            let job = runtime.spawn(async move { drop(job.await) });
            let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
            unfinished.retain(|job| !job.is_finished());
            unfinished.push(job);
        }
    }

    /// Waits for the blocking threads of dropped uploads.
    pub(crate) async fn finish(&self) -> Result<()> {
        loop {
            let job = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(job) = job else { return Ok(()) };
            // Nobody waits for the outcome of a dropped upload.
            let _ = self.root.wait(Operation::Close, job).await?;
        }
    }
}
