//! Uploads that are being aborted.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

/// The tasks that abort uploads whose owners do not wait for them. [`larder_backend::Backend::close`] waits instead.
#[derive(Debug, Default)]
pub struct PendingAborts(Mutex<Vec<JoinHandle<()>>>);

impl PendingAborts {
    /// Adds a task.
    pub fn add(&self, abort: JoinHandle<()>) {
        let mut aborts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        aborts.retain(|abort| !abort.is_finished());
        aborts.push(abort);
    }

    /// Waits until all tasks have ended, including those that are added meanwhile. A task reports its errors itself.
    pub async fn wait(&self) {
        loop {
            let abort = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(abort) = abort else { return };
            abort.await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_all_tasks_have_ended() {
        let aborts = Arc::new(PendingAborts::default());
        let done = Arc::new(AtomicU32::new(0));
        let (count, later) = (Arc::clone(&done), Arc::clone(&aborts));
        aborts.add(tokio::spawn(async move {
            let inner = Arc::clone(&count);
            later.add(tokio::spawn(async move {
                inner.fetch_add(1, Ordering::Relaxed);
            }));
            count.fetch_add(1, Ordering::Relaxed);
        }));
        aborts.add(tokio::spawn(async { panic!("a task that fails is no reason to stop") }));
        aborts.wait().await;
        assert_eq!(done.load(Ordering::Relaxed), 2);
    }
}
