//! Values as people read them.

use std::fmt::Write as _;
use std::time::SystemTime;

use indicatif::BinaryBytes;
use jiff::Timestamp;

/// A size, such as `12.30 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// The size of an object, which is an archive: told from that of what is in it.
pub(crate) fn compressed(bytes: u64) -> String {
    format!("{} compressed", size(bytes))
}

/// A time in ISO 8601, in UTC, to the second. `None` for one that no calendar has.
pub(crate) fn time(time: SystemTime) -> Option<String> {
    let timestamp = Timestamp::try_from(time).ok()?;
    Timestamp::from_second(timestamp.as_second()).ok().map(|seconds| seconds.to_string())
}

/// The text in one line, without what would steer a terminal: names come from other people's file systems and
/// remotes.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            // Writing to a text does not fail.
            let _ = write!(printable, "{}", character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(12_897_485), "12.30 MiB");
    }

    #[test]
    fn times_are_iso_8601_to_the_second() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_895_600_999);
        assert_eq!(time(at).as_deref(), Some("2025-11-23T11:00:00Z"));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("ä\u{1b}[31m\nb"), "ä\\u{1b}[31m\\nb");
    }
}
