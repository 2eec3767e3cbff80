//! A backend with injected faults.

mod put;
mod script;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use larder_backend::{
    Backend, ByteStream, Capabilities, CreatedRoot, DeleteOptions, GetOptions, GetResult, Key, ListOptions,
    ObjectMeta, ObjectStream, Operation, Prefix, PutOptions, Result, Upload, UploadToken,
};

use crate::faulty::put::FaultyUpload;
pub use crate::faulty::script::{Effect, Fault};
use crate::faulty::script::{FaultScript, StreamDamage, Then, injected};

/// Wraps a backend and injects [`Fault`]s. Clones share the faults.
///
/// ```
/// use larder_backend::{BackendExt, ErrorKind, GetOptions, Key, Operation};
/// use larder_testkit::{Effect, Fault, FaultyBackend, MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let remote = MemoryBackend::new();
/// let key = Key::parse("model/c/h")?;
/// remote.insert(&key, "bytes");
///
/// let faulty = FaultyBackend::new(remote);
/// faulty.inject(Fault::new(Operation::Get, Effect::TruncateAt(2)));
/// assert_eq!(faulty.get_bytes(&key, GetOptions::default(), 10).await?, "by");
/// assert_eq!(faulty.get_bytes(&key, GetOptions::default(), 10).await?, "bytes", "the fault happens once");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyBackend {
    inner: Arc<dyn Backend>,
    script: Arc<FaultScript>,
}

impl FaultyBackend {
    /// Wraps a backend, without faults.
    pub fn new(inner: impl Backend) -> Self {
        Self::wrap(Arc::new(inner))
    }

    /// Wraps a shared backend, without faults.
    pub fn wrap(inner: Arc<dyn Backend>) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Adds a fault. If several match a call, the first one that was added applies.
    pub fn inject(&self, fault: Fault) {
        self.script.add(fault);
    }

    /// Returns the faults that have not yet happened as often as they should. A test can assert that there are none.
    pub fn pending(&self) -> Vec<Fault> {
        self.script.pending()
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.script.clear();
    }

    fn location(&self, target: &str) -> String {
        format!("{}/{target}", self.inner)
    }

    /// Runs an operation that has no stream of bytes.
    async fn run<T>(
        &self,
        operation: Operation,
        target: &str,
        inner: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.script.next(operation, target) {
            Some(effect) => effect.around(operation, &self.location(target), inner).await,
            None => inner.await,
        }
    }
}

impl fmt::Display for FaultyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl Backend for FaultyBackend {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.run(Operation::Stat, key.as_str(), self.inner.stat(key)).await
    }

    async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let inner = self.inner.get(key, options);
        let Some(effect) = self.script.next(Operation::Get, key.as_str()) else { return inner.await };
        let location = self.location(key.as_str());
        match effect.damage() {
            Some(damage) => {
                let GetResult { meta, stream, .. } = inner.await?;
                Ok(GetResult::new(meta, damaged(stream, damage, location)))
            }
            None => effect.around(Operation::Get, &location, inner).await,
        }
    }

    async fn begin_put(&self, key: &Key, options: PutOptions) -> Result<Box<dyn Upload>> {
        let inner = self.inner.begin_put(key, options);
        let location = self.location(key.as_str());
        let (damage, upload) = match self.script.next(Operation::Put, key.as_str()) {
            None => (None, inner.await?),
            Some(effect) => match effect.damage() {
                Some(damage) => (Some(damage), inner.await?),
                None => (None, effect.around(Operation::Put, &location, inner).await?),
            },
        };
        let script = Arc::clone(&self.script);
        Ok(Box::new(FaultyUpload::new(upload, script, key.clone(), location, damage)))
    }

    async fn get_ready(&self) -> Result<()> {
        self.run(Operation::Open, "", self.inner.get_ready()).await
    }

    fn created_root(&self) -> Option<CreatedRoot> {
        self.inner.created_root()
    }

    fn list(&self, prefix: &Prefix, options: ListOptions) -> ObjectStream {
        let inner = self.inner.list(prefix, options);
        let (script, prefix) = (Arc::clone(&self.script), prefix.clone());
        let location = self.location(prefix.as_str());
        let listing = async move {
            match script.next(Operation::List, prefix.as_str()) {
                None => inner,
                Some(effect) => effect.on_list(inner, &location).await,
            }
        };
        listing.into_stream().flatten().boxed()
    }

    async fn delete(&self, key: &Key, options: DeleteOptions) -> Result<()> {
        self.run(Operation::Delete, key.as_str(), self.inner.delete(key, options)).await
    }

    async fn sweep(&self, orphans: &[UploadToken]) -> Result<()> {
        self.run(Operation::Sweep, "", self.inner.sweep(orphans)).await
    }

    async fn close(&self) -> Result<()> {
        self.run(Operation::Close, "", self.inner.close()).await
    }
}

/// Applies damage to a stream of bytes.
fn damaged(stream: ByteStream, damage: StreamDamage, location: String) -> ByteStream {
    stream::unfold(Some((stream, damage, location)), |state| async move {
        let (mut stream, mut damage, location) = state?;
        let (mut items, then) = match stream.next().await {
            None => (Vec::new(), damage.at_end()),
            Some(Err(error)) => (vec![Err(error)], Then::End),
            Some(Ok(chunk)) => {
                let (bytes, then) = damage.apply(chunk).await;
                (vec![Ok(bytes)], then)
            }
        };
        match then {
            Then::GoOn => Some((items, Some((stream, damage, location)))),
            Then::End => Some((items, None)),
            Then::Fail(kind) => {
                items.push(Err(injected(kind, Operation::Get, &location)));
                Some((items, None))
            }
        }
    })
    .flat_map(stream::iter)
    .boxed()
}
