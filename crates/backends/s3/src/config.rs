//! Which bucket, and how to reach it.

use std::time::Duration;

use larder_backend_http::remote_option::{InvalidOption, boolean, endpoint};

/// How to open an [`crate::S3Backend`].
///
/// What is not said here comes from where AWS tools take it: environment, profiles, SSO, container and instance roles,
/// `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_S3`, `AWS_CA_BUNDLE`, `HTTPS_PROXY` and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Config {
    /// The bucket, or the alias of an access point.
    pub bucket: String,
    /// What stands in front of every key, literally, without a `/` at its ends; may be empty.
    pub prefix: String,
    /// The URL of a server that is not AWS, or of a special endpoint of AWS.
    pub endpoint: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of the URL instead of the host name. By default it does where there is an
    /// endpoint, because few private servers have a name for each bucket.
    pub force_path_style: Option<bool>,
    /// The profile of the AWS configuration files.
    pub profile: Option<String>,
    /// Whether requests are not signed: for public buckets.
    pub anonymous: bool,
    /// The storage class of what is uploaded, as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// The server-side encryption of what is uploaded: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub sse: Option<String>,
    /// The key of the encryption with KMS.
    pub sse_kms_key_id: Option<String>,
    /// Whether the one who asks pays, not the owner of the bucket.
    pub request_payer: bool,
    /// After how long without progress an operation fails, with all its attempts.
    pub stall_timeout: Duration,
    /// The size of the parts of an upload, in bytes: for tests. By default it follows from the size hint.
    pub part_size: Option<usize>,
}

impl S3Config {
    /// The options that [`S3Config::with_option`] knows, for people.
    pub const OPTIONS: &'static str = "S3 has endpoint, region, force_path_style, profile, anonymous, storage_class, sse, \
                                       sse_kms_key_id, request_payer";

    /// The remote below `prefix` in `bucket`.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            region: None,
            force_path_style: None,
            profile: None,
            anonymous: false,
            storage_class: None,
            sse: None,
            sse_kms_key_id: None,
            request_payer: false,
            stall_timeout: larder_backend::DEFAULT_STALL_TIMEOUT,
            part_size: None,
        }
    }

    /// Sets an option by its name in a URL's query or in a configuration file.
    ///
    /// # Errors
    ///
    /// There is no such option, or it does not take this value.
    pub fn with_option(mut self, name: &str, value: &str) -> Result<Self, InvalidOption> {
        let text =
            || Some(value.to_owned()).filter(|text| !text.is_empty()).ok_or(InvalidOption::Value("a text"));
        match name {
            "endpoint" => self.endpoint = Some(endpoint(value)?),
            "region" => self.region = Some(text()?),
            "force_path_style" => self.force_path_style = Some(boolean(value)?),
            "profile" => self.profile = Some(text()?),
            "anonymous" => self.anonymous = boolean(value)?,
            "storage_class" => self.storage_class = Some(text()?),
            "sse" => self.sse = Some(encryption(value)?),
            "sse_kms_key_id" => self.sse_kms_key_id = Some(text()?),
            "request_payer" => self.request_payer = payer(value)?,
            _ => return Err(InvalidOption::Unknown),
        }
        Ok(self)
    }

    /// Sets after how long without progress an operation fails; `None` is the default.
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

/// AWS's own tools write `requester`.
fn payer(value: &str) -> Result<bool, InvalidOption> {
    match value {
        "requester" => Ok(true),
        other => other.parse().map_err(|_| InvalidOption::Value("true, false or requester")),
    }
}

fn encryption(value: &str) -> Result<String, InvalidOption> {
    match value {
        "AES256" | "aws:kms" | "aws:kms:dsse" => Ok(value.to_owned()),
        _ => Err(InvalidOption::Value("AES256, aws:kms or aws:kms:dsse")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let config = S3Config::new("b", "p");
        let set = |name, value| config.clone().with_option(name, value);
        assert_eq!(set("region", "eu-central-1").unwrap().region.as_deref(), Some("eu-central-1"));
        assert_eq!(
            set("endpoint", "http://127.0.0.1:9000/").unwrap().endpoint.unwrap(),
            "http://127.0.0.1:9000"
        );
        assert!(set("request_payer", "requester").unwrap().request_payer);
        assert!(set("anonymous", "true").unwrap().anonymous);
        assert_eq!(set("secret_access_key", "x"), Err(InvalidOption::Unknown));
        for (name, value) in [
            ("anonymous", "yes"),
            ("region", ""),
            ("sse", "rot13"),
            ("endpoint", "minio:9000"),
            ("endpoint", "https://me:secret@minio"),
            ("endpoint", "https://"),
        ] {
            assert!(matches!(set(name, value), Err(InvalidOption::Value(_))), "{name}={value}");
        }
    }

    #[test]
    fn all_options_are_named() {
        for name in S3Config::OPTIONS.trim_start_matches("S3 has ").split(", ") {
            assert_ne!(S3Config::new("b", "").with_option(name, ""), Err(InvalidOption::Unknown), "{name}");
        }
    }
}
