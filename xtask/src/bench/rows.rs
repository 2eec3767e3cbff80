//! What is measured, and what it should come to.

use super::Options;
use super::data::SMALL_FILES;
use super::measure::{Stats, in_turns};
use super::stage::{LARGE, SMALL, Stage, WEIGHTS, with_slow_opens};
use crate::Result;

const MIB: f64 = (1 << 20) as f64;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) larder: Stats,
    /// What it is compared with, unless the target is absolute.
    pub(crate) peer: Option<(&'static str, Stats)>,
    pub(crate) target: Target,
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
}

impl Row {
    fn of_memory(name: &str, larder: &Stats, target: Target) -> Self {
        Self { name: format!("peak memory: {name}"), larder: larder.clone(), peer: None, target }
    }

    /// The value that is compared with the target's.
    pub(crate) fn value(&self) -> f64 {
        let ratio = || self.peer.as_ref().map_or(f64::NAN, |(_, peer)| self.larder.wall() / peer.wall());
        match self.target {
            Target::Ratio(_) => ratio(),
            Target::TimesFaster(_) => 1.0 / ratio(),
            Target::Millis(_) => self.larder.wall() * 1000.0,
            Target::Mib(_) => self.larder.peak_rss() / MIB,
        }
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Target::Ratio(most) | Target::Millis(most) | Target::Mib(most) => self.value() <= most,
            Target::TimesFaster(least) => self.value() >= least,
        }
    }
}

/// A data set, its name in the table, how many entries it has, and the ratios that pushing and pulling it may have.
const DATA: [(&str, &str, f64, f64, f64); 3] = [
    (LARGE, "512 MiB", 3.0, 1.0, 0.8),
    (SMALL, "10,000 files", SMALL_FILES as f64 + 101.0, 1.1, 1.2),
    (WEIGHTS, "weights", 1.0, 0.5, 0.8),
];

const TAR_PUSH: &str = "tar | zstd -3 -T0";
const TAR_PULL: &str = "zstd -dc | tar";

pub(crate) fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut memory = Vec::new();
    for (data, name, entries, push_target, pull_target) in DATA {
        let most_memory = |mib: f64| Target::Mib(mib + 20.0 * further_cores() + 256.0 * entries / MIB);
        let push = format!("push, {name}");
        if options.wants(&push) {
            let subjects = [stage.larder_push(data, "zstd"), stage.tar_push(data)];
            let [larder, tar] = pair(in_turns(&subjects, options.rounds)?)?;
            memory.push(Row::of_memory(&push, &larder, most_memory(128.0)));
            rows.push(Row {
                name: push,
                larder,
                peer: Some((TAR_PUSH, tar)),
                target: Target::Ratio(push_target),
            });
        }
        let pull = format!("pull, {name}");
        if options.wants(&pull) {
            stage.keep_push(data)?;
            let [larder, tar] =
                pair(in_turns(&[stage.larder_pull(data), stage.tar_pull()], options.rounds)?)?;
            memory.push(Row::of_memory(&pull, &larder, most_memory(64.0)));
            rows.push(Row {
                name: pull,
                larder,
                peer: Some((TAR_PULL, tar)),
                target: Target::Ratio(pull_target),
            });
        }
    }
    slow_opens(stage, options, &mut rows)?;
    against_weasel(stage, options, &mut rows)?;
    rows.extend(memory);
    latency(stage, options, &mut rows)?;
    Ok(rows)
}

/// The cores beyond two: each may cost 20 MiB more.
fn further_cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores.saturating_sub(2)).map_or(0.0, f64::from)
}

fn pair(stats: Vec<Stats>) -> Result<[Stats; 2]> {
    stats.try_into().map_err(|_| "two subjects were measured".into())
}

