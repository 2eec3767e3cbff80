//! The backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, DeleteOptions, GetOptions, GetResult, Key, ListOptions, ObjectMeta, ObjectStream,
    Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};
use larder_backend_http::{BucketRoot, PendingAborts};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::client::Connection;
use crate::config::GcsConfig;
use crate::error::Target;
use crate::upload::GcsUpload;
use crate::{get, list};

/// A remote in a bucket. Its `Display` is `gs://bucket/prefix`.
#[derive(Debug)]
pub struct GcsBackend {
    remote: Arc<Remote>,
}

/// What the backend and its uploads share.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) config: GcsConfig,
    pub(crate) patience: RetryBudget,
    root: BucketRoot,
    connection: OnceCell<Connection>,
    aborts: PendingAborts,
}

impl GcsBackend {
    /// Opens a remote. Makes no request: credentials are looked for by the first operation.
    pub fn new(config: GcsConfig) -> Self {
        let root = BucketRoot::new("gs", config.bucket.as_str(), &config.prefix);
        let remote = Remote {
            patience: RetryBudget::new(config.stall_timeout),
            root,
            config,
            connection: OnceCell::new(),
            aborts: PendingAborts::default(),
        };
        Self { remote: Arc::new(remote) }
    }
}

impl Remote {
    pub(crate) async fn connection(&self) -> Result<&Connection> {
        // Large, and part of every future here.
        let open =
            || Box::pin(async { Connection::open(&self.config, &self.patience, &self.to_string()).await });
        self.connection.get_or_try_init(open).await
    }

    /// The name of the bucket, as Google's clients take it.
    pub(crate) fn bucket(&self) -> String {
        format!("projects/_/buckets/{}", self.config.bucket)
    }

    /// What stands in front of every key.
    pub(crate) fn root(&self) -> &str {
        self.root.prefix()
    }

    /// The name of an object in the bucket.
    pub(crate) fn object(&self, key: &Key) -> String {
        self.root.object_name(key)
    }

    /// The URL of an object, for messages.
    pub(crate) fn location(&self, key: &Key) -> String {
        self.root.location(key)
    }

    pub(crate) fn target<'a>(&'a self, operation: Operation, location: &'a str) -> Target<'a> {
        let endpoint = self.connection.get().and_then(|connection| connection.endpoint.as_deref());
        Target { operation, location, bucket: &self.config.bucket, endpoint }
    }

    /// Waits for one answer of Google's client, which may hang where a connection has died.
    pub(crate) async fn watched<T>(
        &self,
        target: Target<'_>,
        answer: impl Future<Output = google_cloud_storage::Result<T>>,
    ) -> Result<T, AttemptFailure> {
        let timeout = self.patience.attempt_timeout();
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => {
                self.patience.activity.answered();
                Ok(answer)
            }
            Ok(Err(error)) => Err(target.failure(&error)),
            Err(_) => Err(target.stalled(timeout)),
        }
    }

    /// Lets [`Backend::close`] wait for an abort.
    pub(crate) fn wait_for(&self, abort: JoinHandle<()>) {
        self.aborts.add(abort);
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Display for GcsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.fmt(f)
    }
}

#[async_trait]
impl Backend for GcsBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(true, true, Key::MAX_LEN).with_conditional_delete(true)
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.remote.root.check(key, Operation::Stat)?;
        get::stat(&self.remote, key).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.remote.root.check(key, Operation::Get)?;
        get::get(Arc::clone(&self.remote), key.clone(), options).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.remote.root.check(key, Operation::Put)?;
        Ok(Box::new(GcsUpload::new(Arc::clone(&self.remote), key.clone(), &options)))
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        list::list(Arc::clone(&self.remote), prefix, &options)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.remote.root.check(key, Operation::Delete)?;
        get::delete(&self.remote, key, &options).await
    }

    async fn get_ready(&self) -> Result<()> {
        self.remote.connection().await.map(drop)
    }

    async fn sweep(&self, _orphans: &[UploadToken]) -> Result<()> {
        // The server forgets an upload that nobody ends after a week, and bills nobody for it.
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        // The server forgets an upload that could not be aborted.
        self.remote.aborts.wait().await;
        Ok(())
    }
}
