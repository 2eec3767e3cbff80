//! The servers: the testkit's, and the one that the environment names for the suite.

use std::env;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use larder_backend::{Backend, BackendExt as _, Error, GetOptions, Key, ObjectMeta, PutMode, PutOptions};
use larder_backend_gcs::GcsConfig;
use larder_testkit::gcs::GcsServer;
use larder_testkit::proxy::TcpProxy;
use libtest_mimic::Failed;

pub(crate) const BUCKET: &str = "larder-tests";
pub(crate) const QUANTUM: usize = 256 * 1024;
/// The bytes of one request of an upload in tests.
pub(crate) const CHUNK: usize = 4 * QUANTUM;

/// Starts a server for one test.
pub(crate) fn start() -> Result<GcsServer, Failed> {
    let server = GcsServer::start()?;
    server.create_bucket(BUCKET);
    Ok(server)
}

/// Configures a remote on the server of a test.
pub(crate) fn config_of(server: &GcsServer) -> GcsConfig {
    config_at(&server.endpoint(), &server.grpc_endpoint())
}

pub(crate) fn config_at(endpoint: &str, grpc_endpoint: &str) -> GcsConfig {
    let mut config = GcsConfig::new(BUCKET, "some/prefix").with_chunk_size(CHUNK);
    config.options.endpoint = Some(endpoint.to_owned());
    config.options.grpc_endpoint = Some(grpc_endpoint.to_owned());
    config.options.anonymous = true;
    config
}

/// Starts a proxy in front of the server, and configures a remote behind it. Only uploads and reads use the proxy.
pub(crate) fn config_behind(server: &GcsServer) -> Result<(TcpProxy, GcsConfig), Failed> {
    let proxy = TcpProxy::start(server.address())?;
    let endpoint = format!("http://{}", proxy.address());
    server.announce(endpoint.clone());
    Ok((proxy, config_at(&endpoint, &server.grpc_endpoint())))
}

/// The server of the suite.
///
/// - `LARDER_TEST_GCS_URL`: `gs://bucket/prefix`, where tests may write. Without it, the suite starts the testkit's server.
/// - `LARDER_TEST_GCS_ENDPOINT` and `LARDER_TEST_GCS_GRPC_ENDPOINT`: the URLs of a server that is not Google's.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    bucket: String,
    prefix: String,
    endpoints: Option<(String, String)>,
}

impl Place {
    pub(crate) fn get() -> Result<Self, Failed> {
        let Ok(url) = env::var("LARDER_TEST_GCS_URL") else {
            static SERVER: OnceLock<GcsServer> = OnceLock::new();
            if SERVER.get().is_none() {
                // If several were started at once, one stays.
                SERVER.set(start()?).ok();
            }
            let server = SERVER.get().ok_or("no server")?;
            let endpoints = (server.endpoint(), server.grpc_endpoint());
            return Ok(Self {
                bucket: BUCKET.to_owned(),
                prefix: "suite".to_owned(),
                endpoints: Some(endpoints),
            });
        };
        let rest = url.strip_prefix("gs://").ok_or("LARDER_TEST_GCS_URL is gs://bucket/prefix")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoints =
            env::var("LARDER_TEST_GCS_ENDPOINT").ok().zip(env::var("LARDER_TEST_GCS_GRPC_ENDPOINT").ok());
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned(), endpoints })
    }

    /// Returns the address of a new remote, with which another process can open it.
    pub(crate) fn address(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = format!("test-{}-{number}", std::process::id());
        let (endpoint, grpc_endpoint) = self.endpoints.clone().unwrap_or_default();
        let prefix = [&self.prefix, &own].map(String::as_str).join("/");
        [&self.bucket, prefix.trim_start_matches('/'), &endpoint, &grpc_endpoint].join("|")
    }
}

/// Returns the configuration of a remote at an address.
pub(crate) fn config(address: &str) -> Result<GcsConfig, Failed> {
    let [bucket, prefix, endpoint, grpc_endpoint] =
        address.splitn(4, '|').collect::<Vec<_>>().try_into().map_err(|_| "no address of this suite")?;
    let mut config = GcsConfig::new(bucket, prefix).with_chunk_size(CHUNK);
    if !endpoint.is_empty() {
        config.options.endpoint = Some(endpoint.to_owned());
        config.options.grpc_endpoint = Some(grpc_endpoint.to_owned());
        config.options.anonymous = true;
    }
    Ok(config)
}

pub(crate) fn key(text: &str) -> Result<Key, Failed> {
    Ok(Key::parse(text)?)
}

/// Creates an object, in chunks of 100 kB.
pub(crate) async fn put(backend: &dyn Backend, name: &str, bytes: Bytes) -> Result<ObjectMeta, Error> {
    put_with(backend, name, bytes, PutMode::CreateOnly).await
}

pub(crate) async fn put_with(
    backend: &dyn Backend,
    name: &str,
    mut bytes: Bytes,
    mode: PutMode,
) -> Result<ObjectMeta, Error> {
    let key = Key::parse(name).expect("tests use keys that are valid");
    let options = PutOptions::new(mode).with_size_hint(bytes.len() as u64);
    let mut upload = backend.begin_put(&key, options).await?;
    while !bytes.is_empty() {
        let chunk = bytes.split_to(bytes.len().min(100_000));
        if let Err(error) = upload.write(chunk).await {
            upload.abort().await.ok();
            return Err(error);
        }
    }
    upload.commit().await
}

pub(crate) async fn read(backend: &dyn Backend, name: &str) -> Result<Bytes, Error> {
    let key = Key::parse(name).expect("tests use keys that are valid");
    backend.get_bytes(&key, GetOptions::default(), usize::MAX).await
}

/// Returns an error with its source.
pub(crate) fn explained(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}
