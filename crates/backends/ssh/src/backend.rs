//! The backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::{
    Backend, Capabilities, CreatedRoot, DeleteOptions, ErrorKind, GetOptions, GetResult, Key, ListOptions,
    ObjectMeta, ObjectStream, Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};
use larder_backend_files::layout::MAX_NAME_LEN;

use crate::config::SshConfig;
use crate::connection::SftpConnection;
use crate::context::SshContext;
use crate::error::Trouble;
use crate::object::{describe, look};
use crate::root::SshRoot;
use crate::upload::SshUpload;
use crate::{get, list, sweep};

/// A remote in a directory on another machine. `Display` shows its URL.
#[derive(Debug)]
pub struct SshBackend {
    context: Arc<SshContext>,
}

impl SshBackend {
    /// Describes a remote. The first operation reads files and asks for passphrases, not this call. The root need not exist:
    /// the first upload creates its last component, and until then the remote is empty. If the directory above it is
    /// missing too, every operation fails with [`RootMissing`].
    ///
    /// [`RootMissing`]: larder_backend::ErrorKind::RootMissing
    pub fn new(config: SshConfig) -> Self {
        Self { context: Arc::new(SshContext::new(config)) }
    }
}

impl fmt::Display for SshBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.context.root.url())
    }
}

#[async_trait]
impl Backend for SshBackend {
    fn capabilities(&self) -> Capabilities {
        // Version 3 of SFTP renames without replacing, and libssh2 has no other rename. So an overwrite is two steps.
        Capabilities::new(true, false, MAX_NAME_LEN)
    }

    fn created_root(&self) -> Option<CreatedRoot> {
        self.context.root.created()
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        get::stat(&self.context, key).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        get::get(&self.context, key, &options).await
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        self.context.root.check(key, Operation::Put)?;
        let upload = SshUpload::begin(Arc::clone(&self.context), key.clone(), options).await?;
        Ok(Box::new(upload))
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        options.limited(list::list(&self.context, prefix, &options))
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        let context = Arc::clone(&self.context);
        context.root.check(key, Operation::Delete)?;
        let task = context.pool.task(Operation::Delete, context.root.location(key));
        let (pool, key) = (Arc::clone(&context.pool), key.clone());
        pool.run(task, move |connection, _| delete(&context.root, connection, &key, &options)).await
    }

    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()> {
        if orphans.is_empty() {
            return Ok(());
        }
        let context = Arc::clone(&self.context);
        let mut task = context.pool.task(Operation::Sweep, context.root.url());
        task.patience = task.patience.for_cleaning_up();
        let (pool, orphans) = (Arc::clone(&context.pool), orphans.to_vec());
        pool.run(task, move |connection, _| match context.root.find(connection) {
            Err(trouble) if trouble.kind == ErrorKind::RootMissing => Ok(()),
            root => root?.map_or(Ok(()), |root| sweep::sweep(connection, &root, &orphans)),
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.context.finish().await;
        self.context.pool.close().await;
        Ok(())
    }
}

/// Deletes an object. SFTP cannot compare and remove in one step: a file that another client publishes between `lstat` and
/// `remove` is deleted.
fn delete(
    root: &SshRoot,
    connection: &SftpConnection,
    key: &Key,
    options: &DeleteOptions,
) -> Result<(), Trouble> {
    let Some(root) = root.find(connection)? else { return Ok(()) };
    let path = root.path_of(key.as_str());
    match look(connection, &root, key) {
        // Only regular files are objects. Everything else stays.
        Ok(None) => return Ok(()),
        Ok(Some(stat)) => {
            let meta = describe(key.clone(), stat.size.unwrap_or_default(), stat.mtime.unwrap_or_default());
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
