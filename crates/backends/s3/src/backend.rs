//! The backend.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::types::RequestPayer;
use larder_backend::retry::Patience;
use larder_backend::{
    Backend, Capabilities, DeleteOptions, Error, ErrorKind, GetOptions, GetResult, Key, ListOptions,
    ObjectMeta, ObjectStream, Operation, Prefix, PutMode, PutOptions, Result, Upload, UploadToken,
};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::client::Connection;
use crate::config::S3Config;
use crate::error::Target;
use crate::precondition::Preconditions;
use crate::upload::S3Upload;
use crate::{delete, get, list, multipart};

/// A remote in a bucket. Its `Display` is `s3://bucket/prefix`.
#[derive(Debug)]
pub struct S3Backend {
    remote: Arc<Remote>,
}

/// What the backend and its uploads share.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) config: S3Config,
    pub(crate) patience: Patience,
    /// The prefix with a `/` behind it, or nothing.
    root: String,
    connection: OnceCell<Connection>,
    pub(crate) preconditions: Preconditions,
    is_known_to_exist: AtomicBool,
    /// Uploads that are being aborted.
    aborts: Mutex<Vec<JoinHandle<()>>>,
}

impl S3Backend {
    /// Opens a remote. Makes no request: credentials, region and server are looked for by the first operation.
    pub fn new(config: S3Config) -> Self {
        let root = if config.prefix.is_empty() { String::new() } else { format!("{}/", config.prefix) };
        let remote = Remote {
            patience: Patience::new(config.stall_timeout),
            root,
            config,
            connection: OnceCell::new(),
            preconditions: Preconditions::default(),
            is_known_to_exist: AtomicBool::new(false),
            aborts: Mutex::default(),
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

    /// What stands in front of every key.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The name of an object in the bucket.
    pub(crate) fn object(&self, key: &Key) -> String {
        format!("{}{key}", self.root)
    }

    /// The URL of an object, for messages.
    pub(crate) fn location(&self, key: &Key) -> String {
        format!("{self}/{key}")
    }

    pub(crate) fn target<'a>(&'a self, operation: Operation, location: &'a str) -> Target<'a> {
        let endpoint = self.connection.get().and_then(|connection| connection.endpoint.as_deref());
        let profile = self.config.profile.as_deref();
        Target { operation, location, bucket: &self.config.bucket, endpoint, profile }
    }

    pub(crate) fn request_payer(&self) -> Option<RequestPayer> {
        self.config.request_payer.then_some(RequestPayer::Requester)
    }

    /// The bucket has answered.
    pub(crate) fn exists(&self) {
        self.is_known_to_exist.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_known_to_exist(&self) -> bool {
        self.is_known_to_exist.load(Ordering::Relaxed)
    }

    /// Lets [`Backend::close`] wait for an abort.
    pub(crate) fn wait_for(&self, abort: JoinHandle<()>) {
        let mut aborts = self.aborts.lock().unwrap_or_else(PoisonError::into_inner);
        aborts.retain(|abort| !abort.is_finished());
        aborts.push(abort);
    }

    fn check(&self, key: &Key, operation: Operation) -> Result<()> {
        if self.root.len() + key.as_str().len() > Key::MAX_LEN {
            let error = Error::new(ErrorKind::InvalidInput, operation, self.location(key));
            return Err(error
                .with_hint("with the prefix of the remote it is longer than the 1,024 bytes that S3 takes"));
        }
        Ok(())
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let S3Config { bucket, prefix, .. } = &self.config;
        if prefix.is_empty() { write!(f, "s3://{bucket}") } else { write!(f, "s3://{bucket}/{prefix}") }
    }
}

impl fmt::Display for S3Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.fmt(f)
    }
}

#[async_trait]
impl Backend for S3Backend {
    fn capabilities(&self) -> Capabilities {
        // Other servers may ignore the condition, and before the first request it is not known which one this is.
        let is_aws = self.remote.connection.get().is_some_and(|connection| connection.endpoint.is_none());
        Capabilities::new(self.remote.preconditions.seem_honoured(), true, Key::MAX_LEN)
            .with_conditional_delete(is_aws)
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.remote.check(key, Operation::Stat)?;
        let meta = get::stat(&self.remote, key).await?;
        self.remote.exists();
        Ok(meta)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.remote.check(key, Operation::Get)?;
        get::get(Arc::clone(&self.remote), key.clone(), options).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.remote.check(key, Operation::Put)?;
        if options.mode == PutMode::CreateOnly {
            // The commit needs to know: found out meanwhile, it costs no time.
            let remote = Arc::clone(&self.remote);
            tokio::spawn(async move { remote.creates_exclusively().await });
        }
        Ok(Box::new(S3Upload::new(Arc::clone(&self.remote), key.clone(), options)))
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        list::list(Arc::clone(&self.remote), prefix, &options)
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.remote.check(key, Operation::Delete)?;
        delete::delete(&self.remote, key, &options).await
    }

    async fn get_ready(&self) -> Result<()> {
        self.remote.connection().await.map(drop)
    }

    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()> {
        let mut first_error = None;
        for orphan in orphans {
            if let Err(error) = multipart::abort_orphan(&self.remote, orphan).await {
                let is_dead = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable);
                first_error.get_or_insert(error);
                if is_dead {
                    // The others would take as long, and somebody waits.
                    break;
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn close(&self) -> Result<()> {
        loop {
            let abort = self.remote.aborts.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(abort) = abort else { return Ok(()) };
            // What could not be aborted is in the journal, and nobody's to hear.
            abort.await.ok();
        }
    }
}
