//! Warnings about damaged candidates: a few are named, and the others counted.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_backend::error_chain;

use crate::context::StorageContext;
use crate::report::Warning;

/// How many damaged objects one pull names.
const NAMED: u64 = 5;

/// Counts the damaged candidates of one pull.
#[derive(Debug, Default)]
pub(super) struct DamagedCandidates {
    count: AtomicU64,
}

impl DamagedCandidates {
    /// Warns of a damaged object, while another is tried instead.
    pub(super) fn report(&self, context: &StorageContext, url: &str, cause: &(dyn StdError + 'static)) {
        if self.count.fetch_add(1, Ordering::Relaxed) < NAMED {
            context.warn(&Warning::DamagedObject { url: url.to_owned(), reason: error_chain(cause) });
        }
    }

    /// Warns of the number of objects that were not named.
    pub(super) fn finish(&self, context: &StorageContext) {
        let count = self.count.load(Ordering::Relaxed).saturating_sub(NAMED);
        if count > 0 {
            context.warn(&Warning::MoreDamagedObjects { count });
        }
    }
}
