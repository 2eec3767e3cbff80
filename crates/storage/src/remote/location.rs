//! The trait of a kind of remote.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder_backend::Backend;

use crate::remote::environment::UserEnvironment;
use crate::remote::error::OpenError;
use crate::remote::options::GivenOptions;

/// A kind of remote, with the reader of its URLs.
pub(crate) struct RemoteKind {
    /// The schemes of its URLs, in lower case.
    pub(crate) schemes: &'static [&'static str],
    /// Whether `?` begins options in its URLs.
    pub(crate) has_query: bool,
    /// Reads what follows `scheme://`, without the options. An error says which rule the text breaks.
    pub(crate) read: fn(&str) -> Result<Arc<dyn RemoteLocation>, &'static str>,
}

/// The location of a remote. `Display` shows the text in front of its keys, without secrets.
pub(crate) trait RemoteLocation: fmt::Debug + fmt::Display + Send + Sync {
    /// Opens the remote. Makes no request and creates nothing.
    fn open(&self, request: &OpenRequest<'_>) -> Result<Arc<dyn Backend>, OpenError>;

    /// The directory on this machine, if the remote is one.
    fn local_path(&self) -> Option<&Path> {
        None
    }
}

/// A request to open a remote.
#[derive(Debug)]
pub(crate) struct OpenRequest<'a> {
    /// The options from the URL and from the configuration.
    #[cfg_attr(
        not(any(feature = "local", feature = "s3", feature = "gcs", feature = "ssh")),
        expect(dead_code, reason = "every backend reads them")
    )]
    pub(crate) options: GivenOptions,
    /// Whether a file of the project determined the location of the remote, or one of its options.
    #[cfg_attr(
        not(feature = "gcs"),
        expect(dead_code, reason = "only GCS lets the environment name servers")
    )]
    pub(crate) is_of_project: bool,
    #[cfg_attr(
        not(any(feature = "local", feature = "s3", feature = "gcs", feature = "ssh")),
        expect(dead_code, reason = "every backend has it")
    )]
    pub(crate) stall_timeout: Option<Duration>,
    #[cfg_attr(
        not(any(feature = "gcs", feature = "ssh")),
        expect(dead_code, reason = "others read their own")
    )]
    pub(crate) environment: &'a UserEnvironment,
}
