//! What is measured, and what it should come to: a module for each backend, and the lines of their tables.

pub(crate) mod gcs;
pub(crate) mod local;
pub(crate) mod s3;
pub(crate) mod ssh;

use super::BenchOptions;
use super::measure::{Stats, Subject, in_turns};
use crate::Result;

const MIB: f64 = (1 << 20) as f64;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) larder: Stats,
    /// What it is compared with, unless the target is absolute.
    pub(crate) peer: Option<Peer>,
    pub(crate) target: RowTarget,
}

/// What larder is compared with.
pub(crate) struct Peer {
    /// Its command.
    pub(crate) name: &'static str,
    /// What it leaves out that larder does, where that is worth a word.
    pub(crate) without: &'static str,
    /// What was measured, or why nothing was.
    pub(crate) stats: Result<Stats, String>,
}

impl Peer {
    fn measured(name: &'static str, stats: Stats) -> Self {
        Self { name, without: "", stats: Ok(stats) }
    }
}

/// How a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowVerdict {
    Met,
    Missed,
    /// The peer is missing.
    NotMeasured,
}

/// What a row should come to.
#[derive(Clone, Copy)]
pub(crate) enum RowTarget {
    /// Wall time against the peer's.
    Ratio(f64),
    /// At least so many times as fast as the peer.
    TimesFaster(f64),
    /// Wall time in milliseconds.
    Millis(f64),
    /// Peak resident set in MiB.
    Mib(f64),
    /// At least this share of a link, which alone takes so many seconds for the data.
    LinkShare { least: f64, seconds: f64 },
}

impl Row {
    fn of_memory(name: &str, larder: &Stats, target: RowTarget) -> Self {
        Self { name: format!("peak memory: {name}"), larder: larder.clone(), peer: None, target }
    }

    /// What the peer took.
    pub(crate) fn peer_stats(&self) -> Option<&Stats> {
        self.peer.as_ref()?.stats.as_ref().ok()
    }

    /// Wall time against the peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        Some(self.larder.wall() / self.peer_stats()?.wall())
    }

    /// The value that is compared with the target's, unless the peer for it is missing.
    pub(crate) fn value(&self) -> Option<f64> {
        match self.target {
            RowTarget::Ratio(_) => self.ratio(),
            RowTarget::TimesFaster(_) => self.ratio().map(f64::recip),
            RowTarget::Millis(_) => Some(self.larder.wall() * 1000.0),
            RowTarget::Mib(_) => Some(self.larder.peak_rss() / MIB),
            RowTarget::LinkShare { seconds, .. } => Some(seconds / self.larder.wall()),
        }
    }

    pub(crate) fn verdict(&self) -> RowVerdict {
        let Some(value) = self.value() else { return RowVerdict::NotMeasured };
        let is_met = match self.target {
            RowTarget::Ratio(most) | RowTarget::Millis(most) | RowTarget::Mib(most) => value <= most,
            RowTarget::TimesFaster(least) | RowTarget::LinkShare { least, .. } => value >= least,
        };
        if is_met { RowVerdict::Met } else { RowVerdict::Missed }
    }
}

/// A program that does the same, and how larder should compare with it. To be so fast against the faster of two is to be
/// it against both: each has its row.
struct Rival<'a> {
    /// The row's name.
    row: &'a str,
    name: &'static str,
    without: &'static str,
    target: RowTarget,
    subject: Result<Subject<'a>, String>,
}

/// Measures larder in turns with those of its rivals that are wanted and there.
fn compare<'a>(
    larder: impl FnOnce() -> Subject<'a>,
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
            RowTarget::TimesFaster(2.0),
            RowTarget::Millis(2000.0),
            RowTarget::Mib(100.0),
            RowTarget::LinkShare { least: 0.8, seconds: 1.6 },
        ];
        let missed = [
            RowTarget::Ratio(0.4),
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
