//! Compares larder with a remote over SSH with OpenSSH's scp and sftp, also over a slow link.

use super::{Rival, Row, RowTarget, compare};
use crate::Result;
use crate::bench::BenchOptions;
use crate::bench::measure::MeasuredCommand;
use crate::bench::stage::{LINK_RTT_MS, Ssh, Way};

/// The work that scp and sftp omit.
const WITHOUT: &str = "any hash of the content, and `fsync`";
const WITHOUT_VERIFYING: &str = "any hash of the content";
/// Bare libssh2 with the same calls, which shows its share of the time.
const LIBSSH2: &str = "libssh2 alone";
const NOTHING_ELSE: &str = "hashes, `fsync`, publishing, and writing the pulled file";
const NEXT_TO_LIBSSH2: RowTarget = RowTarget::Ratio(1.5);

/// The maximum peak memory for an output of any size, in MiB.
const MOST_MEMORY: f64 = 192.0;

pub(crate) fn measure(stage: &Ssh, options: &BenchOptions) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (way, where_to) in ways() {
        let [scp, sftp, libssh2] = PEERS.map(|peer| row_name("push", &where_to, peer));
        let mut rivals = vec![
            Rival {
                row: &scp,
                name: "scp",
                without: WITHOUT,
                target: target(way),
                subject: Ok(stage.scp_push(way)),
            },
            Rival {
                row: &sftp,
                name: "sftp put",
                without: WITHOUT,
                target: target(way),
                subject: Ok(stage.sftp_push(way)?),
            },
        ];
        if way == Way::Loopback {
            rivals.push(alone(&libssh2, stage.libssh2_push(way)));
        }
        compare(|| stage.larder_push(way), rivals, options, &mut rows)?;
    }
    let kept = stage.prepare_pulls()?;
    for (way, where_from) in ways() {
        let [scp, sftp, libssh2] = PEERS.map(|peer| row_name("pull", &where_from, peer));
        let mut rivals = vec![
            Rival {
                row: &scp,
                name: "scp",
                without: WITHOUT_VERIFYING,
                target: target(way),
                subject: Ok(stage.scp_pull(way, &kept)),
            },
            Rival {
                row: &sftp,
                name: "sftp get",
                without: WITHOUT_VERIFYING,
                target: target(way),
                subject: Ok(stage.sftp_pull(way, &kept)?),
            },
        ];
        if way == Way::Loopback {
            rivals.push(alone(&libssh2, stage.libssh2_pull(way, &kept)));
        }
        compare(|| stage.larder_pull(way), rivals, options, &mut rows)?;
    }
    let memory = |row: &Row| Row::of_memory(&row.name, &row.larder, RowTarget::Mib(MOST_MEMORY));
    let against_scp = rows.iter().filter(|row| row.name.ends_with("scp"));
    rows.extend(against_scp.map(memory).collect::<Vec<_>>());
    Ok(rows)
}

/// Compares with bare libssh2.
fn alone<'a>(row: &'a str, subject: MeasuredCommand<'a>) -> Rival<'a> {
    Rival { row, name: LIBSSH2, without: NOTHING_ELSE, target: NEXT_TO_LIBSSH2, subject: Ok(subject) }
}

/// The ends of the rows' names.
const PEERS: [&str; 3] = ["scp", "sftp", "libssh2 alone"];

fn ways() -> [(Way, String); 2] {
    [(Way::Loopback, "loopback".to_owned()), (Way::Link, format!("{LINK_RTT_MS} ms"))]
}

fn row_name(verb: &str, way: &str, peer: &str) -> String {
    format!("{verb}, 512 MiB, {way}, against {peer}")
}

fn target(way: Way) -> RowTarget {
    match way {
        Way::Loopback => RowTarget::Ratio(1.0),
        Way::Link => RowTarget::TimesFaster(3.0),
    }
}
