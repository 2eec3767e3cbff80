//! Progress in a log, such as that of a CI job. One line per 30 s shows that a long transfer is alive.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::line::log_line;
use super::meter::Meter;
use super::ticker::Ticker;

/// The time between two lines. CI services end jobs that are silent for some minutes. More lines would only
/// be noise.
const PERIOD: Duration = Duration::from_secs(30);

/// The maximum number of tasks named in one line. Other tasks are only counted.
const MAX_NAMED: usize = 4;

/// Writes the running tasks once per [`PERIOD`].
#[derive(Debug)]
pub(crate) struct ProgressLog {
    tasks: Tasks,
    /// The first task starts the ticker, because most commands have no task.
    ticker: OnceLock<Ticker>,
}

/// Tasks with their labels, in the order in which they began.
type Labeled = Vec<(String, Arc<Meter>)>;

#[derive(Clone, Debug, Default)]
struct Tasks(Arc<Mutex<Labeled>>);

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, Labeled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Describes all tasks in one line. Returns `None` if there are none.
    fn line(&self, now: Instant) -> Option<String> {
        let tasks = self.lock();
        let mut parts: Vec<String> =
            tasks.iter().take(MAX_NAMED).map(|(label, meter)| log_line(label, meter, now)).collect();
        if tasks.len() > MAX_NAMED {
            parts.push(format!("{} more", tasks.len() - MAX_NAMED));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl ProgressLog {
    pub(super) fn new() -> Self {
        Self { tasks: Tasks::default(), ticker: OnceLock::new() }
    }

    pub(super) fn add(&self, label: String, meter: &Arc<Meter>) -> LoggedTask {
        self.tasks.lock().push((label, Arc::clone(meter)));
        let tasks = self.tasks.clone();
        self.ticker.get_or_init(|| {
            Ticker::start(PERIOD, move || {
                if let Some(line) = tasks.line(Instant::now()) {
                    // Without standard error, the line has no place to go.
                    writeln!(io::stderr(), "{line}").ok();
                }
            })
        });
        LoggedTask { tasks: self.tasks.clone(), meter: Arc::clone(meter) }
    }
}

/// A task that the log shows until it is dropped.
#[derive(Debug)]
pub(crate) struct LoggedTask {
    tasks: Tasks,
    meter: Arc<Meter>,
}

impl Drop for LoggedTask {
    fn drop(&mut self) {
        self.tasks.lock().retain(|(_, meter)| !Arc::ptr_eq(meter, &self.meter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_under_way() {
        let start = Instant::now();
        let log = ProgressLog { tasks: Tasks::default(), ticker: OnceLock::new() };
        assert_eq!(log.tasks.line(start), None);
        let meter = Arc::new(Meter::new(Some(300 << 20), start));
        let upload = log.add("uploading a".to_owned(), &meter);
        let hash = log.add("hashing b".to_owned(), &Arc::new(Meter::new(None, start)));
        meter.advance(150 << 20);
        let at = |seconds| log.tasks.line(start + Duration::from_secs(seconds));
        assert_eq!(
            at(30).as_deref(),
            Some("uploading a: 150 MiB of 300 MiB, 5.00 MiB/s, 30 s left; hashing b")
        );
        drop(hash);
        assert!(at(60).unwrap().starts_with("uploading a: 150 MiB of 300 MiB, "));
        drop(upload);
        assert_eq!(at(90), None);
    }

    #[test]
    fn many_tasks_are_counted() {
        let log = ProgressLog { tasks: Tasks::default(), ticker: OnceLock::new() };
        let now = Instant::now();
        let entries: Vec<LoggedTask> =
            (0..6).map(|n| log.add(format!("hashing {n}"), &Arc::new(Meter::new(None, now)))).collect();
        assert!(log.tasks.line(now).unwrap().ends_with("hashing 3; 2 more"));
        drop(entries);
    }
}
