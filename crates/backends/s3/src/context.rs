//! The state that all operations of a remote share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::types::RequestPayer;
use larder_backend::{Key, Operation, Result};
use larder_backend_http::retry::RetryBudget;
use larder_backend_http::{BucketRoot, PendingAborts};
use tokio::sync::OnceCell;

use crate::client::S3Connection;
use crate::config::S3Config;
use crate::error::RequestTarget;
use crate::precondition::CreateOnlySupport;

/// One remote, and the known abilities of its server. Its `Display` is `s3://bucket/prefix`.
#[derive(Debug)]
pub(crate) struct S3Context {
    pub(crate) config: S3Config,
    pub(crate) root: BucketRoot,
    pub(crate) retry_budget: RetryBudget,
    pub(crate) create_only: CreateOnlySupport,
    pub(crate) aborts: PendingAborts,
    connection: OnceCell<S3Connection>,
    is_known_to_exist: AtomicBool,
}

impl S3Context {
    pub(crate) fn new(config: S3Config) -> Self {
        Self {
            root: BucketRoot::new("s3", config.bucket.as_str(), &config.prefix),
            retry_budget: RetryBudget::new(config.stall_timeout),
            config,
            create_only: CreateOnlySupport::default(),
            aborts: PendingAborts::default(),
            connection: OnceCell::new(),
            is_known_to_exist: AtomicBool::new(false),
        }
    }

    pub(crate) async fn connection(&self) -> Result<&S3Connection> {
        // The future is large, and part of every future here.
        let open = || {
            Box::pin(async { S3Connection::open(&self.config, &self.retry_budget, &self.to_string()).await })
        };
        self.connection.get_or_try_init(open).await
    }

    /// Whether the server is AWS's own. False before the first request.
    pub(crate) fn is_aws(&self) -> bool {
        self.connection.get().is_some_and(|connection| connection.endpoint.is_none())
    }

    /// Whether the bucket lists objects in the order of their names. Directory buckets do not.
    pub(crate) fn lists_in_order(&self) -> bool {
        !self.config.bucket.ends_with("--x-s3")
    }

    /// The name of an object in the bucket.
    pub(crate) fn object(&self, key: &Key) -> String {
        self.root.object_name(key)
    }

    /// The URL of an object, for messages.
    pub(crate) fn location(&self, key: &Key) -> String {
        self.root.location(key)
    }

    pub(crate) fn target<'a>(&'a self, operation: Operation, location: &'a str) -> RequestTarget<'a> {
        let endpoint = self.connection.get().and_then(|connection| connection.endpoint.as_deref());
        let profile = self.config.options.profile.as_deref();
        RequestTarget { operation, location, bucket: &self.config.bucket, endpoint, profile }
    }

    pub(crate) fn request_payer(&self) -> Option<RequestPayer> {
        self.config.options.request_payer.then_some(RequestPayer::Requester)
    }

    /// Notes that the bucket has answered.
    pub(crate) fn exists(&self) {
        self.is_known_to_exist.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_known_to_exist(&self) -> bool {
        self.is_known_to_exist.load(Ordering::Relaxed)
    }
}

impl fmt::Display for S3Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}
