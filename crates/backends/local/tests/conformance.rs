//! The conformance suite on a directory.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use larder_backend::Backend;
use larder_backend_local::{LocalBackend, LocalConfig};
use larder_testkit::conformance::{Features, TestRemote, TestedBackend, main as run};
use libtest_mimic::Failed;

struct Local;

#[async_trait]
impl TestedBackend for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn features(&self) -> Features {
        Features::default()
    }

    async fn create(&self) -> Result<TestRemote, Failed> {
        let directory = tempfile::tempdir()?;
        let address =
            directory.path().to_str().ok_or("the temporary directory has no UTF-8 name")?.to_owned();
        Ok(TestRemote::new(address, directory))
    }

    async fn open(&self, address: &str) -> Result<Arc<dyn Backend>, Failed> {
        Ok(Arc::new(LocalBackend::open(LocalConfig::new(address))?))
    }

    async fn leftovers(&self, address: &str) -> Result<Option<usize>, Failed> {
        match fs::read_dir(Path::new(address).join(".larder/1/tmp")) {
            Ok(entries) => Ok(Some(entries.count())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    async fn open_missing(&self) -> Result<Option<Arc<dyn Backend>>, Failed> {
        let directory = tempfile::tempdir()?;
        Ok(Some(Arc::new(LocalBackend::open(LocalConfig::new(directory.path().join("missing")))?)))
    }
}

fn main() -> ExitCode {
    run(Local)
}
