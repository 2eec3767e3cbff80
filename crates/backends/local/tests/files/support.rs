//! A remote in a temporary directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use larder_backend::{Backend, Key, ListOptions, Listed, ObjectMeta, Prefix, PutOptions};
use larder_backend_local::{LocalBackend, LocalConfig};
use tempfile::TempDir;

pub(crate) fn remote() -> (TempDir, LocalBackend) {
    let directory = tempfile::tempdir().unwrap();
    let backend = LocalBackend::open(LocalConfig::new(directory.path())).unwrap();
    (directory, backend)
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub(crate) async fn put(
    backend: &LocalBackend,
    name: &str,
    bytes: impl Into<Bytes>,
) -> larder_backend::Result<ObjectMeta> {
    let mut upload = backend.begin_put(&key(name), PutOptions::default()).await?;
    upload.write(bytes.into()).await?;
    upload.commit().await
}

pub(crate) async fn list(backend: &LocalBackend, options: ListOptions) -> Vec<String> {
    let items: Vec<Listed> = backend.list(&Prefix::root(), options).try_collect().await.unwrap();
    let mut names: Vec<String> = items
        .into_iter()
        .map(|item| match item {
            Listed::Object(meta) => meta.key.to_string(),
            Listed::Prefix(prefix) => prefix.to_string(),
        })
        .collect();
    names.sort();
    names
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

pub(crate) fn temporaries(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(".larder/1/tmp")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
