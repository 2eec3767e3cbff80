//! Which bucket, and how to reach it.

use std::time::Duration;

use larder_backend_http::remote_option::{InvalidOption, boolean, endpoint};

/// The variables by which Google's tools are told of an emulator.
const EMULATOR_HOST: &str = "STORAGE_EMULATOR_HOST";
const EMULATOR_GRPC_HOST: &str = "STORAGE_EMULATOR_GRPC_HOST";

/// A variable that names an emulator leads to no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the variable {variable} takes a host and a port, as localhost:9023, or a URL of a server without user and password"
)]
pub struct InvalidEmulatorHost {
    variable: &'static str,
}

/// How to open a [`crate::GcsBackend`].
///
/// Credentials come from where Google's tools take them (Application Default Credentials): the file that
/// `GOOGLE_APPLICATION_CREDENTIALS` names, what `gcloud auth application-default login` has left, the metadata server of
/// a machine in Google Cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcsConfig {
    /// The bucket.
    pub bucket: String,
    /// What stands in front of every key, literally, without a `/` at its ends; may be empty.
    pub prefix: String,
    /// The URL of a server that is not Google's, for reading and writing.
    pub endpoint: Option<String>,
    /// The URL of the same server for gRPC, by which objects are listed, looked at and deleted. By default the
    /// endpoint.
    pub grpc_endpoint: Option<String>,
    /// Whether requests carry no credentials: for public buckets and emulators.
    pub anonymous: bool,
    /// Whether the user names the endpoint, and not a file that came with a project: Google's credentials go to hosts
    /// that are not Google's only then.
    pub trusts_endpoint: bool,
    /// After how long without progress an operation fails, with all its attempts.
    pub stall_timeout: Duration,
    /// The size of what one request of a large upload sends, in bytes, a multiple of 256 KiB: for tests.
    pub chunk_size: Option<usize>,
}

impl GcsConfig {
    /// The options that [`GcsConfig::with_option`] knows, for people.
    pub const OPTIONS: &'static str = "Google Cloud Storage has endpoint, grpc_endpoint, anonymous";

    /// The remote below `prefix` in `bucket`.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            grpc_endpoint: None,
            anonymous: false,
            trusts_endpoint: false,
            stall_timeout: larder_backend::DEFAULT_STALL_TIMEOUT,
            chunk_size: None,
        }
    }

    /// Sets an option by its name in a URL's query or in a configuration file.
    ///
    /// # Errors
    ///
    /// There is no such option, or it does not take this value.
    pub fn with_option(mut self, name: &str, value: &str) -> Result<Self, InvalidOption> {
        match name {
            "endpoint" => self.endpoint = Some(endpoint(value)?),
            "grpc_endpoint" => self.grpc_endpoint = Some(endpoint(value)?),
            "anonymous" => self.anonymous = boolean(value)?,
            _ => return Err(InvalidOption::Unknown),
        }
        Ok(self)
    }

    /// Reaches an emulator, as `STORAGE_EMULATOR_HOST` (`HOST:PORT` or a URL) and `STORAGE_EMULATOR_GRPC_HOST` name it to
    /// Google's tools. As they do, it sends no credentials there. An endpoint that is set goes first.
    ///
    /// # Errors
    ///
    /// One of them leads to no server.
    pub fn with_emulator(mut self, host: &str, grpc_host: Option<&str>) -> Result<Self, InvalidEmulatorHost> {
        if self.endpoint.is_some() {
            return Ok(self);
        }
        let url = |variable: &'static str, host: &str| {
            let url = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
            endpoint(&url).map_err(|_| InvalidEmulatorHost { variable })
        };
        self.endpoint = Some(url(EMULATOR_HOST, host)?);
        if self.grpc_endpoint.is_none() {
            self.grpc_endpoint = grpc_host.map(|host| url(EMULATOR_GRPC_HOST, host)).transpose()?;
        }
        self.anonymous = true;
        Ok(self)
    }

    /// Says that the user names the endpoint.
    #[must_use]
    pub fn with_trust(mut self, trusts_endpoint: bool) -> Self {
        self.trusts_endpoint = trusts_endpoint;
        self
    }

    /// Sets after how long without progress an operation fails; `None` is the default.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout.unwrap_or(larder_backend::DEFAULT_STALL_TIMEOUT);
        self
    }

    /// Sets how much one request of a large upload sends, in bytes: the next multiple of 256 KiB is taken.
    #[must_use]
    pub fn with_chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = Some(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let config = GcsConfig::new("b", "p");
        let set = |name, value| config.clone().with_option(name, value);
        assert_eq!(set("endpoint", "http://127.0.0.1:9/").unwrap().endpoint.unwrap(), "http://127.0.0.1:9");
        assert!(set("anonymous", "true").unwrap().anonymous);
        assert_eq!(set("token", "x"), Err(InvalidOption::Unknown));
        for (name, value) in [("anonymous", "yes"), ("endpoint", "host"), ("grpc_endpoint", "http://a:b@c")] {
            assert!(matches!(set(name, value), Err(InvalidOption::Value(_))), "{name}={value}");
        }
    }

    #[test]
    fn all_options_are_named() {
        for name in GcsConfig::OPTIONS.trim_start_matches("Google Cloud Storage has ").split(", ") {
            assert_ne!(GcsConfig::new("b", "").with_option(name, ""), Err(InvalidOption::Unknown), "{name}");
        }
    }

    #[test]
    fn an_emulator_is_named_as_googles_tools_name_it() {
        let config = GcsConfig::new("b", "").with_emulator("localhost:9023", Some("localhost:9024")).unwrap();
        assert_eq!(config.endpoint.as_deref(), Some("http://localhost:9023"));
        assert_eq!(config.grpc_endpoint.as_deref(), Some("http://localhost:9024"));
        assert!(config.anonymous);
        for (host, grpc_host, variable) in
            [("a b", "localhost", EMULATOR_HOST), ("localhost", "a b", EMULATOR_GRPC_HOST)]
        {
            let invalid = GcsConfig::new("b", "").with_emulator(host, Some(grpc_host)).unwrap_err();
            assert_eq!(invalid, InvalidEmulatorHost { variable });
        }
        let config = GcsConfig::new("b", "").with_option("endpoint", "https://mine").unwrap();
        let config = config.with_emulator("http://localhost:9023", None).unwrap();
        assert_eq!((config.endpoint.as_deref(), config.anonymous), (Some("https://mine"), false));
    }
}
