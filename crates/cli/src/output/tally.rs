//! The summary line of a transfer.

use std::time::{Duration, Instant};

use super::text::{duration, size, speed};

/// The outcomes of a command's outputs.
#[derive(Debug)]
pub(crate) struct Tally {
    started: Instant,
    /// The number of outputs with each outcome, in the order of first occurrence.
    outcomes: Vec<(&'static str, u64)>,
    /// The size of the transferred content, in bytes.
    bytes: u64,
    is_transfer: bool,
}

impl Tally {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), outcomes: Vec::new(), bytes: 0, is_transfer: false }
    }

    pub(super) fn count(&mut self, outcome: &'static str, transferred: Option<u64>) {
        match self.outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => self.outcomes.push((outcome, 1)),
        }
        if let Some(bytes) = transferred {
            self.bytes += bytes;
            self.is_transfer = true;
        }
    }

    /// Returns the summary line, if it says more than the lines of the outputs.
    pub(super) fn line(&self) -> Option<String> {
        self.line_after(self.started.elapsed())
    }

    fn line_after(&self, elapsed: Duration) -> Option<String> {
        let outputs: u64 = self.outcomes.iter().map(|(_, count)| count).sum();
        if outputs == 0 || (outputs == 1 && !self.is_transfer) {
            return None;
        }
        let noun = if outputs == 1 { "output" } else { "outputs" };
        let what = match self.outcomes.as_slice() {
            [(outcome, count)] => format!("{count} {noun} {outcome}"),
            outcomes => {
                let counts: Vec<String> =
                    outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
                format!("{outputs} {noun} ({})", counts.join(", "))
            }
        };
        let mut line = format!("{what} in {}", duration(elapsed));
        if self.is_transfer {
            #[expect(clippy::cast_precision_loss, reason = "rounded to three digits")]
            let rate = self.bytes as f64 / elapsed.as_secs_f64().max(0.001);
            line = format!("{line}: {}, {}", size(self.bytes), speed(rate));
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_summed_up() {
        let mut tally = Tally::start();
        assert_eq!(tally.line_after(Duration::ZERO), None);
        tally.count("already present", None);
        assert_eq!(tally.line_after(Duration::ZERO), None, "its own line says it all");
        tally.count("uploaded", Some(200 << 20));
        tally.count("uploaded", Some(90 << 20));
        assert_eq!(
            tally.line_after(Duration::from_secs(2)).as_deref(),
            Some("3 outputs (1 already present, 2 uploaded) in 2 s: 290 MiB, 145 MiB/s")
        );
    }

    #[test]
    fn without_a_transfer_there_is_no_speed() {
        let mut tally = Tally::start();
        tally.count("up to date", None);
        tally.count("up to date", None);
        assert_eq!(
            tally.line_after(Duration::from_millis(20)).as_deref(),
            Some("2 outputs up to date in 20 ms")
        );
    }
}
