//! Decoders that need much memory take turns.

use futures::executor::block_on;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A decoder with a window up to this size, in bytes, needs no turn. No archive of ours has a larger one.
pub(super) const USUAL_WINDOW: u64 = 8 << 20;

/// Other programs write windows up to 128 MiB. Only one stream of the process may have such a decoder at a time.
static LARGE_DECODERS: Semaphore = Semaphore::const_new(1);

/// The right to have a decoder with a large window. It ends when this is dropped.
pub(super) struct LargeWindow {
    _permit: SemaphorePermit<'static>,
}

impl LargeWindow {
    /// Waits until no other stream has such a decoder.
    pub(super) fn wait() -> Self {
        let permit = block_on(LARGE_DECODERS.acquire());
        Self { _permit: permit.expect("the semaphore is never closed") }
    }
}
