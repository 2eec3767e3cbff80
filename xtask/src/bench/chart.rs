//! The chart: a bar for each row with a peer. The wall time of the peer is 1.

use std::fmt::Write as _;

use super::report;
use super::rows::{Row, RowTarget, RowVerdict};

/// The width in pixels.
const WIDTH: f64 = 900.0;
const LABELS: f64 = 330.0;
const SCALE: f64 = 330.0;
const LINE: f64 = 30.0;
const TOP: f64 = 58.0;
/// The ratio at which bars are cut. A cut bar still shows that the row missed its target.
const LONGEST: f64 = 1.4;

/// The colors follow the reader's light or dark scheme, even if the chart is shown as an image.
const STYLE: &str = "\
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .note { fill: #59636e }
  .ground { fill: #ffffff }
  .met { fill: #1a7f37 }
  .missed { fill: #cf222e }
  .peer { stroke: #59636e; stroke-dasharray: 4 3 }
  .target { stroke: #1f2328; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .ground { fill: #0d1117 }
    .met { fill: #3fb950 }
    .missed { fill: #f85149 }
    .peer { stroke: #9198a1 }
    .target { stroke: #f0f6fc }
  }
";

pub(crate) fn svg(rows: &[Row]) -> String {
    let rows: Vec<(&Row, f64, f64)> =
        rows.iter().filter_map(|row| Some((row, row.ratio()?, target(row)?))).collect();
    #[expect(clippy::cast_precision_loss, reason = "some dozen lines")]
    let height = TOP + LINE * rows.len() as f64 + 14.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Wall time of larder against its peers\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"12\" y=\"22\">Wall time of larder, where that of its peer is 1 (shorter is better)</text>\n\
         <text class=\"note\" x=\"12\" y=\"42\">dashed: the peer; thick mark: the target</text>\n"
    );
    let mut y = TOP;
    for (row, ratio, target) in rows {
        let class = if row.verdict() == RowVerdict::Met { "met" } else { "missed" };
        let bar = ratio.min(LONGEST) * SCALE;
        let (middle, mark) = (y + LINE / 2.0 + 4.0, LABELS + target * SCALE);
        let _ = write!(
            svg,
            "<text x=\"12\" y=\"{middle:.1}\">{}</text>\n\
             <rect class=\"{class}\" x=\"{LABELS}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{:.1}\" rx=\"2\"/>\n\
             <line class=\"target\" x1=\"{mark:.1}\" x2=\"{mark:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\n\
             <text class=\"note\" x=\"{:.1}\" y=\"{middle:.1}\">{}, {}</text>\n",
            row.name,
            y + 6.0,
            LINE - 12.0,
            y + 3.0,
            y + LINE - 3.0,
            LABELS + bar.max(target * SCALE).max(SCALE) + 10.0,
            report::value(row),
            class,
        );
        y += LINE;
    }
    let peer = LABELS + SCALE;
    let _ =
        write!(svg, "<line class=\"peer\" x1=\"{peer}\" x2=\"{peer}\" y1=\"{TOP}\" y2=\"{y}\"/>\n</svg>\n");
    svg
}

/// The target as a ratio.
fn target(row: &Row) -> Option<f64> {
    match row.target {
        RowTarget::Ratio(most) => Some(most),
        RowTarget::TimesFaster(least) => Some(1.0 / least),
        RowTarget::RatioAfter { .. }
        | RowTarget::Millis(_)
        | RowTarget::Mib(_)
        | RowTarget::LinkShare { .. } => None,
    }
}
