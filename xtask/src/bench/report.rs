//! The table.

use std::fmt::Write as _;

use super::measure::Stats;
use super::rows::{Peer, Row, RowTarget, RowVerdict};

/// The fixed texts of a page.
pub(crate) struct ReportPage {
    pub(crate) title: &'static str,
    /// The task that writes it.
    pub(crate) task: &'static str,
    /// A paragraph that follows the definition of wall time.
    pub(crate) about: &'static str,
}

/// Returns the whole page. Its chart is in `<file>.svg`.
pub(crate) fn markdown(
    page: &ReportPage,
    file: &str,
    rows: &[Row],
    machine: &[String],
    rounds: usize,
) -> String {
    let ReportPage { title, task, about } = page;
    let mut text = format!(
        "# {title}\n\nWritten by `{task}`; do not edit.\n\n\
         Wall times are medians with the fastest and the slowest run; larder and its peers were measured in turns. {about}\n\n",
    );
    for line in machine {
        let _ = writeln!(text, "- {line}");
    }
    let more = if rounds > 1 { ", more for short commands" } else { "" };
    let _ = writeln!(text, "- runs of each command: {rounds}{more}\n");
    let _ = writeln!(text, "![wall time of larder against its peers]({file}.svg)\n");
    text.push_str("| measurement | larder | peer | | result | target | |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let time = row.peer_stats().map(wall).unwrap_or_default();
        let larder = match row.target {
            RowTarget::Mib(_) => String::new(),
            _ => wall(&row.larder),
        };
        let _ = writeln!(
            text,
            "| {} | {larder} | {time} | {} | {} | {} | {} |",
            row.name,
            row.peer.as_ref().map(peer).unwrap_or_default(),
            value(row),
            target(row.target),
            verdict(row.verdict()),
        );
    }
    text.push_str("\n## CPU time and memory\n\nCPU times are medians. Peaks are the highest resident set of a single process.\n\n");
    text.push_str(
        "| measurement | larder CPU | larder peak | peer CPU | peer peak |\n|---|---|---|---|---|\n",
    );
    for row in rows {
        let Some(peer) = row.peer_stats() else { continue };
        let _ = writeln!(text, "| {} | {} | {} |", row.name, used(&row.larder), used(peer));
    }
    text
}

fn peer(peer: &Peer) -> String {
    let mut text = format!("`{}`", peer.name);
    if !peer.without.is_empty() {
        let _ = write!(text, ", without {}", peer.without);
    }
    if let Err(reason) = &peer.stats {
        let _ = write!(text, ": missing: {reason}");
    }
    // A bar and a line break would end the cell.
    text.replace('|', "\\|").replace('\n', " ")
}

fn verdict(verdict: RowVerdict) -> &'static str {
    match verdict {
        RowVerdict::Met => "met",
        RowVerdict::Missed => "**missed**",
        RowVerdict::NotMeasured => "**not measured**",
    }
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

/// Returns the result of a row with its unit.
pub(crate) fn value(row: &Row) -> String {
    let Some(value) = row.value() else { return "–".to_owned() };
    match row.target {
        RowTarget::Ratio(_) => format!("{value:.2}x"),
        RowTarget::RatioAfter { millis, .. } => format!("{value:.2}x and {millis} ms"),
        RowTarget::TimesFaster(_) => format!("{value:.1}x as fast"),
        RowTarget::Millis(_) => format!("{value:.1} ms"),
        RowTarget::Mib(_) => format!("{value:.0} MiB"),
        RowTarget::LinkShare { .. } => format!("{:.0} % of the link", (value * 100.0).floor()),
    }
}

fn target(target: RowTarget) -> String {
    match target {
        RowTarget::Ratio(most) => format!("at most {most}x"),
        RowTarget::RatioAfter { most, millis } => format!("at most {most}x and {millis} ms"),
        RowTarget::TimesFaster(least) => format!("at least {least}x as fast"),
        RowTarget::Millis(most) => format!("under {most} ms"),
        RowTarget::Mib(most) => format!("at most {most:.0} MiB"),
        RowTarget::LinkShare { least, .. } => format!("at least {:.0} % of the link", least * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_omissions_of_a_peer_and_the_reason_why_it_is_missing() {
        let shown = |without, stats: Result<Stats, &str>| {
            peer(&Peer { name: "a | b", without, stats: stats.map_err(str::to_owned) })
        };
        let stats = || Ok(Stats::from_iter([]));
        assert_eq!(shown("", stats()), "`a \\| b`");
        assert_eq!(shown("hashing", stats()), "`a \\| b`, without hashing");
        assert_eq!(shown("hashing", Err("no\nGo")), "`a \\| b`, without hashing: missing: no Go");
    }
}
