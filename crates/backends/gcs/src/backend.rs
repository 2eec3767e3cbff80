//! The backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, DeleteOptions, GetOptions, GetResult, Key, ListOptions, ObjectMeta, ObjectStream,
    Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};

use crate::config::GcsConfig;
use crate::context::GcsContext;
use crate::upload::GcsUpload;
use crate::{access, delete, get, list};

/// A remote in a bucket. Its `Display` is `gs://bucket/prefix`.
#[derive(Debug)]
pub struct GcsBackend {
    context: Arc<GcsContext>,
}

impl GcsBackend {
    /// Opens a remote. Makes no request: the first operation looks for credentials.
    pub fn new(config: GcsConfig) -> Self {
        Self { context: Arc::new(GcsContext::new(config)) }
    }
}

impl fmt::Display for GcsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.fmt(f)
    }
}

#[async_trait]
impl Backend for GcsBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(true, true, Key::MAX_LEN).with_conditional_delete(true).with_ordered_list(true)
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.context.root.check(key, Operation::Stat)?;
        get::stat(&self.context, key).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.context.root.check(key, Operation::Get)?;
        get::get(Arc::clone(&self.context), key.clone(), options).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.context.root.check(key, Operation::Put)?;
        Ok(Box::new(GcsUpload::new(Arc::clone(&self.context), key.clone(), &options)))
    }

    async fn check_put(&self, key: &Key) -> Result<()> {
        self.context.root.check(key, Operation::Put)?;
        access::check_put(&self.context, key).await
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        options.limited(list::list(Arc::clone(&self.context), prefix, &options))
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.context.root.check(key, Operation::Delete)?;
        delete::delete(&self.context, key, &options).await
    }

    async fn get_ready(&self) -> Result<()> {
        self.context.connection().await.map(drop)
    }

    async fn sweep(&self, _orphans: &[UploadToken]) -> Result<()> {
        // The server deletes an unfinished upload after a week, and bills nobody for it.
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        // The server deletes an upload that could not be aborted.
        self.context.aborts.wait().await;
        Ok(())
    }
}
