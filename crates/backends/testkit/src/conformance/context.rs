//! The context of a test of the suite.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use larder_backend::{
    Backend, BackendExt, Error, GetOptions, Key, ListOptions, Listed, ObjectMeta, Prefix, PutMode,
    PutOptions, Upload,
};
use libtest_mimic::Failed;

use crate::conformance::{Features, TestRemote, TestedBackend};

/// An empty remote and its backend.
pub(super) struct TestContext {
    pub(super) subject: Arc<dyn TestedBackend>,
    pub(super) remote: TestRemote,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) features: Features,
}

impl TestContext {
    pub(super) async fn new(subject: Arc<dyn TestedBackend>) -> Result<Self, Failed> {
        let remote = subject.create().await?;
        let backend = subject.open(&remote.address).await?;
        let features = subject.features();
        Ok(Self { subject, remote, backend, features })
    }

    pub(super) fn address(&self) -> &str {
        &self.remote.address
    }

    /// Begins an upload and writes some bytes.
    pub(super) async fn begin(&self, key: &Key, bytes: Bytes) -> Result<Box<dyn Upload>, Error> {
        let mut upload = self.backend.begin_put(key, PutOptions::default()).await?;
        upload.write(bytes).await?;
        Ok(upload)
    }

    /// Writes a whole object.
    pub(super) async fn put_as(
        &self,
        mode: PutMode,
        key: &Key,
        bytes: impl Into<Bytes>,
    ) -> Result<ObjectMeta, Error> {
        put(&*self.backend, mode, key, bytes.into()).await
    }

    /// Creates an object.
    pub(super) async fn put(&self, key: &Key, bytes: impl Into<Bytes>) -> Result<ObjectMeta, Error> {
        self.put_as(PutMode::CreateOnly, key, bytes).await
    }

    /// Reads a whole object.
    pub(super) async fn read(&self, key: &Key) -> Result<Bytes, Error> {
        self.backend.get_bytes(key, GetOptions::default(), usize::MAX).await
    }

    /// Lists objects and common prefixes by their text. Fails if an item is listed twice.
    pub(super) async fn list(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> Result<BTreeMap<String, Option<ObjectMeta>>, Failed> {
        let mut items = BTreeMap::new();
        let mut stream = self.backend.list(&Prefix::parse(prefix)?, options);
        while let Some(item) = stream.try_next().await? {
            let (text, meta) = match item {
                Listed::Object(meta) => (meta.key.to_string(), Some(meta)),
                Listed::Prefix(prefix) => (prefix.to_string(), None),
            };
            if items.insert(text.clone(), meta).is_some() {
                return Err(format!("{text} is listed twice").into());
            }
        }
        Ok(items)
    }

    /// Returns the keys of all objects.
    pub(super) async fn keys(&self) -> Result<Vec<String>, Failed> {
        Ok(self.list("", ListOptions::default()).await?.into_keys().collect())
    }

    /// Fails if any operation sees the key.
    pub(super) async fn assert_invisible(&self, key: &Key) -> Result<(), Failed> {
        if self.backend.stat_if_exists(key).await?.is_some() {
            return Err(format!("stat sees {key}").into());
        }
        match self.backend.get(key, GetOptions::default()).await {
            Err(error) if error.is_not_found() => {}
            other => return Err(format!("reading {key} gave {other:?}").into()),
        }
        match self.keys().await? {
            keys if keys.iter().any(|listed| listed == key.as_str()) => {
                Err(format!("{key} is listed").into())
            }
            _ => Ok(()),
        }
    }

    /// Fails if unfinished uploads have left something behind, and the subject can count it.
    pub(super) async fn assert_no_leftovers(&self) -> Result<(), Failed> {
        match self.subject.leftovers(self.address()).await? {
            None | Some(0) => Ok(()),
            Some(count) => Err(format!("{count} unfinished uploads are left").into()),
        }
    }
}

/// Writes a whole object. Aborts the upload if that fails.
pub(super) async fn put(
    backend: &dyn Backend,
    mode: PutMode,
    key: &Key,
    bytes: Bytes,
) -> Result<ObjectMeta, Error> {
    let options = PutOptions::new(mode).with_size_hint(bytes.len() as u64);
    let mut upload = backend.begin_put(key, options).await?;
    match upload.write(bytes).await {
        Ok(()) => upload.commit().await,
        Err(error) => {
            upload.abort().await?;
            Err(error)
        }
    }
}

/// Parses a key of a test.
pub(super) fn key(text: &str) -> Result<Key, Failed> {
    Ok(Key::parse(text)?)
}
