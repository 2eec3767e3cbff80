//! The state that all operations of a remote share.

use std::fmt;

use larder_backend::{Key, Operation, Result};
use larder_backend_http::retry::{AttemptFailure, RetryBudget};
use larder_backend_http::{BucketRoot, PendingAborts};
use tokio::sync::OnceCell;

use crate::client::GcsConnection;
use crate::config::GcsConfig;
use crate::error::GcsTarget;

/// One remote. Its `Display` is `gs://bucket/prefix`.
#[derive(Debug)]
pub(crate) struct GcsContext {
    pub(crate) config: GcsConfig,
    pub(crate) root: BucketRoot,
    pub(crate) retry_budget: RetryBudget,
    pub(crate) aborts: PendingAborts,
    connection: OnceCell<GcsConnection>,
}

impl GcsContext {
    pub(crate) fn new(config: GcsConfig) -> Self {
        Self {
            root: BucketRoot::new("gs", config.bucket.as_str(), &config.prefix),
            retry_budget: RetryBudget::new(config.stall_timeout),
            config,
            aborts: PendingAborts::default(),
            connection: OnceCell::new(),
        }
    }

    pub(crate) async fn connection(&self) -> Result<&GcsConnection> {
        // The future is large, and part of every future here.
        let open = || {
            Box::pin(async { GcsConnection::open(&self.config, &self.retry_budget, &self.to_string()).await })
        };
        self.connection.get_or_try_init(open).await
    }

    /// The name of the bucket in the form of Google's clients.
    pub(crate) fn bucket(&self) -> String {
        format!("projects/_/buckets/{}", self.config.bucket)
    }

    /// The name of an object in the bucket.
    pub(crate) fn object(&self, key: &Key) -> String {
        self.root.object_name(key)
    }

    /// The URL of an object, for messages.
    pub(crate) fn location(&self, key: &Key) -> String {
        self.root.location(key)
    }

    pub(crate) fn target<'a>(&'a self, operation: Operation, location: &'a str) -> GcsTarget<'a> {
        let endpoint = self.connection.get().and_then(|connection| connection.endpoint.as_deref());
        let is_anonymous = self.config.options.anonymous;
        GcsTarget { operation, location, bucket: &self.config.bucket, endpoint, is_anonymous }
    }

    /// Waits for an answer of Google's client, up to the timeout of an attempt. The client itself may wait forever if the
    /// connection is dead.
    pub(crate) async fn watched<T>(
        &self,
        target: GcsTarget<'_>,
        answer: impl Future<Output = google_cloud_storage::Result<T>>,
    ) -> Result<T, AttemptFailure> {
        let timeout = self.retry_budget.attempt_timeout();
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => {
                self.retry_budget.activity.answered();
                Ok(answer)
            }
            Ok(Err(error)) => Err(target.failure(&error)),
            Err(_) => Err(target.stalled(timeout)),
        }
    }
}

impl fmt::Display for GcsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}
