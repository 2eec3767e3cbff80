//! What is measured, and what it should come to: a module for each backend, and the lines of their tables.

pub(crate) mod local;
pub(crate) mod s3;

use super::measure::Stats;

const MIB: f64 = (1 << 20) as f64;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) larder: Stats,
    /// What it is compared with, unless the target is absolute.
    pub(crate) peer: Option<Peer>,
    pub(crate) target: Target,
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
pub(crate) enum Verdict {
    Met,
    Missed,
    /// The peer is missing.
    NotMeasured,
}

/// What a row should come to.
#[derive(Clone, Copy)]
pub(crate) enum Target {
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
    fn of_memory(name: &str, larder: &Stats, target: Target) -> Self {
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
            Target::Ratio(_) => self.ratio(),
            Target::TimesFaster(_) => self.ratio().map(f64::recip),
            Target::Millis(_) => Some(self.larder.wall() * 1000.0),
            Target::Mib(_) => Some(self.larder.peak_rss() / MIB),
            Target::LinkShare { seconds, .. } => Some(seconds / self.larder.wall()),
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Some(value) = self.value() else { return Verdict::NotMeasured };
        let is_met = match self.target {
            Target::Ratio(most) | Target::Millis(most) | Target::Mib(most) => value <= most,
            Target::TimesFaster(least) | Target::LinkShare { least, .. } => value >= least,
        };
        if is_met { Verdict::Met } else { Verdict::Missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Sample;

    fn stats(walls: &[f64]) -> Stats {
        walls.iter().map(|wall| Sample { wall: *wall, cpu: 0.0, rss: 100.0 * MIB }).collect()
    }

    fn row(target: Target) -> Row {
        let peer = Some(Peer::measured("peer", stats(&[8.0, 2.0, 4.0])));
        Row { name: String::new(), larder: stats(&[1.0, 9.0, 2.0]), peer, target }
    }

    #[test]
    fn targets_are_compared_with_medians_and_with_the_highest_peak() {
        let met = [
            Target::Ratio(0.5),
            Target::TimesFaster(2.0),
            Target::Millis(2000.0),
            Target::Mib(100.0),
            Target::LinkShare { least: 0.8, seconds: 1.6 },
        ];
        let missed = [
            Target::Ratio(0.4),
            Target::TimesFaster(2.1),
            Target::Millis(1999.0),
            Target::Mib(99.0),
            Target::LinkShare { least: 0.8, seconds: 1.5 },
        ];
        assert!(met.map(row).iter().all(|row| row.verdict() == Verdict::Met));
        assert!(missed.map(row).iter().all(|row| row.verdict() == Verdict::Missed));
    }

    #[test]
    fn without_its_peer_a_ratio_is_neither_met_nor_missed() {
        let mut row = row(Target::Ratio(0.5));
        let missing = Peer { name: "peer", without: "", stats: Err("it is not there".to_owned()) };
        row.peer = Some(missing);
        assert_eq!((row.value(), row.verdict()), (None, Verdict::NotMeasured));
    }
}
