//! The bucket, and how to reach it.

use std::fmt;
use std::time::Duration;

use larder_backend_http::remote_option::{deserialize_endpoint, deserialize_text};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

/// How to open an [`crate::S3Backend`].
///
/// All other settings come from the same sources as for AWS tools: environment, profiles, SSO, container and instance
/// roles, `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_S3`, `AWS_CA_BUNDLE`, `HTTPS_PROXY` and similar variables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Config {
    /// The bucket, or the alias of an access point.
    pub bucket: String,
    /// The prefix of every object's name, without `/` at its ends. May be empty.
    pub prefix: String,
    /// The options from a URL or a configuration file.
    pub options: S3Options,
    /// How long an operation may go without progress, in all its attempts together.
    pub stall_timeout: Duration,
    /// The size of the parts of an upload, in bytes. For tests. By default it follows from the size hint.
    pub part_size: Option<usize>,
}

/// The options of a remote on S3. Fields have the same names in a URL's query and in configuration files.
///
/// Deserializing checks the values. The text of an error says which values the option takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct S3Options {
    /// The URL of another server than AWS, or of a special endpoint of AWS.
    #[serde(deserialize_with = "deserialize_endpoint")]
    pub endpoint: Option<String>,
    /// The region of the bucket.
    #[serde(deserialize_with = "deserialize_text")]
    pub region: Option<String>,
    /// Whether the bucket is in the path of the URL instead of the host name. The default is true if there is an endpoint,
    /// because few private servers have a host name for each bucket.
    pub force_path_style: Option<bool>,
    /// The profile of the AWS configuration files.
    #[serde(deserialize_with = "deserialize_text")]
    pub profile: Option<String>,
    /// Whether requests are not signed. For public buckets.
    pub anonymous: bool,
    /// The storage class of uploaded objects, such as `STANDARD_IA`.
    #[serde(deserialize_with = "deserialize_text")]
    pub storage_class: Option<String>,
    /// The server-side encryption of uploaded objects: `AES256`, `aws:kms` or `aws:kms:dsse`.
    #[serde(deserialize_with = "encryption")]
    pub sse: Option<String>,
    /// The key for encryption with KMS.
    #[serde(deserialize_with = "deserialize_text")]
    pub sse_kms_key_id: Option<String>,
    /// Whether the requester pays instead of the owner of the bucket.
    #[serde(deserialize_with = "payer")]
    pub request_payer: bool,
}

impl S3Config {
    /// The remote below `prefix` in `bucket`.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            options: S3Options::default(),
            stall_timeout: larder_backend::DEFAULT_STALL_TIMEOUT,
            part_size: None,
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: S3Options) -> Self {
        self.options = options;
        self
    }

    /// Sets how long an operation may go without progress. `None` sets the default.
    #[must_use]
    pub fn with_stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout.unwrap_or(larder_backend::DEFAULT_STALL_TIMEOUT);
        self
    }

    /// Sets the size of the parts of an upload, in bytes.
    #[must_use]
    pub fn with_part_size(mut self, bytes: usize) -> Self {
        self.part_size = Some(bytes);
        self
    }
}

/// Deserializes a boolean, or `requester`, as AWS's own tools write it.
fn payer<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    struct Payer;
    impl Visitor<'_> for Payer {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false or requester")
        }

        fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<bool, E> {
            match value {
                "true" | "requester" => Ok(true),
                "false" => Ok(false),
                _ => Err(E::custom("true, false or requester")),
            }
        }
    }
    value.deserialize_any(Payer)
}

fn encryption<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let value = String::deserialize(value)?;
    match value.as_str() {
        "AES256" | "aws:kms" | "aws:kms:dsse" => Ok(Some(value)),
        _ => Err(D::Error::custom("AES256, aws:kms or aws:kms:dsse")),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, MapDeserializer};

    use super::*;

    fn read(name: &str, value: &str) -> Result<S3Options, Error> {
        S3Options::deserialize(MapDeserializer::new([(name, value)].into_iter()))
    }

    #[test]
    fn options_are_checked() {
        assert_eq!(read("region", "eu-central-1").unwrap().region.as_deref(), Some("eu-central-1"));
        let endpoint = read("endpoint", "http://127.0.0.1:9000/").unwrap().endpoint;
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert!(read("request_payer", "requester").unwrap().request_payer);
        assert!(payer::<serde::de::value::BoolDeserializer<Error>>(true.into_deserializer()).unwrap());
        assert!(read("secret_access_key", "x").unwrap_err().to_string().starts_with("unknown field"));
        for (name, value) in [
            ("request_payer", "yes"),
            ("region", ""),
            ("sse", "rot13"),
            ("endpoint", "minio:9000"),
            ("endpoint", "https://me:secret@minio"),
            ("endpoint", "https://"),
        ] {
            read(name, value).expect_err(name);
        }
    }
}
