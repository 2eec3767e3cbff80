//! Compares larder with a remote in S3 with the AWS CLI, rclone and curl, and measures it over a slow link.

use super::{Rival, Row, RowTarget, compare};
use crate::Result;
use crate::bench::measure::{MeasuredCommand, in_turns};
use crate::bench::stage::{LINK_MBIT, LINK_RTT_MS, OBJECT_MIB, S3};
use crate::bench::{BenchOptions, link};

const PUSH_AWS: &str = "push, 1 GiB, against the AWS CLI";
const PUSH_RCLONE: &str = "push, 1 GiB, against rclone";
const PULL_AWS: &str = "pull, 1 GiB, against the AWS CLI";
const PULL_RCLONE: &str = "pull, 1 GiB, against rclone";
const PULL_CURL: &str = "pull, 1 GiB, against curl";

/// The minimum share of the link's bandwidth.
const SHARE: f64 = 0.8;

pub(crate) fn measure(stage: &S3, options: &BenchOptions) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let pushes = [
        Rival {
            row: PUSH_AWS,
            name: "aws s3 cp",
            without: "a hash of the content (checksums of parts only)",
            target: RowTarget::Ratio(0.9),
            subject: stage.aws_push(),
        },
        Rival {
            row: PUSH_RCLONE,
            name: "rclone copyto",
            without: "a hash of the content other than MD5",
            target: RowTarget::Ratio(0.9),
            subject: stage.rclone_push(),
        },
    ];
    compare(|| stage.larder_push(), pushes, options, &mut rows)?;
    let pull_link = link_row("pull");
    if [PULL_AWS, PULL_RCLONE, PULL_CURL, &pull_link].iter().any(|row| options.wants(row)) {
        let kept = stage.prepare_pulls()?;
        let pulls = [
            Rival {
                row: PULL_AWS,
                name: "aws s3 cp",
                without: "verification by a hash of the content",
                target: RowTarget::Ratio(0.7),
                subject: stage.aws_pull(&kept),
            },
            Rival {
                row: PULL_RCLONE,
                name: "rclone copyto",
                without: "verification by a hash of the content other than the MD5 of its own push",
                target: RowTarget::Ratio(0.7),
                subject: stage.rclone_pull(),
            },
            Rival {
                row: PULL_CURL,
                name: "curl --output",
                without: "any verification (one stream of a presigned URL)",
                target: RowTarget::Ratio(1.5),
                subject: stage.curl_pull(&kept),
            },
        ];
        compare(|| stage.larder_pull(), pulls, options, &mut rows)?;
    }
    over_link(&link_row("push"), || stage.over_link(stage.larder_push()), options, &mut rows)?;
    over_link(&pull_link, || stage.over_link(stage.larder_pull()), options, &mut rows)?;
    Ok(rows)
}

fn link_row(verb: &str) -> String {
    format!("{verb}, 1 GiB, over the link of {LINK_MBIT} Mbit/s with {LINK_RTT_MS} ms")
}

fn over_link<'a>(
    name: &str,
    larder: impl FnOnce() -> MeasuredCommand<'a>,
    options: &BenchOptions,
    rows: &mut Vec<Row>,
) -> Result<()> {
    if options.wants(name) {
        let target = RowTarget::LinkShare { least: SHARE, seconds: link::seconds(OBJECT_MIB, LINK_MBIT) };
        let row = |larder| Row { name: name.to_owned(), larder, peer: None, target };
        rows.extend(in_turns(&[larder()], options.rounds())?.into_iter().map(row));
    }
    Ok(())
}
