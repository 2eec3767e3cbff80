//! A server with the interfaces of Google Cloud Storage, and with injected faults.
//!
//! It has the two interfaces that Google's client needs: HTTP for bytes
//! ([the JSON API](https://cloud.google.com/storage/docs/json_api/v1)) and gRPC for everything else
//! ([`google.storage.v2.Storage`](https://cloud.google.com/storage/docs/reference/rpc/google.storage.v2)). It answers an
//! unsupported request with 501 or `UNIMPLEMENTED`, never with a guess. It does not check credentials.

mod call;
mod checksums;
mod content;
mod failure;
mod fault;
mod grpc;
mod http;
mod listing;
mod object;
mod session;
mod store;

use std::env;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::gcs::call::CallLog;
pub use crate::gcs::call::{GcsCall, GcsRequest};
use crate::gcs::content::ContentWriter;
pub use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::GcsRules;
pub use crate::gcs::fault::{GcsAction, GcsRule};
use crate::gcs::object::{Metadata, Preconditions};
use crate::gcs::session::Sessions;
use crate::gcs::store::Store;
use crate::proxy::Fired;
use crate::proxy::worker::Worker;

/// The server, on two free ports of 127.0.0.1. Drop closes its connections and discards its data.
///
/// ```no_run
/// use larder_testkit::gcs::{GcsCall, GcsFailure, GcsRule, GcsServer};
///
/// # fn main() -> std::io::Result<()> {
/// # fn push_to(endpoint: String, grpc_endpoint: String) {}
/// let server = GcsServer::start()?;
/// server.create_bucket("larder");
/// let slow_down = GcsFailure::too_many_requests().retry_after(0);
/// let slowed = server.fail(GcsRule::new(slow_down).on_call(GcsCall::UploadChunk).times(2));
///
/// push_to(server.endpoint(), server.grpc_endpoint());
/// assert_eq!(slowed.count(), 2);
/// assert_eq!(server.objects("larder").len(), 1);
/// assert_eq!(server.count(|request| request.call() == GcsCall::ReadObject), 0);
/// assert!(server.open_uploads().is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct GcsServer {
    shared: Arc<GcsServerState>,
    http: Worker,
    grpc: Worker,
}

/// An object, as tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcsObject {
    /// The name of the object.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its generation.
    pub generation: i64,
    /// Its content type, if the client set one.
    pub content_type: Option<String>,
    /// Its content encoding, if the client set one.
    pub content_encoding: Option<String>,
}

/// A resumable upload that is neither finished nor canceled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcsOpenUpload {
    /// The bucket of the object.
    pub bucket: String,
    /// The name of the object.
    pub object: String,
    /// The number of bytes that the server has stored.
    pub persisted: u64,
}

#[derive(Debug)]
struct GcsServerState {
    /// The directory for contents that are too large for memory.
    dir: PathBuf,
    /// The endpoint in the URLs of uploads. The `Host` header of a request may name another server.
    announced: Mutex<String>,
    /// The prefix of the names that may be created. By default all may.
    creatable: Mutex<Option<String>>,
    store: Store,
    sessions: Sessions,
    rules: GcsRules,
    log: CallLog,
}

