//! Running work concurrently and on blocking threads.

use futures::{Stream, StreamExt as _, stream};

/// How many outputs are transferred at once. Each has its own buffers, but no threads of its own.
pub(crate) const MAX_TRANSFERS: usize = 4;

/// Runs futures in order, at most [`MAX_TRANSFERS`] at once.
pub(crate) fn few_at_once<F: Future>(futures: impl IntoIterator<Item = F>) -> impl Stream<Item = F::Output> {
    // Collected, because the compiler cannot prove that a stream which borrows in a closure may move between threads.
    let futures: Vec<F> = futures.into_iter().collect();
    stream::iter(futures).buffered(MAX_TRANSFERS)
}

/// Runs `work` on a thread that may block.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("blocking tasks are never aborted, and the runtime outlives this future"),
        },
    }
}
