//! A remote on the server, which the test can read without the binary.

use std::ops::Deref;

use futures::TryStreamExt as _;
use larder_backend::{
    Backend as _, BackendExt as _, DeleteOptions, GetOptions, Key, ListOptions, Listed, Prefix, PutMode,
    PutOptions,
};
use larder_backend_gcs::{GcsBackend, GcsConfig};
use larder_tests::{Sandbox, Server};
use tokio::runtime::{Builder, Runtime};

/// A sandbox with a remote below its own prefix, which is emptied at the end.
pub(crate) struct Store {
    sandbox: Sandbox,
    runtime: Runtime,
    backend: GcsBackend,
}

impl Deref for Store {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::on_server(Server::of("gcs"));
        let url = sandbox.remote_url();
        let (bucket, prefix) = url.strip_prefix("gs://").unwrap().split_once('/').unwrap();
        let mut config = GcsConfig::new(bucket, prefix);
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        config.options.endpoint = variable("LARDER_TEST_GCS_ENDPOINT");
        config.options.grpc_endpoint = variable("LARDER_TEST_GCS_GRPC_ENDPOINT");
        config.options.anonymous = config.options.endpoint.is_some();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { sandbox, runtime, backend: GcsBackend::new(config) }
    }

    /// Returns the remote as larder shows it.
    pub(crate) fn shown(&self) -> String {
        self.backend.to_string()
    }

    /// Returns the keys below the prefix in order, without larder's own.
    pub(crate) fn keys(&self) -> Vec<String> {
        let listed = self.backend.list(&Prefix::root(), ListOptions::default());
        let listed: Vec<Listed> = self.runtime.block_on(listed.try_collect()).unwrap();
        let mut keys: Vec<String> = listed
            .into_iter()
            .map(|item| match item {
                Listed::Object(meta) => meta.key.to_string(),
                Listed::Prefix(prefix) => prefix.as_str().to_owned(),
            })
            .filter(|key| !key.starts_with(".larder/"))
            .collect();
        keys.sort();
        keys
    }

    /// Returns the key of the only object.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let mut keys = self.keys();
        assert_eq!(keys.len(), 1, "expected one object: {keys:?}");
        keys.remove(0)
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        let key = Key::parse(key).unwrap();
        let get = self.backend.get_bytes(&key, GetOptions::default(), usize::MAX);
        self.runtime.block_on(get).unwrap().to_vec()
    }

    /// Replaces the bytes of an object.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let key = Key::parse(key).unwrap();
        self.runtime.block_on(async {
            let mut upload = self.backend.begin_put(&key, PutOptions::new(PutMode::Overwrite)).await.unwrap();
            upload.write(bytes.to_vec().into()).await.unwrap();
            upload.commit().await.unwrap();
        });
    }

    /// Removes all objects.
    pub(crate) fn empty_remote(&self) {
        for key in self.keys() {
            self.runtime
                .block_on(self.backend.delete(&Key::parse(key).unwrap(), DeleteOptions::default()))
                .unwrap();
        }
    }

    /// Asserts that an upload left nothing. (An open upload on the server is invisible, and expires.)
    #[track_caller]
    pub(crate) fn assert_nothing_open(&self) {
        self.assert_clean();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The server may be the user's own, so do not fill it.
        if !std::thread::panicking() {
            self.empty_remote();
        }
    }
}
