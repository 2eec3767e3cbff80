//! Progress and cancellation.

/// Follows the progress of an operation, and may ask it to stop.
pub trait Observer: Send + Sync {
    /// Called when `count` more bytes have been read.
    fn bytes(&self, count: u64);

    /// Returns whether the operation should stop as soon as possible, with an error for the cancellation.
    fn is_cancelled(&self) -> bool;
}

/// An [`Observer`] that ignores progress and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn bytes(&self, _count: u64) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}
