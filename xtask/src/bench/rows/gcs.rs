//! Compares larder with a remote in Google Cloud Storage with curl.

use super::{Rival, Row, RowTarget, compare};
use crate::Result;
use crate::bench::BenchOptions;
use crate::bench::stage::Gcs;

const PUSH: &str = "push, 1 GiB, against curl";
const PULL: &str = "pull, 1 GiB, against curl";

/// The target leaves room for hashing and verification, which curl does not do.
const TARGET: RowTarget = RowTarget::Ratio(1.5);

pub(crate) fn measure(stage: &Gcs, options: &BenchOptions) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let push = Rival {
        row: PUSH,
        name: "curl --upload-file",
        without: "any hash of the content (one request)",
        target: TARGET,
        subject: Ok(stage.curl_push()),
    };
    compare(|| stage.larder_push(), [push], options, &mut rows)?;
    if options.wants(PULL) {
        let kept = stage.prepare_pulls()?;
        let pull = Rival {
            row: PULL,
            name: "curl --output",
            without: "any verification (one stream)",
            target: TARGET,
            subject: Ok(stage.curl_pull(&kept)),
        };
        compare(|| stage.larder_pull(), [pull], options, &mut rows)?;
    }
    Ok(rows)
}
