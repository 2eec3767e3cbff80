//! Hashing files of the project, with the storage's threads and progress.

use std::path::Path;
use std::sync::Arc;

use larder_hashing::{ContentHash, HashOptions, OutputPath, Scheme};
use larder_tree::{Observer, TreeOptions};
use tokio_util::sync::CancellationToken;

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::report::{Phase, PhaseReport};
use crate::tasks::run_blocking;

/// Returns the content hash of a path. Progress is reported for `label`, if there is one.
pub(crate) async fn content_hash(
    context: &StorageContext,
    scheme: Scheme,
    path: &Path,
    label: Option<&OutputPath>,
) -> Result<ContentHash> {
    let (reporter, cancel) = (&context.options.reporter, &context.options.cancel);
    let observer: Arc<dyn Observer> = match label {
        Some(label) => PhaseReport::start(reporter, cancel, label, Phase::Hash, None),
        None => Arc::new(Unreported(cancel.clone())),
    };
    let tree = TreeOptions::default()
        .with_workers(context.options.workers.clone())
        .with_stat_cache(context.options.stat_cache.clone())
        .with_observer(observer);
    let options = HashOptions::new(scheme).with_tree(tree);
    let path = path.to_owned();
    match run_blocking(move || larder_hashing::content_hash(&path, &options)).await {
        Err(error) if error.is_cancelled() => Err(Error::Cancelled),
        hash => Ok(hash?),
    }
}

/// Reports no progress, and passes on a request to stop.
struct Unreported(CancellationToken);

impl Observer for Unreported {
    fn bytes(&self, _count: u64) {}

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
