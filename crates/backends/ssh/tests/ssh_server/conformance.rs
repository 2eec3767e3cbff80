//! The conformance suite.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::Backend;
use larder_backend_ssh::SshBackend;
use larder_testkit::conformance::{Features, TestRemote, TestedBackend};
use libtest_mimic::Failed;

use crate::server::Server;

pub(crate) struct Ssh;

#[async_trait]
impl TestedBackend for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn features(&self) -> Features {
        let mut features = Features::default();
        features.has_no_server = Server::from_env().is_none();
        // The parts in memory, and libssh2's copies of them.
        features.memory = Some(96 * 1024 * 1024);
        features
    }

    async fn create(&self) -> Result<TestRemote, Failed> {
        let directory = Server::required()?.directory()?;
        let address = directory.path().to_str().ok_or("the directory has no UTF-8 name")?.to_owned();
        Ok(TestRemote::new(address, directory))
    }

    async fn open(&self, address: &str) -> Result<Arc<dyn Backend>, Failed> {
        Ok(Arc::new(SshBackend::new(Server::required()?.config(address))))
    }

    async fn leftovers(&self, address: &str) -> Result<Option<usize>, Failed> {
        match fs::read_dir(Path::new(address).join(".larder/1/tmp")) {
            Ok(entries) => Ok(Some(entries.count())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    async fn open_missing(&self) -> Result<Option<Arc<dyn Backend>>, Failed> {
        let server = Server::required()?;
        let missing = server.directory()?.path().join("missing");
        let missing = missing.to_str().ok_or("the directory has no UTF-8 name")?;
        Ok(Some(Arc::new(SshBackend::new(server.config(missing)))))
    }
}
