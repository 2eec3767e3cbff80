//! Formats values for people.

use std::time::{Duration, SystemTime};

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;
use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The number of digits of a digest that distinguish objects on a screen.
const SHORT_DIGITS: usize = 12;
/// The maximum width of a short hash: `blake3-tree-`, its digits and an ellipsis.
const SHORT_HASH: usize = 25;

/// Formats a size with three digits, such as `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to three digits")]
    binary(bytes as f64)
}

/// Formats a speed in bytes per second, such as `12.3 MiB/s`.
pub(crate) fn speed(bytes_per_second: f64) -> String {
    format!("{}/s", binary(bytes_per_second))
}

fn binary(mut value: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Rounding 999.9 would give a fourth digit.
    if value < 999.5 {
        return format!("{value:.0} B");
    }
    let mut unit = "";
    for next in UNITS {
        value /= 1_024.0;
        unit = next;
        if value < 999.5 {
            break;
        }
    }
    let decimals = match value {
        ..9.995 => 2,
        9.995..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Formats the size of an object, which is an archive. The text distinguishes it from the size of the
/// content.
pub(crate) fn compressed(bytes: u64) -> String {
    format!("{} compressed", size(bytes))
}

/// Formats a duration, such as `2.1 s` or `3 min 5 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() < 950 => format!("{} ms", duration.as_millis()),
        0..10 if duration.subsec_millis() > 0 => format!("{:.1} s", duration.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Formats how long ago something was, such as `3 h ago`.
pub(crate) fn age(then: SystemTime, now: SystemTime) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    // The clock of a remote may be ahead of the local clock.
    let seconds = now.duration_since(then).unwrap_or_default().as_secs();
    let (count, unit) = match seconds {
        ..MINUTE => (seconds, "s"),
        MINUTE..HOUR => (seconds / MINUTE, "min"),
        HOUR..DAY => (seconds / HOUR, "h"),
        _ if seconds < 365 * DAY => (seconds / DAY, "d"),
        _ => (seconds / (365 * DAY), "y"),
    };
    format!("{count} {unit} ago")
}

/// Formats a time in ISO 8601, in UTC, to the second. Returns `None` for a time outside the range of the
/// calendar.
pub(crate) fn time(time: SystemTime) -> Option<String> {
    let timestamp = Timestamp::try_from(time).ok()?;
    Timestamp::from_second(timestamp.as_second()).ok().map(|seconds| seconds.to_string())
}

/// Shortens a hash to the first digits of its digest. A custom name stays whole if it is short enough.
pub(crate) fn short_hash(hash: &str) -> String {
    // Hashes are ASCII, so each byte takes one column.
    let prefix = ["blake3-tree-", "sha256-tree-", "blake3-", "sha256-"]
        .into_iter()
        .find_map(|prefix| hash.starts_with(prefix).then_some(prefix.len()));
    let is_weasel = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kept = match prefix {
        Some(len) => len + SHORT_DIGITS,
        None if is_weasel => SHORT_DIGITS,
        None if hash.len() <= SHORT_HASH => hash.len(),
        None => SHORT_HASH - 1,
    };
    match hash.get(..kept) {
        Some(short) if short.len() < hash.len() => format!("{short}…"),
        _ => hash.to_owned(),
    }
}

/// Returns the first digits of a hash without its scheme, which is enough for `--command-hash` and
/// `--content-hash`. A custom name stays whole if it is short enough.
pub(crate) fn bare_hash(hash: &str) -> String {
    let short = short_hash(hash);
    let is_cut = short.len() < hash.len();
    let digits = ["blake3-tree-", "sha256-tree-", "blake3-", "sha256-"]
        .into_iter()
        .find_map(|prefix| short.strip_prefix(prefix))
        .filter(|_| is_cut);
    digits.map_or_else(|| short.clone(), |digits| digits.trim_end_matches('…').to_owned())
}

/// Shortens a text to `width` columns.
pub(crate) fn short_text(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if short.width() + character.width().unwrap_or(0) >= width {
            break;
        }
        short.push(character);
    }
    short + "…"
}

/// Returns the text in one line, with control and invisible characters escaped. Names may come from other
/// people's file systems and remotes.
pub(crate) fn printable(text: &str) -> String {
    let categories = CodePointMapData::<GeneralCategory>::new();
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match categories.get(character) {
            GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator => printable.extend(character.escape_default()),
            _ => printable.push(character),
        }
    }
    printable
}

/// Applies [`printable`] to each line of a text.
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_and_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "0.98 KiB"),
            (12_897_485, "12.3 MiB"),
            (304_087_040, "290 MiB"),
            (1_048_051_712, "0.98 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_are_as_exact_as_they_are_short() {
        for (millis, text) in [
            (21, "21 ms"),
            (999, "1.0 s"),
            (2_140, "2.1 s"),
            (10_000, "10 s"),
            (59_999, "59 s"),
            (185_000, "3 min 5 s"),
            (3_720_000, "1 h 2 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn ages_have_one_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 10_000);
        for (seconds, text) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (3_599, "59 min ago"),
            (3 * 3_600, "3 h ago"),
            (86_400, "1 d ago"),
            (364 * 86_400, "364 d ago"),
            (800 * 86_400, "2 y ago"),
        ] {
            assert_eq!(age(now - Duration::from_secs(seconds), now), text);
        }
        assert_eq!(age(now + Duration::from_secs(5), now), "0 s ago");
    }

    #[test]
    fn times_are_iso_8601_to_the_second() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_895_600_999);
        assert_eq!(time(at).as_deref(), Some("2025-11-23T11:00:00Z"));
    }

    #[test]
    fn hashes_are_short() {
        let digest = "0123456789abcdef".repeat(4);
        for (hash, short) in [
            (format!("blake3-tree-{digest}"), "blake3-tree-0123456789ab…"),
            (format!("sha256-{digest}"), "sha256-0123456789ab…"),
            (digest[..32].to_owned(), "0123456789ab…"),
            ("nightly".to_owned(), "nightly"),
            ("n".repeat(26), "nnnnnnnnnnnnnnnnnnnnnnnn…"),
        ] {
            assert_eq!(short_hash(&hash), short);
            assert!(short_hash(&hash).chars().count() <= SHORT_HASH);
        }
    }

    #[test]
    fn bare_hashes_can_be_typed_again() {
        let digest = "0123456789abcdef".repeat(4);
        for hash in [format!("blake3-tree-{digest}"), format!("sha256-{digest}")] {
            assert_eq!(bare_hash(&hash), "0123456789ab");
        }
        assert_eq!(bare_hash("nightly"), "nightly");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(short_text("python", 6), "python");
        assert_eq!(short_text("python train.py", 8), "python …");
        assert_eq!(short_text("日本語", 5), "日本…");
    }

    #[test]
    fn nothing_steers_the_terminal_or_hides() {
        assert_eq!(printable("ä\u{1b}[31m\nb"), "ä\\u{1b}[31m\\nb");
        let hidden = "\u{85}\u{ad}\u{61c}\u{200b}\u{200e}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}";
        let shown = printable(hidden);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(shown.matches("\\u{").count(), hidden.chars().count());
        assert_eq!(printable("a b\u{a0}日本 👩 é"), "a b\u{a0}日本 👩 é");
        assert_eq!(printable_lines("a\n\u{202e}b\n"), "a\n\\u{202e}b\n");
    }
}
