//! Runs the conformance suite on the remote in memory.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use larder_backend::Backend;
use larder_testkit::MemoryBackend;
use larder_testkit::conformance::{Features, TestRemote, TestedBackend, main as run};
use libtest_mimic::Failed;

#[derive(Default)]
struct Memory {
    remotes: Mutex<HashMap<String, MemoryBackend>>,
}

impl Memory {
    fn find(&self, address: &str) -> Result<MemoryBackend, Failed> {
        let remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        remotes.get(address).cloned().ok_or_else(|| format!("no remote {address}").into())
    }
}

#[async_trait]
impl TestedBackend for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn features(&self) -> Features {
        let mut features = Features::default();
        features.processes = false;
        features.memory = None;
        features
    }

    async fn create(&self) -> Result<TestRemote, Failed> {
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        let address = remotes.len().to_string();
        remotes.insert(address.clone(), MemoryBackend::new());
        Ok(TestRemote::new(address, ()))
    }

    async fn open(&self, address: &str) -> Result<Arc<dyn Backend>, Failed> {
        Ok(Arc::new(self.find(address)?))
    }

    async fn leftovers(&self, address: &str) -> Result<Option<usize>, Failed> {
        Ok(Some(self.find(address)?.open_uploads().len()))
    }
}

fn main() -> ExitCode {
    run(Memory::default())
}
