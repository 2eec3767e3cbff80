//! Ranges of bytes.

use crate::gcs::failure::GcsFailure;

/// The bytes that a `Range` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WantedRange {
    /// All bytes: there is no range, or an unsupported one.
    Whole,
    /// Some of the bytes.
    Part {
        /// The offset of the first byte.
        offset: u64,
        /// The number of bytes.
        len: u64,
    },
    /// No byte of the content.
    Unsatisfiable,
}

/// Parses a `Range: bytes=…` for a content of `size` bytes, as in section 14.1.2 of RFC 9110. Several ranges in one request
/// are not supported, as at Google.
pub(super) fn wanted(range: Option<&str>, size: u64) -> WantedRange {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return WantedRange::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let (offset, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => return WantedRange::Whole,
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 => (size.saturating_sub(suffix), size),
        (Err(_), Ok(0)) if first.is_empty() => return WantedRange::Unsatisfiable,
        _ => return WantedRange::Whole,
    };
    if offset >= end { WantedRange::Unsatisfiable } else { WantedRange::Part { offset, len: end - offset } }
}

/// A `Content-Range` of an upload: `bytes 0-99/100`. A `*` replaces an unknown part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The offset of the first byte. `None` is a query for the progress of the upload.
    pub(super) first: Option<u64>,
    /// The number of bytes, if it is known in advance.
    pub(super) len: Option<u64>,
    /// The total length, if it is known.
    pub(super) total: Option<u64>,
}

impl Given {
    /// The range of an [upload in one request](https://cloud.google.com/storage/docs/performing-resumable-uploads#single-chunk-upload),
    /// which has no header.
    pub(super) const WHOLE: Self = Self { first: Some(0), len: None, total: None };

    pub(super) fn parse(header: &str) -> Result<Self, GcsFailure> {
        let invalid = || GcsFailure::invalid(format!("Failed to parse Content-Range header: {header}"));
        let (range, total) =
            header.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or_else(invalid)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| invalid());
        let total = if total == "*" { None } else { Some(number(total)?) };
        let (first, len) = match range.split_once('-') {
            None if range == "*" => (None, None),
            None => return Err(invalid()),
            Some((first, "*")) => (Some(number(first)?), None),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                let end = last.checked_add(1).ok_or_else(invalid)?;
                (Some(first), Some(end.checked_sub(first).filter(|len| *len > 0).ok_or_else(invalid)?))
            }
        };
        let end = first.zip(len).map(|(first, len)| first + len);
        if end.zip(total).is_some_and(|(end, total)| end > total) {
            return Err(invalid());
        }
        Ok(Self { first, len, total })
    }

    /// Whether the upload ends with these bytes: they reach the known end, or the client leaves the end open.
    pub(super) fn is_last(&self) -> bool {
        match (self.first, self.len) {
            (Some(first), Some(len)) => self.total == Some(first + len),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_download() {
        let of = |range| wanted(Some(range), 100);
        assert_eq!(of("bytes=0-9"), WantedRange::Part { offset: 0, len: 10 });
        assert_eq!(of("bytes=90-"), WantedRange::Part { offset: 90, len: 10 });
        assert_eq!(of("bytes=90-1000"), WantedRange::Part { offset: 90, len: 10 });
        assert_eq!(of("bytes=-10"), WantedRange::Part { offset: 90, len: 10 });
        assert_eq!(of("bytes=-1000"), WantedRange::Part { offset: 0, len: 100 });
        for beyond in ["bytes=100-", "bytes=100-100", "bytes=-0"] {
            assert_eq!(of(beyond), WantedRange::Unsatisfiable, "{beyond}");
        }
        for strange in ["bytes=9-0", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-"] {
            assert_eq!(of(strange), WantedRange::Whole, "{strange}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), WantedRange::Unsatisfiable);
    }

    #[test]
    fn ranges_of_an_upload() {
        let of =
            |header| Given::parse(header).map(|given| (given.first, given.len, given.total, given.is_last()));
        assert_eq!(of("bytes 0-9/*").unwrap(), (Some(0), Some(10), None, false));
        assert_eq!(of("bytes 0-9/20").unwrap(), (Some(0), Some(10), Some(20), false));
        assert_eq!(of("bytes 10-19/20").unwrap(), (Some(10), Some(10), Some(20), true));
        assert_eq!(of("bytes 10-*/*").unwrap(), (Some(10), None, None, true));
        assert_eq!(of("bytes */*").unwrap(), (None, None, None, false));
        assert_eq!(of("bytes */0").unwrap(), (None, None, Some(0), false));
        for wrong in ["0-9/10", "bytes 0-9", "bytes 9-0/10", "bytes 0-10/10", "bytes a-b/c", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
