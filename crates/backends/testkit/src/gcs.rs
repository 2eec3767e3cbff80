//! A server that speaks as Google Cloud Storage does, and goes wrong where a test says so.
//!
//! It has the two interfaces that Google's client needs: HTTP for bytes
//! ([the JSON API](https://cloud.google.com/storage/docs/json_api/v1)) and gRPC for all else
//! ([`google.storage.v2.Storage`](https://cloud.google.com/storage/docs/reference/rpc/google.storage.v2)). What it does
//! not imitate it answers with 501 or `UNIMPLEMENTED`, never with a guess. Credentials are not looked at.

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

use crate::gcs::call::Log;
pub use crate::gcs::call::{GcsCall, GcsRequest};
use crate::gcs::content::Writer;
pub use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::Rules;
pub use crate::gcs::fault::{GcsAction, GcsRule};
use crate::gcs::object::{Metadata, Preconditions};
use crate::gcs::session::Sessions;
use crate::gcs::store::Store;
use crate::proxy::Fired;
use crate::proxy::worker::Worker;

/// The server, on two free ports of 127.0.0.1. Dropped, it ends with all its connections and data.
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

/// An object, as a test looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcsObject {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its generation.
    pub generation: i64,
    /// What its maker said that it is.
    pub content_type: Option<String>,
    /// How its maker said that it is encoded.
    pub content_encoding: Option<String>,
}

/// A resumable upload that is neither finished nor cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcsUpload {
    /// The bucket of the object that is to be.
    pub bucket: String,
    /// Its name.
    pub object: String,
    /// How many of its bytes the server keeps.
    pub persisted: u64,
}

#[derive(Debug)]
struct GcsServerState {
    /// Where contents go that are too large for memory.
    dir: PathBuf,
    /// What the addresses of uploads begin with: clients need not send a `Host` that leads here.
    announced: Mutex<String>,
    store: Store,
    sessions: Sessions,
    rules: Rules,
    log: Log,
}

impl GcsServerState {
    fn announced(&self) -> String {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn announce(&self, url: String) {
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

impl GcsServer {
    /// Starts it without a bucket. Large contents are in files in the directory for temporary files.
    ///
    /// # Errors
    ///
    /// No socket or no thread can be had.
    pub fn start() -> io::Result<Self> {
        Self::start_in(&env::temp_dir())
    }

    /// Starts it with large contents in files in this directory. They have no names, and need not be removed.
    ///
    /// # Errors
    ///
    /// No socket or no thread can be had.
    pub fn start_in(dir: &Path) -> io::Result<Self> {
        let shared = Arc::new(GcsServerState {
            dir: dir.to_owned(),
            announced: Mutex::default(),
            store: Store::default(),
            sessions: Sessions::default(),
            rules: Rules::default(),
            log: Log::default(),
        });
        let [serving_http, serving_grpc] = [&shared, &shared].map(Arc::clone);
        let http = Worker::start("larder-gcs-http", |listener| http::serve(listener, serving_http))?;
        let grpc = Worker::start("larder-gcs-grpc", |listener| grpc::serve(listener, serving_grpc))?;
        shared.announce(format!("http://{}", http.address()));
        Ok(Self { shared, http, grpc })
    }

    /// Where clients of the JSON API connect to, as a URL without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where clients of gRPC connect to, as a URL without a slash at its end.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc_address())
    }

    /// Where it listens for HTTP.
    pub fn address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Where it listens for gRPC.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Lets the addresses of resumable uploads lead to another endpoint: a proxy's in front of this server.
    pub fn announce(&self, endpoint: impl Into<String>) {
        self.shared.announce(endpoint.into());
    }

    /// Makes a bucket without a request. One that is there stays.
    pub fn create_bucket(&self, name: &str) {
        // The only failure is that it is there.
        let _ = self.shared.store.create_bucket(name);
    }

    /// The objects of a bucket, by name; none where there is no bucket.
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

    /// The bytes of an object, if it is there.
    pub fn contents(&self, bucket: &str, object: &str) -> Option<Bytes> {
        let object = self.shared.store.get(bucket, object, None, &Preconditions::default()).ok()?;
        let mut bytes = BytesMut::new();
        for piece in object.content.pieces() {
            bytes.extend_from_slice(&piece.ok()?);
        }
        Some(bytes.freeze())
    }

    /// Puts an object without a request, in the place of one that is there, and returns its generation.
    ///
    /// # Panics
    ///
    /// There is no such bucket, no object has such a name, or there is no room.
    pub fn insert(&self, bucket: &str, object: &str, contents: &[u8]) -> i64 {
        let mut writer = Writer::new(&self.shared.dir);
        writer.append(contents).expect("there is room for the test's object");
        let whole = writer.finish(false).expect("nothing is left to compute");
        let metadata = Metadata::default();
        let made = self.shared.store.insert(bucket, object, metadata, whole, &Preconditions::default());
        made.expect("the test names a bucket that is there, and an object that may be").generation
    }

    /// Removes an object without a request.
    pub fn remove(&self, bucket: &str, object: &str) {
        let _ = self.shared.store.delete(bucket, object, None, &Preconditions::default());
    }

    /// The resumable uploads that are neither finished nor cancelled nor refused.
    pub fn open_uploads(&self) -> Vec<GcsUpload> {
        let sessions = self.shared.sessions.all();
        let open = sessions.iter().filter_map(|session| {
            let persisted = session.persisted()?;
            let (bucket, object) = (session.purpose.bucket.clone(), session.purpose.object.clone());
            Some(GcsUpload { bucket, object, persisted })
        });
        open.collect()
    }

    /// Adds a rule, and returns the count of how often it did what it says. Where several hit a request, the one that was
    /// added first counts.
    pub fn fail(&self, rule: GcsRule) -> Fired {
        self.shared.rules.add(rule)
    }

    /// Forgets all rules.
    pub fn heal(&self) {
        self.shared.rules.clear();
    }

    /// The requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<GcsRequest> {
        self.shared.log.all()
    }

    /// The requests since the log was taken last.
    pub fn take_requests(&self) -> Vec<GcsRequest> {
        self.shared.log.take()
    }

    /// How many of the requests in the log are such.
    pub fn count(&self, such: impl Fn(&GcsRequest) -> bool) -> usize {
        self.requests().iter().filter(|request| such(request)).count()
    }

    /// Writes a line for each request when it has ended.
    pub fn log_to(&self, sink: impl Write + Send + 'static) {
        self.shared.log.write_to(Box::new(sink));
    }
}
