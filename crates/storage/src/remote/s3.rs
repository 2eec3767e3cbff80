//! Buckets of S3 as remotes.

use std::fmt;
use std::sync::Arc;

use larder_backend::Backend;

use crate::remote::error::OpenError;
use crate::remote::location::{OpenRequest, RemoteKind, RemoteLocation};
use crate::remote::text::BucketPrefix;

pub(crate) const KIND: RemoteKind = RemoteKind { schemes: &["s3"], has_query: true, read };

/// A prefix in a bucket of S3.
#[derive(Debug)]
struct S3Location(BucketPrefix);

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.0)
    }
}

impl RemoteLocation for S3Location {
    #[cfg(feature = "s3")]
    fn open(&self, request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        use larder_backend_s3::{S3Backend, S3Config};
        let config = S3Config::new(&self.0.bucket, &self.0.prefix)
            .with_options(request.options.read()?)
            .with_stall_timeout(request.stall_timeout);
        Ok(Arc::new(S3Backend::new(config)))
    }

    #[cfg(not(feature = "s3"))]
    fn open(&self, _request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError> {
        Err(crate::remote::error::InvalidRemote::NoBackend { scheme: "s3", feature: "s3" }.into())
    }
}

fn read(rest: &str) -> Result<Arc<dyn RemoteLocation>, &'static str> {
    Ok(Arc::new(S3Location(BucketPrefix::read(rest)?)))
}
