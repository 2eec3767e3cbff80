//! The server that the environment names.

use std::env;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::Client;
use bytes::Bytes;
use larder_backend::{Backend, Key, PutOptions, UploadJournal, UploadToken};
use larder_backend_s3::{S3Backend, S3Config};
use libtest_mimic::Failed;

/// The smallest part that S3 accepts, in bytes. Tests need many parts, not large ones.
pub(crate) const PART_SIZE: usize = 5 * 1024 * 1024;

/// The reason why a test cannot run on every server.
pub(crate) const NO_PROXY: &str =
    "needs a server without TLS at AWS_ENDPOINT_URL_S3, to put a proxy in front of it";

/// A bucket for tests. The AWS variables have its endpoint and credentials.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    bucket: String,
    /// Tests may write below this prefix.
    place: String,
}

impl Server {
    /// Returns the bucket of `LARDER_TEST_S3_URL`.
    pub(crate) fn from_env() -> Option<Self> {
        let url = env::var("LARDER_TEST_S3_URL").ok()?;
        let place = url.strip_prefix("s3://")?.split('?').next()?;
        let (bucket, place) = place.split_once('/').unwrap_or((place, ""));
        Some(Self { bucket: bucket.to_owned(), place: place.trim_matches('/').to_owned() })
    }

    pub(crate) fn required() -> Result<Self, Failed> {
        Self::from_env().ok_or_else(|| "LARDER_TEST_S3_URL names no bucket".into())
    }

    /// Opens a remote in the bucket.
    pub(crate) fn config(&self, prefix: &str) -> S3Config {
        S3Config::new(&self.bucket, prefix).with_part_size(PART_SIZE)
    }

    /// Returns a new prefix.
    pub(crate) fn prefix(&self) -> String {
        let own = format!("test-{:016x}", fastrand::u64(..));
        if self.place.is_empty() { own } else { format!("{}/{own}", self.place) }
    }

    /// Returns the address of the server, for a proxy in front of it.
    pub(crate) fn address() -> Result<SocketAddr, Failed> {
        let url = env::var("AWS_ENDPOINT_URL_S3").or_else(|_| env::var("AWS_ENDPOINT_URL"));
        let url =
            url.map_err(|_| "faults are injected between larder and a server with AWS_ENDPOINT_URL_S3")?;
        let host = url.strip_prefix("http://").ok_or("a proxy needs a server without TLS")?;
        host.trim_end_matches('/')
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| "the endpoint has no address".into())
    }

    /// Opens a new remote at another endpoint.
    pub(crate) fn through(&self, endpoint: &str) -> S3Backend {
        self.at(&self.prefix(), endpoint)
    }

    /// Opens a remote at another endpoint.
    pub(crate) fn at(&self, prefix: &str, endpoint: &str) -> S3Backend {
        S3Backend::new(self.config_at(prefix, endpoint))
    }

    /// Configures a remote at another endpoint.
    pub(crate) fn config_at(&self, prefix: &str, endpoint: &str) -> S3Config {
        let mut config = self.config(prefix);
        config.options.endpoint = Some(endpoint.to_owned());
        config
    }

    /// Counts the multipart uploads that are open below a prefix. MinIO finds them by the empty prefix only.
    pub(crate) async fn open_uploads(&self, prefix: &str) -> Result<usize, Failed> {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let client = Client::from_conf(config);
        let mut count = 0;
        let (mut key, mut id) = (None, None);
        loop {
            let request = client.list_multipart_uploads().bucket(&self.bucket);
            let page = request.set_key_marker(key).set_upload_id_marker(id).send().await?;
            let below = |key: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
            count += page.uploads().iter().filter(|upload| upload.key().is_some_and(below)).count();
            if !page.is_truncated().unwrap_or_default() {
                return Ok(count);
            }
            key = page.next_key_marker().map(str::to_owned);
            id = page.next_upload_id_marker().map(str::to_owned);
        }
    }
}

pub(crate) fn key(text: &str) -> Result<Key, Failed> {
    Ok(Key::parse(text)?)
}

/// Creates an object, in chunks of a MiB.
pub(crate) async fn put(
    backend: &dyn Backend,
    name: &str,
    bytes: impl Into<Bytes>,
) -> Result<(), larder_backend::Error> {
    put_with(backend, name, bytes.into(), PutOptions::default()).await
}

pub(crate) async fn put_with(
    backend: &dyn Backend,
    name: &str,
    mut bytes: Bytes,
    options: PutOptions,
) -> Result<(), larder_backend::Error> {
    let key = Key::parse(name).expect("tests use keys that are valid");
    let mut upload = backend.begin_put(&key, options).await?;
    while !bytes.is_empty() {
        let chunk = bytes.split_to(bytes.len().min(1024 * 1024));
        if let Err(error) = upload.write(chunk).await {
            upload.abort().await.ok();
            return Err(error);
        }
    }
    upload.commit().await.map(drop)
}

/// A journal in memory.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<UploadToken>>);

impl Notes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the open uploads.
    pub(crate) fn open(&self) -> Vec<UploadToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl UploadJournal for Notes {
    fn opened(&self, token: &UploadToken) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(token.clone());
        Ok(())
    }

    fn closed(&self, token: &UploadToken) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| open != token);
    }
}
