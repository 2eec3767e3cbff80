//! The conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::Backend;
use larder_backend_s3::S3Backend;
use larder_testkit::conformance::{Features, TestRemote, TestedBackend};
use libtest_mimic::Failed;

use crate::server::{PART_SIZE, Server};

pub(crate) struct S3;

#[async_trait]
impl TestedBackend for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn features(&self) -> Features {
        let mut features = Features::default();
        features.has_no_server = Server::from_env().is_none();
        features.memory = Some(128 * 1024 * 1024);
        // More than the part that is held back, so that a multipart upload is open.
        features.begun = PART_SIZE + 1;
        features
    }

    async fn create(&self) -> Result<TestRemote, Failed> {
        Ok(TestRemote::new(Server::required()?.prefix(), ()))
    }

    async fn open(&self, address: &str) -> Result<Arc<dyn Backend>, Failed> {
        Ok(Arc::new(S3Backend::new(Server::required()?.config(address))))
    }

    async fn leftovers(&self, address: &str) -> Result<Option<usize>, Failed> {
        Ok(Some(Server::required()?.open_uploads(address).await?))
    }

    async fn open_missing(&self) -> Result<Option<Arc<dyn Backend>>, Failed> {
        let mut config = Server::required()?.config("prefix");
        config.bucket = format!("larder-missing-{:016x}", fastrand::u64(..));
        Ok(Some(Arc::new(S3Backend::new(config))))
    }
}
