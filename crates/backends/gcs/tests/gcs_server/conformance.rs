//! The conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::Backend;
use larder_backend_gcs::GcsBackend;
use larder_testkit::conformance::{Features, TestRemote, TestedBackend};
use libtest_mimic::Failed;

use crate::server::{CHUNK, Place, config};

pub(crate) struct Gcs;

#[async_trait]
impl TestedBackend for Gcs {
    fn name(&self) -> &'static str {
        "gcs"
    }

    fn features(&self) -> Features {
        let mut features = Features::default();
        features.memory = Some(128 * 1024 * 1024);
        // More than the chunk that is held back, so that a resumable upload is open or starting.
        features.begun = CHUNK + 1;
        features
    }

    async fn create(&self) -> Result<TestRemote, Failed> {
        Ok(TestRemote::new(Place::get()?.address(), ()))
    }

    async fn open(&self, address: &str) -> Result<Arc<dyn Backend>, Failed> {
        Ok(Arc::new(GcsBackend::new(config(address)?)))
    }

    async fn leftovers(&self, _address: &str) -> Result<Option<usize>, Failed> {
        // The rest of an upload is invisible, and the server deletes it.
        Ok(None)
    }

    async fn open_missing(&self) -> Result<Option<Arc<dyn Backend>>, Failed> {
        let mut config = config(&Place::get()?.address())?;
        config.bucket = format!("larder-missing-{}", std::process::id());
        Ok(Some(Arc::new(GcsBackend::new(config))))
    }
}
