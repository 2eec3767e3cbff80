//! Buckets of Google Cloud Storage as remotes.

use std::fmt;
use std::sync::Arc;

use larder_backend::Backend;

use crate::remote::error::OpenError;
use crate::remote::location::{OpenRequest, RemoteKind, RemoteLocation};
use crate::remote::text::BucketPrefix;

pub(crate) const KIND: RemoteKind = RemoteKind { schemes: &["gs", "gcs"], has_query: true, read };

/// A prefix in a bucket of Google Cloud Storage.
#[derive(Debug)]
struct GcsLocation(BucketPrefix);

impl fmt::Display for GcsLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gs://{}", self.0)
    }
}

impl RemoteLocation for GcsLocation {
    #[cfg(feature = "gcs")]
    fn open(&self, request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        use larder_backend_gcs::{GcsBackend, GcsConfig};

        use crate::remote::error::InvalidRemote;

        let mut config = GcsConfig::new(&self.0.bucket, &self.0.prefix)
            .with_options(request.options.read()?)
            .map_err(|invalid| request.options.invalid(invalid.option, invalid.problem))?
            // The user may not have read the files of a clone, so credentials are not sent to a host that only they name.
            .with_trust(!request.is_of_project)
            .with_stall_timeout(request.stall_timeout);
        // Google's own tools read these variables for the address of an emulator.
        if let Some(host) = request.environment.text("STORAGE_EMULATOR_HOST")? {
            let grpc_host = request.environment.text("STORAGE_EMULATOR_GRPC_HOST")?;
            config = config
                .with_emulator(&host, grpc_host.as_deref())
                .map_err(|invalid| InvalidRemote::Environment(invalid.to_string()))?;
        }
        Ok(Arc::new(GcsBackend::new(config)))
    }

    #[cfg(not(feature = "gcs"))]
    fn open(&self, _request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        Err(crate::remote::error::InvalidRemote::NoBackend { scheme: "gs", feature: "gcs" }.into())
    }
}

fn read(rest: &str) -> Result<Arc<dyn RemoteLocation>, &'static str> {
    Ok(Arc::new(GcsLocation(BucketPrefix::read(rest)?)))
}