impl GcsServerState {
    fn announced(&self) -> String {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn announce(&self, url: String) {
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn creatable(&self) -> Option<String> {
        self.creatable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl GcsServer {
    /// Starts a server without buckets. Large contents go to files in the system's temporary directory.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses a socket or a thread.
    pub fn start() -> io::Result<Self> {
        Self::start_in(&env::temp_dir())
    }

    /// Starts a server without buckets. Large contents go to unnamed files in this directory, which need no cleanup.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses a socket or a thread.
    pub fn start_in(dir: &Path) -> io::Result<Self> {
        let shared = Arc::new(GcsServerState {
            dir: dir.to_owned(),
            announced: Mutex::default(),
            creatable: Mutex::default(),
            store: Store::default(),
            sessions: Sessions::default(),
            rules: GcsRules::default(),
            log: CallLog::default(),
        });
        let [serving_http, serving_grpc] = [&shared, &shared].map(Arc::clone);
        let http = Worker::start("larder-gcs-http", |listener| http::serve(listener, serving_http))?;
        let grpc = Worker::start("larder-gcs-grpc", |listener| grpc::serve(listener, serving_grpc))?;
        shared.announce(format!("http://{}", http.address()));
        Ok(Self { shared, http, grpc })
    }

    /// Returns the URL for clients of the JSON API, without a trailing slash.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the URL for clients of gRPC, without a trailing slash.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc_address())
    }

    /// Returns the address for HTTP.
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Returns the address for gRPC.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Sets the endpoint in the URLs of resumable uploads, such as that of a proxy in front of this server.
    pub fn announce(&self, endpoint: impl Into<String>) {
        self.shared.announce(endpoint.into());
    }

    /// Denies the creation of objects whose names do not begin with `prefix`, as an IAM condition does. The caller then has no
    /// permission to create objects on any bucket as a whole.
    pub fn restrict_creation(&self, prefix: impl Into<String>) {
        *self.shared.creatable.lock().unwrap_or_else(PoisonError::into_inner) = Some(prefix.into());
    }

    /// Creates a bucket without a request, unless it exists.
    pub fn create_bucket(&self, name: &str) {
        // The only failure is that the bucket exists.
        let _ = self.shared.store.create_bucket(name);
    }

    /// Returns the objects of a bucket, sorted by name. Returns none if the bucket does not exist.
    pub fn objects(&self, bucket: &str) -> Vec<GcsObject> {
        let objects = self.shared.store.objects(bucket).unwrap_or_default();
        let seen = objects.iter().map(|object| GcsObject {
            name: object.name.clone(),
            size: object.content.len(),
            generation: object.generation,
            content_type: object.metadata.content_type.clone(),
            content_encoding: object.metadata.content_encoding.clone(),
        });
        seen.collect()
    }

    /// Returns the bytes of an object, if it exists.
    pub fn contents(&self, bucket: &str, object: &str) -> Option<Bytes> {
        let object = self.shared.store.get(bucket, object, None, &Preconditions::default()).ok()?;
        let mut bytes = BytesMut::new();
        for piece in object.content.pieces() {
            bytes.extend_from_slice(&piece.ok()?);
        }
        Some(bytes.freeze())
    }

    /// Inserts or replaces an object without a request, and returns its generation.
    ///
    /// # Panics
    ///
    /// Panics if the bucket does not exist, the name is not valid, or the disk is full.
    pub fn insert(&self, bucket: &str, object: &str, contents: &[u8]) -> i64 {
        let mut writer = ContentWriter::new(&self.shared.dir);
        writer.append(contents).expect("there is room for the test's object");
        let whole = writer.finish(false).expect("nothing is left to compute");
        let metadata = Metadata::default();
        let made = self.shared.store.insert(bucket, object, metadata, whole, &Preconditions::default());
        made.expect("the test passes an existing bucket and a valid name").generation
    }

    /// Removes an object without a request.
    pub fn remove(&self, bucket: &str, object: &str) {
        let _ = self.shared.store.delete(bucket, object, None, &Preconditions::default());
    }

    /// Returns the resumable uploads that are neither finished, nor canceled, nor refused.
    pub fn open_uploads(&self) -> Vec<GcsOpenUpload> {
        let sessions = self.shared.sessions.all();
        let open = sessions.iter().filter_map(|session| {
            let persisted = session.persisted()?;
            let (bucket, object) = (session.purpose.bucket.clone(), session.purpose.object.clone());
            Some(GcsOpenUpload { bucket, object, persisted })
        });
        open.collect()
    }

    /// Adds a rule, and returns the count of its uses. If several rules match a request, the first one that was added
    /// applies.
    pub fn fail(&self, rule: GcsRule) -> Fired {
        self.shared.rules.add(rule)
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.shared.rules.clear();
    }

    /// Returns the requests so far, in the order in which they arrived.
    pub fn requests(&self) -> Vec<GcsRequest> {
        self.shared.log.all()
    }

    /// Returns the requests so far, and clears the log.
    pub fn take_requests(&self) -> Vec<GcsRequest> {
        self.shared.log.take()
    }

    /// Counts the requests in the log that match.
    pub fn count(&self, such: impl Fn(&GcsRequest) -> bool) -> usize {
        self.requests().iter().filter(|request| such(request)).count()
    }

    /// Writes a line for each request when it ends.
    pub fn log_to(&self, sink: impl Write + Send + 'static) {
        self.shared.log.write_to(Box::new(sink));
    }
}
