//! The root of a remote: a prefix of a bucket.

use std::fmt;

use larder_backend::{Error, ErrorKind, Key, Operation, Result};

/// A bucket and the prefix below which a remote keeps its objects. Its `Display` is the URL, such as `s3://bucket/prefix`.
#[derive(Clone, Debug)]
pub struct BucketRoot {
    scheme: &'static str,
    bucket: String,
    /// Ends with `/`, or is empty.
    prefix: String,
}

impl BucketRoot {
    /// Describes the root. `scheme` is the scheme of the URL, such as `s3`. `prefix` has no `/` at its ends, and may be
    /// empty.
    pub fn new(scheme: &'static str, bucket: impl Into<String>, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { scheme, bucket: bucket.into(), prefix }
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The prefix of every object name: empty, or ending with `/`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name of an object in the bucket.
    pub fn object_name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The part of an object name below the root.
    pub fn strip<'a>(&self, object_name: &'a str) -> Option<&'a str> {
        object_name.strip_prefix(&self.prefix)
    }

    /// The URL of an object, for messages.
    pub fn location(&self, key: &Key) -> String {
        format!("{self}/{key}")
    }

    /// Refuses a key that makes the object name longer than object stores allow.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the name is longer than 1,024 bytes.
    pub fn check(&self, key: &Key, operation: Operation) -> Result<()> {
        if self.prefix.len() + key.as_str().len() <= Key::MAX_LEN {
            return Ok(());
        }
        let error = Error::new(ErrorKind::InvalidInput, operation, self.location(key));
        Err(error.with_hint(
            "with the prefix of the remote it is longer than the 1,024 bytes that an object name may have",
        ))
    }
}

impl fmt::Display for BucketRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, bucket, prefix } = self;
        write!(f, "{scheme}://{bucket}")?;
        match prefix.strip_suffix('/') {
            Some(prefix) => write!(f, "/{prefix}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_below_the_prefix() {
        let key = Key::parse("a/c/h").unwrap();
        let root = BucketRoot::new("s3", "team", "larder/x");
        assert_eq!(root.to_string(), "s3://team/larder/x");
        assert_eq!(root.location(&key), "s3://team/larder/x/a/c/h");
        assert_eq!(root.object_name(&key), "larder/x/a/c/h");
        assert_eq!(root.strip("larder/x/a/c/h"), Some("a/c/h"));
        assert_eq!(root.strip("larder/xy/a"), None);
        let whole = BucketRoot::new("gs", "team", "");
        assert_eq!(whole.to_string(), "gs://team");
        assert_eq!(whole.object_name(&key), "a/c/h");
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let key = Key::parse(format!("a/{}", "b".repeat(1000))).unwrap();
        assert!(BucketRoot::new("s3", "team", "").check(&key, Operation::Put).is_ok());
        let refused = BucketRoot::new("s3", "team", &"p".repeat(22)).check(&key, Operation::Put).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}
