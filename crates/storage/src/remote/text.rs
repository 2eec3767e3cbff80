//! Parts of URLs that several kinds of remotes share.

use std::fmt;

/// A bucket, and the literal text in front of all keys in it, without `/` at its ends. The text may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketPrefix {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
}

impl BucketPrefix {
    /// Reads `bucket/prefix`. Empty, `.` and `..` segments of the prefix are resolved.
    pub(crate) fn read(rest: &str) -> Result<Self, &'static str> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("it names no bucket");
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.starts_with('-') || !bucket.bytes().all(is_name) {
            return Err("its bucket cannot be the name of one: that has letters, digits, `.`, `-` and `_`");
        }
        let mut segments = Vec::new();
        for segment in prefix.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or("its prefix leaves the bucket")?;
                }
                segment => segments.push(segment),
            }
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: segments.join("/") })
    }
}

impl fmt::Display for BucketPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}
