//! The one place that knows which backends there are. A new one adds a feature, a [`Place`] and an arm here.

use std::sync::Arc;
use std::time::Duration;

use larder_backend::Backend;

use crate::error::Result;
use crate::remote_url::{InvalidRemote, Place, RemoteUrl};

/// Opens the remote. Nothing is created and no request is made before the first operation.
pub(crate) fn open(remote: &RemoteUrl, stall_timeout: Option<Duration>) -> Result<Arc<dyn Backend>> {
    match &remote.place {
        #[cfg(feature = "local")]
        Place::Directory { path, embedded } => {
            use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};
            if let Some(option) = remote.options.keys().next() {
                return Err(InvalidRemote::UnknownOption {
                    remote: remote.to_string(),
                    option: option.clone(),
                    known: "a directory has none",
                }
                .into());
            }
            let create = if *embedded { CreateRoot::All } else { CreateRoot::LastComponent };
            let config = LocalConfig::new(path.clone()).with_create(create).with_stall_timeout(stall_timeout);
            Ok(Arc::new(LocalBackend::open(config)?))
        }
        #[cfg(not(feature = "local"))]
        Place::Directory { .. } => Err(InvalidRemote::NoBackend { scheme: "file".to_owned() }.into()),
    }
}
