//! Formats a task as one line that fits the terminal.

use std::fmt::Write as _;
use std::time::Instant;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::meter::Meter;
use crate::output::text::{duration, size, speed};

/// The maximum width of a bar between the brackets.
const MAX_BAR: usize = 25;
/// The minimum width of a bar. A narrower bar shows too little.
const MIN_BAR: usize = 8;
/// The minimum width of a label. Numbers are left out before the label becomes shorter.
const MIN_LABEL: usize = 24;

/// Returns the line for a task: the label, a bar and numbers, as far as they fit into `width` columns.
pub(super) fn line(label: &str, meter: &Meter, width: usize, now: Instant) -> String {
    // Some terminals wrap a line that fills the last column.
    let width = width.saturating_sub(1);
    let numbers = numbers(meter, now);
    // The last number is dropped first.
    for kept in (1..=numbers.len()).rev() {
        let numbers = numbers[..kept].join(", ");
        let left = width.saturating_sub(numbers.width() + 2);
        if left < MIN_LABEL.min(label.width()) {
            continue;
        }
        let label = shorten(label, left);
        let for_bar = left.saturating_sub(label.width() + 4);
        return match meter.total {
            Some(total) if total > 0 && for_bar >= MIN_BAR => {
                format!("{label}  [{}]  {numbers}", bar(meter.done(), total, for_bar.min(MAX_BAR)))
            }
            _ => format!("{label}  {numbers}"),
        };
    }
    shorten(label, width)
}

/// Returns the line for a task in a log. Its width is not limited.
pub(super) fn log_line(label: &str, meter: &Meter, now: Instant) -> String {
    let numbers = numbers(meter, now);
    if numbers.is_empty() { label.to_owned() } else { format!("{label}: {}", numbers.join(", ")) }
}

/// Returns size, speed and remaining time, the most important first.
fn numbers(meter: &Meter, now: Instant) -> Vec<String> {
    let done = meter.done();
    if done == 0 && meter.total.is_none() {
        return Vec::new();
    }
    let mut numbers = vec![match meter.total {
        Some(total) => format!("{} of {}", size(done), size(total)),
        None => size(done),
    }];
    if let Some(current) = meter.speed(now) {
        numbers.push(speed(current));
        if let Some(remaining) = meter.remaining(current).filter(|_| done > 0) {
            numbers.push(format!("{} left", duration(remaining)));
        }
    }
    numbers
}

fn bar(done: u64, total: u64, width: usize) -> String {
    let filled = u128::from(done.min(total)) * width as u128 / u128::from(total);
    let filled = usize::try_from(filled).unwrap_or(width);
    let mut bar = "=".repeat(filled);
    if filled < width {
        bar.push('>');
    }
    let _ = write!(bar, "{:1$}", "", width - bar.len());
    bar
}

/// Shortens a label in the middle. Its beginning names the operation, and its end names the file.
fn shorten(label: &str, width: usize) -> String {
    if label.width() <= width {
        return label.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    let start = take(label.chars(), kept / 2);
    let end: Vec<char> = take(label.chars().rev(), kept - kept / 2).chars().rev().collect();
    format!("{start}…{}", end.into_iter().collect::<String>())
}

/// Returns the first characters that fit into `width` columns.
fn take(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    characters
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= width
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_fits_every_width() {
        let start = Instant::now();
        let now = start + Duration::from_secs(10);
        for label in ["uploading m", "uploading corpora/very/deep/below/多言語/weights.safetensors"] {
            for total in [None, Some(0), Some(290 << 20)] {
                let meter = Meter::new(total, start);
                meter.advance(100 << 20);
                for width in 0..200 {
                    let line = line(label, &meter, width, now);
                    assert!(line.width() <= width.saturating_sub(1), "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn what_matters_most_stays() {
        let start = Instant::now();
        let now = start + Duration::from_secs(10);
        let meter = Meter::new(Some(290 << 20), start);
        meter.advance(145 << 20);
        let at = |width| line("uploading models/en", &meter, width, now);
        assert_eq!(
            at(100),
            "uploading models/en  [============>            ]  145 MiB of 290 MiB, 14.5 MiB/s, 10 s left"
        );
        assert_eq!(at(80), "uploading models/en  [======>      ]  145 MiB of 290 MiB, 14.5 MiB/s, 10 s left");
        assert_eq!(at(60), "uploading models/en  145 MiB of 290 MiB, 14.5 MiB/s");
        assert_eq!(at(45), "uploading models/en  145 MiB of 290 MiB");
        assert_eq!(at(30), "uploading models/en");
        assert_eq!(at(12), "uploa…ls/en");
        assert_eq!(
            log_line("uploading models/en", &meter, now),
            "uploading models/en: 145 MiB of 290 MiB, 14.5 MiB/s, 10 s left"
        );
    }

    #[test]
    fn what_has_no_bytes_is_only_named() {
        let start = Instant::now();
        assert_eq!(line("moving m into place", &Meter::new(None, start), 80, start), "moving m into place");
    }
}
