//! The backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, DeleteOptions, ErrorKind, GetOptions, GetResult, Key, ListOptions, ObjectMeta,
    ObjectStream, Operation, Prefix, PutMode, PutOptions, Result, Upload, UploadToken,
};

use crate::config::S3Config;
use crate::context::S3Context;
use crate::probe::create_only_support;
use crate::upload::S3Upload;
use crate::{delete, get, list, multipart};

/// A remote in a bucket. Its `Display` is `s3://bucket/prefix`.
#[derive(Debug)]
pub struct S3Backend {
    context: Arc<S3Context>,
}

impl S3Backend {
    /// Opens a remote. Makes no request: the first operation looks for credentials, region and server.
    pub fn new(config: S3Config) -> Self {
        Self { context: Arc::new(S3Context::new(config)) }
    }
}

impl fmt::Display for S3Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.context.fmt(f)
    }
}

#[async_trait]
impl Backend for S3Backend {
    fn capabilities(&self) -> Capabilities {
        // Other servers may ignore the condition of a deletion.
        Capabilities::new(self.context.create_only.is_believed(), true, Key::MAX_LEN)
            .with_conditional_delete(self.context.is_aws())
            .with_ordered_list(self.context.lists_in_order())
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.context.root.check(key, Operation::Stat)?;
        let meta = get::stat(&self.context, key).await?;
        self.context.exists();
        Ok(meta)
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.context.root.check(key, Operation::Get)?;
        get::get(Arc::clone(&self.context), key.clone(), options).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.context.root.check(key, Operation::Put)?;
        if options.mode == PutMode::CreateOnly {
            // The commit needs the answer. Asking now makes it wait less.
            let context = Arc::clone(&self.context);
            tokio::spawn(async move { create_only_support(&context).await });
        }
        Ok(Box::new(S3Upload::new(Arc::clone(&self.context), key.clone(), options)))
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

    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()> {
        let mut first_error = None;
        for orphan in orphans {
            if let Err(error) = multipart::abort_orphan(&self.context, orphan).await {
                let is_dead = matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable);
                first_error.get_or_insert(error);
                if is_dead {
                    // The others would take as long, and the user waits.
                    break;
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn close(&self) -> Result<()> {
        // The journal remembers an upload that could not be aborted.
        self.context.aborts.wait().await;
        Ok(())
    }
}
