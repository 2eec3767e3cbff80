//! The table.

use std::fmt::Write as _;

use super::measure::Stats;
use super::rows::{Row, Target};

/// The whole page.
pub(crate) fn markdown(rows: &[Row], machine: &[String], rounds: usize) -> String {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`; do not edit.\n\n\
         Wall times are medians with the fastest and the slowest run; larder and what it is compared with were measured in \
         turns. Hashing and verification are always on. The remote, the archive and the destination are new for every run.\n\n",
    );
    for line in machine {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "- runs of each command: {rounds}, and more where they take milliseconds\n");
    text.push_str("![wall time of larder against its peers](benchmarks.svg)\n\n");
    text.push_str("| what | larder | peer | | result | target | |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let (peer, time) =
            row.peer.as_ref().map_or_else(Default::default, |(name, stats)| (*name, wall(stats)));
        let larder = match row.target {
            Target::Mib(_) => String::new(),
            _ => wall(&row.larder),
        };
        let _ = writeln!(
            text,
            "| {} | {larder} | {time} | {} | {} | {} | {} |",
            row.name,
            if peer.is_empty() { String::new() } else { format!("`{}`", peer.replace('|', "\\|")) },
            value(row),
            target(row.target),
            if row.is_met() { "met" } else { "**missed**" },
        );
    }
    text.push_str("\n## Processor time and memory\n\nMedians of processor seconds; the highest resident set of any one process.\n\n");
    text.push_str("| what | larder CPU | larder peak | peer CPU | peer peak |\n|---|---|---|---|---|\n");
    for row in rows {
        let Some((_, peer)) = &row.peer else { continue };
        let _ = writeln!(text, "| {} | {} | {} |", row.name, used(&row.larder), used(peer));
    }
    text
}

fn used(stats: &Stats) -> String {
    format!("{:.2} s | {:.0} MiB", stats.cpu(), stats.peak_rss() / f64::from(1 << 20))
}

fn wall(stats: &Stats) -> String {
    let (fastest, slowest) = stats.range();
    if slowest < 0.1 {
        let [median, fastest, slowest] = [stats.wall(), fastest, slowest].map(|seconds| seconds * 1000.0);
        return format!("{median:.1} ms ({fastest:.1}–{slowest:.1})");
    }
    format!("{:.2} s ({fastest:.2}–{slowest:.2})", stats.wall())
}

/// What a row came to, with its unit.
pub(crate) fn value(row: &Row) -> String {
    let value = row.value();
    match row.target {
        Target::Ratio(_) => format!("{value:.2}x"),
        Target::TimesFaster(_) => format!("{value:.1}x as fast"),
        Target::Millis(_) => format!("{value:.1} ms"),
        Target::Mib(_) => format!("{value:.0} MiB"),
    }
}

fn target(target: Target) -> String {
    match target {
        Target::Ratio(most) => format!("at most {most}x"),
        Target::TimesFaster(least) => format!("at least {least}x as fast"),
        Target::Millis(most) => format!("under {most} ms"),
        Target::Mib(most) => format!("at most {most:.0} MiB"),
    }
}
