//! The measurements and their targets: a module for each backend, and the rows of their tables.

pub(crate) mod gcs;
pub(crate) mod local;
pub(crate) mod s3;
pub(crate) mod ssh;

use super::BenchOptions;
use super::measure::{MeasuredCommand, Stats, in_turns};
use crate::Result;

const MIB: f64 = (1 << 20) as f64;

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) larder: Stats,
    /// The peer, unless the target is absolute.
    pub(crate) peer: Option<Peer>,
    pub(crate) target: RowTarget,
}

/// A command that larder is compared with.
pub(crate) struct Peer {
    /// The command of the peer.
    pub(crate) name: &'static str,
    /// Important work of larder that the peer omits.
    pub(crate) without: &'static str,
    /// The results, or the reason why the peer is missing.
    pub(crate) stats: Result<Stats, String>,
}

impl Peer {
    fn measured(name: &'static str, stats: Stats) -> Self {
        Self { name, without: "", stats: Ok(stats) }
    }
}

/// The verdict on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowVerdict {
    Met,
    Missed,
    /// The peer is missing.
    NotMeasured,
}

/// The target of a row.
#[derive(Clone, Copy)]
pub(crate) enum RowTarget {
    /// The ratio of larder's wall time to the peer's.
    Ratio(f64),
    /// The ratio of larder's wall time to the peer's, after these milliseconds.
    RatioAfter { most: f64, millis: f64 },
    /// The minimum speed, as a multiple of the peer's.
    TimesFaster(f64),
    /// The wall time in milliseconds.
    Millis(f64),
    /// The peak resident set in MiB.
    Mib(f64),
    /// The minimum share of a link's bandwidth. The link alone needs `seconds` for the data.
    LinkShare { least: f64, seconds: f64 },
}

impl Row {
    fn of_memory(name: &str, larder: &Stats, target: RowTarget) -> Self {
        Self { name: format!("peak memory: {name}"), larder: larder.clone(), peer: None, target }
    }

    /// Returns the results of the peer.
    pub(crate) fn peer_stats(&self) -> Option<&Stats> {
        self.peer.as_ref()?.stats.as_ref().ok()
    }

    /// The ratio of larder's wall time to the peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.larder.wall() / self.peer_stats()?.wall())
    }

    /// Returns the value that is compared with the target, unless the peer is missing.
    pub(crate) fn value(&self) -> Option<f64> {
        match self.target {
            RowTarget::Ratio(_) => self.ratio(),
            RowTarget::RatioAfter { millis, .. } => {
                Some((self.larder.wall() - millis / 1000.0).max(0.0) / self.peer_stats()?.wall())
            }
            RowTarget::TimesFaster(_) => self.ratio().map(f64::recip),
            RowTarget::Millis(_) => Some(self.larder.wall() * 1000.0),
            RowTarget::Mib(_) => Some(self.larder.peak_rss() / MIB),
            RowTarget::LinkShare { seconds, .. } => Some(seconds / self.larder.wall()),
        }
    }

    pub(crate) fn verdict(&self) -> RowVerdict {
        let Some(value) = self.value() else { return RowVerdict::NotMeasured };
        let is_met = match self.target {
            RowTarget::Ratio(most)
            | RowTarget::RatioAfter { most, .. }
            | RowTarget::Millis(most)
            | RowTarget::Mib(most) => value <= most,
            RowTarget::TimesFaster(least) | RowTarget::LinkShare { least, .. } => value >= least,
        };
        if is_met { RowVerdict::Met } else { RowVerdict::Missed }
    }
}

/// A peer of larder, and the target for the comparison. Each peer has its own row.
struct Rival<'a> {
    /// The name of the row.
    row: &'a str,
    name: &'static str,
    without: &'static str,
    target: RowTarget,
    subject: Result<MeasuredCommand<'a>, String>,
}

/// Measures larder in turns with the selected rivals that were found.
fn compare<'a>(
    larder: impl FnOnce() -> MeasuredCommand<'a>,
    rivals: impl IntoIterator<Item = Rival<'a>>,
    options: &BenchOptions,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let mut subjects = vec![larder()];
    let mut wanted = Vec::new();
    for Rival { row, name, without, target, subject } in rivals {
        if options.wants(row) {
            let measured = subject.map(|subject| {
                subjects.push(subject);
                subjects.len() - 1
            });
            wanted.push((row, name, without, target, measured));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let stats = in_turns(&subjects, options.rounds())?;
    let larder = stats.first().ok_or("nothing was measured")?;
    rows.extend(wanted.into_iter().map(|(row, name, without, target, measured)| Row {
        name: row.to_owned(),
        larder: larder.clone(),
        peer: Some(Peer { name, without, stats: measured.map(|place| stats[place].clone()) }),
        target,
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Sample;

    fn stats(walls: &[f64]) -> Stats {
        walls.iter().map(|wall| Sample { wall: *wall, cpu: 0.0, rss: 100.0 * MIB }).collect()
    }

    fn row(target: RowTarget) -> Row {
        let peer = Some(Peer::measured("peer", stats(&[8.0, 2.0, 4.0])));
        Row { name: String::new(), larder: stats(&[1.0, 9.0, 2.0]), peer, target }
    }

    #[test]
    fn targets_are_compared_with_medians_and_with_the_highest_peak() {
        let met = [
            RowTarget::Ratio(0.5),
            RowTarget::RatioAfter { most: 0.25, millis: 1000.0 },
            RowTarget::TimesFaster(2.0),
            RowTarget::Millis(2000.0),
            RowTarget::Mib(100.0),
            RowTarget::LinkShare { least: 0.8, seconds: 1.6 },
        ];
        let missed = [
            RowTarget::Ratio(0.4),
            RowTarget::RatioAfter { most: 0.25, millis: 999.0 },
            RowTarget::TimesFaster(2.1),
            RowTarget::Millis(1999.0),
            RowTarget::Mib(99.0),
            RowTarget::LinkShare { least: 0.8, seconds: 1.5 },
        ];
        assert!(met.map(row).iter().all(|row| row.verdict() == RowVerdict::Met));
        assert!(missed.map(row).iter().all(|row| row.verdict() == RowVerdict::Missed));
    }

    #[test]
    fn without_its_peer_a_ratio_is_neither_met_nor_missed() {
        let mut row = row(RowTarget::Ratio(0.5));
        let missing = Peer { name: "peer", without: "", stats: Err("it is not there".to_owned()) };
        row.peer = Some(missing);
        assert_eq!((row.value(), row.verdict()), (None, RowVerdict::NotMeasured));
    }
}