fn slow_opens(stage: &Stage, options: &Options, rows: &mut Vec<Row>) -> Result<()> {
    if !options.wants("10,000 files where each open takes 1 ms") {
        return Ok(());
    }
    stage.keep_push(SMALL)?;
    let push = [stage.larder_push(SMALL, "zstd"), stage.tar_push(SMALL)];
    let pull = [stage.larder_pull(SMALL), stage.tar_pull()];
    for (verb, subjects, peer) in [("push", push, TAR_PUSH), ("pull", pull, TAR_PULL)] {
        let [larder, other] = pair(in_turns(&subjects.map(with_slow_opens), options.rounds)?)?;
        let name = format!("{verb}, 10,000 files where each open takes 1 ms");
        rows.push(Row { name, larder, peer: Some((peer, other)), target: Target::Ratio(0.25) });
    }
    Ok(())
}

fn against_weasel(stage: &Stage, options: &Options, rows: &mut Vec<Row>) -> Result<()> {
    let mut add = |name: &str, larder: Stats, peer: (&'static str, Stats), target| {
        rows.push(Row {
            name: format!("{name}, 512 MiB, against weasel"),
            larder,
            peer: Some(peer),
            target: Target::TimesFaster(target),
        });
    };
    if options.wants("push against weasel") {
        let subjects =
            [stage.larder_push(LARGE, "gzip"), stage.larder_push(LARGE, "zstd"), stage.weasel_push()];
        let stats = in_turns(&subjects, options.rounds)?;
        let [gzip, zstd, weasel] = stats.try_into().map_err(|_| "three subjects were measured")?;
        add("push with gzip", gzip, ("weasel push", weasel.clone()), 4.0);
        add("push with zstd", zstd, ("weasel push", weasel), 7.0);
    }
    if options.wants("pull against weasel") {
        stage.keep_push(LARGE)?;
        stage.keep_weasel_push()?;
        let subjects = [stage.larder_pull(LARGE), stage.weasel_pull()];
        let [larder, weasel] = pair(in_turns(&subjects, options.rounds)?)?;
        add("pull", larder, ("weasel pull", weasel), 4.0);
    }
    Ok(())
}

/// Milliseconds vary more than seconds, and cost less.
const LATENCY_ROUNDS: usize = 4;

fn latency(stage: &Stage, options: &Options, rows: &mut Vec<Row>) -> Result<()> {
    let rounds = options.rounds * LATENCY_ROUNDS + 1;
    if options.wants("larder --version") {
        let stats = in_turns(&[stage.version()], rounds)?;
        let row = |larder| Row {
            name: "larder --version".to_owned(),
            larder,
            peer: None,
            target: Target::Millis(10.0),
        };
        rows.extend(stats.into_iter().map(row));
    }
    let name = "larder find among 10,000 objects of one command hash";
    if options.wants(name) {
        let stats = in_turns(&[stage.find(10_000)?], rounds)?;
        let row = |larder| Row { name: name.to_owned(), larder, peer: None, target: Target::Millis(30.0) };
        rows.extend(stats.into_iter().map(row));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Sample;

    fn stats(walls: &[f64]) -> Stats {
        walls.iter().map(|wall| Sample { wall: *wall, cpu: 0.0, rss: 100.0 * MIB }).collect()
    }

    fn row(target: Target) -> Row {
        let peer = Some(("peer", stats(&[8.0, 2.0, 4.0])));
        Row { name: String::new(), larder: stats(&[1.0, 9.0, 2.0]), peer, target }
    }

    #[test]
    fn targets_are_compared_with_medians_and_with_the_highest_peak() {
        let met = [Target::Ratio(0.5), Target::TimesFaster(2.0), Target::Millis(2000.0), Target::Mib(100.0)];
        let missed =
            [Target::Ratio(0.4), Target::TimesFaster(2.1), Target::Millis(1999.0), Target::Mib(99.0)];
        assert!(met.map(row).iter().all(Row::is_met));
        assert!(!missed.map(row).iter().any(Row::is_met));
    }
}
