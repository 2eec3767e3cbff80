//! The bucket, and how to reach it.

use std::time::Duration;

use larder_backend_http::remote_option::{InvalidOption, deserialize_endpoint, endpoint};
use serde::Deserialize;

/// The variables that name an emulator to Google's tools.
const EMULATOR_HOST: &str = "STORAGE_EMULATOR_HOST";
const EMULATOR_GRPC_HOST: &str = "STORAGE_EMULATOR_GRPC_HOST";

/// A variable that should name an emulator has no valid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the variable {variable} takes a host and a port, such as localhost:9023, or a URL without user and password"
)]
pub struct InvalidEmulatorHost {
    variable: &'static str,
}

/// How to open a [`crate::GcsBackend`].
///
/// Credentials are Application Default Credentials, as for Google's tools: the file that `GOOGLE_APPLICATION_CREDENTIALS`
/// names, the file of `gcloud auth application-default login`, or the metadata server of a machine in Google Cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcsConfig {
    /// The bucket.
    pub bucket: String,
    /// The prefix of every object's name, without `/` at its ends. May be empty.
    pub prefix: String,
    /// The options from a URL or a configuration file.
    pub options: GcsOptions,
    /// Whether the user has named the endpoint, and not a file that came with a project. Only then, Google's credentials
    /// go to hosts that are not Google's.
    pub trusts_endpoint: bool,
    /// How long an operation may go without progress, in all its attempts together.
    pub stall_timeout: Duration,
    /// How much one request of a large upload sends, in bytes. A multiple of 256 KiB. For tests.
    pub chunk_size: Option<usize>,
}

/// The options of a remote on Google Cloud Storage. Fields have the same names in a URL's query and in configuration files.
///
/// Deserializing checks the values. The text of an error says which values the option takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GcsOptions {
    /// The URL of another server than Google's, for reading and writing.
    #[serde(deserialize_with = "deserialize_endpoint")]
    pub endpoint: Option<String>,
    /// The URL of the same server for gRPC, which lists, describes and deletes objects. The default is the endpoint.
    #[serde(deserialize_with = "deserialize_endpoint")]
    pub grpc_endpoint: Option<String>,
    /// Whether requests carry no credentials. For public buckets and emulators.
    pub anonymous: bool,
}

impl GcsConfig {
    /// The remote below `prefix` in `bucket`.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            options: GcsOptions::default(),
            trusts_endpoint: false,
            stall_timeout: larder_backend::DEFAULT_STALL_TIMEOUT,
            chunk_size: None,
        }
    }

    /// Sets the options.
    ///
    /// # Errors
    ///
    /// Only the endpoint for gRPC is set. Reading would go to Google, and listing to another server.
    pub fn with_options(mut self, options: GcsOptions) -> Result<Self, InvalidOption> {
        if options.grpc_endpoint.is_some() && options.endpoint.is_none() {
            let problem = "needs the option `endpoint` too";
            return Err(InvalidOption { option: "grpc_endpoint", problem });
        }
        self.options = options;
        Ok(self)
    }

    /// Uses the emulator that `STORAGE_EMULATOR_HOST` (`HOST:PORT` or a URL) and `STORAGE_EMULATOR_GRPC_HOST` name. Sends
    /// no credentials to it, as Google's tools do. An endpoint that is already set takes precedence.
    ///
    /// # Errors
    ///
    /// A value is not a host or URL.
    pub fn with_emulator(mut self, host: &str, grpc_host: Option<&str>) -> Result<Self, InvalidEmulatorHost> {
        if self.options.endpoint.is_some() {
            return Ok(self);
        }
        let url = |variable: &'static str, host: &str| {
            let url = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
            endpoint(&url).map_err(|_| InvalidEmulatorHost { variable })
        };
        self.options.endpoint = Some(url(EMULATOR_HOST, host)?);
        if self.options.grpc_endpoint.is_none() {
            self.options.grpc_endpoint = grpc_host.map(|host| url(EMULATOR_GRPC_HOST, host)).transpose()?;
        }
        self.options.anonymous = true;
        Ok(self)
    }

    /// Sets whether the user has named the endpoint.
    #[must_use]
    pub fn with_trust(mut self, trusts_endpoint: bool) -> Self {
        self.trusts_endpoint = trusts_endpoint;
        self
    }

    /// Sets how long an operation may go without progress. `None` sets the default.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout.unwrap_or(larder_backend::DEFAULT_STALL_TIMEOUT);
        self
    }

    /// Sets how much one request of a large upload sends, in bytes. Rounded up to a multiple of 256 KiB.
    #[must_use]
    pub fn with_chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = Some(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, MapDeserializer};

    use super::*;

    fn read<const N: usize>(options: [(&str, &str); N]) -> Result<GcsOptions, Error> {
        GcsOptions::deserialize(MapDeserializer::new(options.into_iter()))
    }

    #[test]
    fn options_are_checked() {
        let options = read([("endpoint", "http://127.0.0.1:9/")]).unwrap();
        assert_eq!(options.endpoint.as_deref(), Some("http://127.0.0.1:9"));
        assert!(read([("token", "x")]).unwrap_err().to_string().starts_with("unknown field"));
        for option in [("endpoint", "host"), ("grpc_endpoint", "http://a:b@c")] {
            read([option]).expect_err(option.0);
        }
    }

    #[test]
    fn an_endpoint_for_grpc_needs_another() {
        let both = [("endpoint", "http://127.0.0.1:9"), ("grpc_endpoint", "http://127.0.0.1:8")];
        GcsConfig::new("b", "").with_options(read(both).unwrap()).unwrap();
        let error = GcsConfig::new("b", "").with_options(read([both[1]]).unwrap()).unwrap_err();
        assert_eq!(error.option, "grpc_endpoint");
    }

    #[test]
    fn an_emulator_is_named_as_googles_tools_name_it() {
        let config = GcsConfig::new("b", "").with_emulator("localhost:9023", Some("localhost:9024")).unwrap();
        assert_eq!(config.options.endpoint.as_deref(), Some("http://localhost:9023"));
        assert_eq!(config.options.grpc_endpoint.as_deref(), Some("http://localhost:9024"));
        assert!(config.options.anonymous);
        for (host, grpc_host, variable) in
            [("a b", "localhost", EMULATOR_HOST), ("localhost", "a b", EMULATOR_GRPC_HOST)]
        {
            let invalid = GcsConfig::new("b", "").with_emulator(host, Some(grpc_host)).unwrap_err();
            assert_eq!(invalid, InvalidEmulatorHost { variable });
        }
        let options = read([("endpoint", "https://mine")]).unwrap();
        let config = GcsConfig::new("b", "").with_options(options).unwrap();
        let options = config.with_emulator("http://localhost:9023", None).unwrap().options;
        assert_eq!((options.endpoint.as_deref(), options.anonymous), (Some("https://mine"), false));
    }
}
