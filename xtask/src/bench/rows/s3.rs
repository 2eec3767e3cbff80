//! larder with a remote in S3, against the AWS CLI, rclone and curl, and over a long and narrow link.

use super::{Peer, Row, Target};
use crate::Result;
use crate::bench::measure::{Subject, in_turns};
use crate::bench::stage::{LINK_MBIT, LINK_RTT_MS, OBJECT_MIB, S3};
use crate::bench::{Options, link};

/// A program that does the same, and the ratio to it that larder may have. To be so fast against the faster of two is to
/// be it against both: each has its row.
struct Rival<'a> {
    /// The row's name.
    row: &'static str,
    name: &'static str,
    without: &'static str,
    most: f64,
    subject: Result<Subject<'a>, String>,
}

const PUSH_AWS: &str = "push, 1 GiB, against the AWS CLI";
const PUSH_RCLONE: &str = "push, 1 GiB, against rclone";
const PULL_AWS: &str = "pull, 1 GiB, against the AWS CLI";
const PULL_RCLONE: &str = "pull, 1 GiB, against rclone";
const PULL_CURL: &str = "pull, 1 GiB, against curl";

/// At least this share of the link.
const SHARE: f64 = 0.8;

pub(crate) fn measure(stage: &S3, options: &Options) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let pushes = [
        Rival {
            row: PUSH_AWS,
            name: "aws s3 cp",
            without: "a hash of the content (checksums of parts only)",
            most: 0.9,
            subject: stage.aws_push(),
        },
        Rival {
            row: PUSH_RCLONE,
            name: "rclone copyto",
            without: "a hash of the content but MD5",
            most: 0.9,
            subject: stage.rclone_push(),
        },
    ];
    compare(|| stage.larder_push(), pushes, options, &mut rows)?;
    let pull_link = link_row("pull");
    if [PULL_AWS, PULL_RCLONE, PULL_CURL, &pull_link].iter().any(|row| options.wants(row)) {
        let kept = stage.keep_push()?;
        let pulls = [
            Rival {
                row: PULL_AWS,
                name: "aws s3 cp",
                without: "verification by a hash of the content",
                most: 0.7,
                subject: stage.aws_pull(&kept),
            },
            Rival {
                row: PULL_RCLONE,
                name: "rclone copyto",
                without: "verification by a hash of the content but the MD5 of its own push",
                most: 0.7,
                subject: stage.rclone_pull(),
            },
            Rival {
                row: PULL_CURL,
                name: "curl --output",
                without: "any verification (one stream of a presigned URL)",
                most: 1.5,
                subject: stage.curl_pull(&kept),
            },
        ];
        compare(|| stage.larder_pull(), pulls, options, &mut rows)?;
    }
    over_link(&link_row("push"), || stage.over_link(stage.larder_push()), options, &mut rows)?;
    over_link(&pull_link, || stage.over_link(stage.larder_pull()), options, &mut rows)?;
    Ok(rows)
}

/// Measures larder in turns with those of its rivals that are wanted and there.
fn compare<'a>(
    larder: impl FnOnce() -> Subject<'a>,
    rivals: impl IntoIterator<Item = Rival<'a>>,
    options: &Options,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let mut subjects = vec![larder()];
    let mut wanted = Vec::new();
    for Rival { row, name, without, most, subject } in rivals {
        if options.wants(row) {
            let measured = subject.map(|subject| {
                subjects.push(subject);
                subjects.len() - 1
            });
            wanted.push((row, name, without, most, measured));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let stats = in_turns(&subjects, options.rounds)?;
    let larder = stats.first().ok_or("nothing was measured")?;
    rows.extend(wanted.into_iter().map(|(row, name, without, most, measured)| Row {
        name: row.to_owned(),
        larder: larder.clone(),
        peer: Some(Peer { name, without, stats: measured.map(|place| stats[place].clone()) }),
        target: Target::Ratio(most),
    }));
    Ok(())
}

fn link_row(verb: &str) -> String {
    format!("{verb}, 1 GiB, over the link of {LINK_MBIT} Mbit/s with {LINK_RTT_MS} ms")
}

fn over_link<'a>(
    name: &str,
    larder: impl FnOnce() -> Subject<'a>,
    options: &Options,
    rows: &mut Vec<Row>,
) -> Result<()> {
    if options.wants(name) {
        let target = Target::LinkShare { least: SHARE, seconds: link::seconds(OBJECT_MIB, LINK_MBIT) };
        let row = |larder| Row { name: name.to_owned(), larder, peer: None, target };
        rows.extend(in_turns(&[larder()], options.rounds)?.into_iter().map(row));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn subject() -> Subject<'static> {
        Subject { clear: Box::new(|| Ok(())), command: Box::new(|| Command::new("true")) }
    }

    fn rows(only: &[&str]) -> Vec<Row> {
        let rival = |row, subject| Rival { row, name: "rival", without: "care", most: 0.9, subject };
        let rivals = [
            rival(PUSH_AWS, Err("it is not here".to_owned())),
            rival(PUSH_RCLONE, Ok(subject())),
            rival(PULL_CURL, Ok(subject())),
        ];
        let mut options = Options::parse(&[]).unwrap();
        options.rounds = 0;
        options.only = only.iter().map(ToString::to_string).collect();
        let mut rows = Vec::new();
        compare(subject, rivals, &options, &mut rows).unwrap();
        rows
    }

    #[test]
    fn a_peer_that_is_missing_has_a_row_that_says_why() {
        let rows = rows(&[]);
        let seen = |row: &Row| {
            let peer = row.peer.as_ref().unwrap();
            (row.name.clone(), peer.stats.as_ref().err().cloned())
        };
        let wanted = [(PUSH_AWS, Some("it is not here")), (PUSH_RCLONE, None), (PULL_CURL, None)];
        let wanted = wanted.map(|(name, missing)| (name.to_owned(), missing.map(str::to_owned)));
        assert_eq!(rows.iter().map(seen).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn only_the_rows_that_are_wanted_are_measured() {
        let names = |only: &[&str]| rows(only).into_iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names(&["push"]), [PUSH_AWS, PUSH_RCLONE]);
        assert_eq!(names(&["rclone", "curl"]), [PUSH_RCLONE, PULL_CURL]);
        assert!(names(&["weights"]).is_empty());
    }
}
