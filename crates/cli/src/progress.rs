//! Progress on standard error: bars on a terminal, one line per 30 s in a log.

mod bars;
mod line;
mod log;
mod meter;
mod ticker;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Instant;

use larder_storage::CancellationToken;
use larder_tree::Observer;

use crate::output::text::printable;
use crate::when::When;
use bars::Bars;
use log::ProgressLog;
use meter::Meter;

/// Shows running tasks.
#[derive(Debug)]
pub(crate) enum ProgressDisplay {
    Off,
    Bars(Bars),
    Log(ProgressLog),
}

impl ProgressDisplay {
    /// Chooses bars for a terminal and lines for a log, unless the user has chosen.
    pub(crate) fn new(when: When, quiet: bool) -> Self {
        let can_move_cursor = || std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match when {
            When::Never => Self::Off,
            When::Always => Self::Bars(Bars::forced()),
            When::Auto if quiet => Self::Off,
            When::Auto if io::stderr().is_terminal() && can_move_cursor() => Self::Bars(Bars::on_terminal()),
            When::Auto => Self::Log(ProgressLog::new()),
        }
    }

    /// Begins a task.
    pub(crate) fn begin(&self, label: &str, total: Option<u64>) -> ProgressTask {
        let meter = Arc::new(Meter::new(total, Instant::now()));
        let label = printable(label);
        let shown = match self {
            Self::Off => Shown::Nowhere,
            Self::Bars(bars) => Shown::Bar(bars.add(label, &meter)),
            Self::Log(log) => Shown::Log(log.add(label, &meter)),
        };
        ProgressTask { meter, _shown: shown }
    }

    /// Hides the bars while `work` prints.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::Bars(bars) => bars.suspend(work),
            Self::Off | Self::Log(_) => work(),
        }
    }

    /// Removes the bars permanently, because the process is about to end.
    pub(crate) fn clear(&self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }

    pub(crate) fn has_bars(&self) -> bool {
        matches!(self, Self::Bars(_))
    }
}

/// One task. It is shown until it is dropped.
#[derive(Debug)]
pub(crate) struct ProgressTask {
    meter: Arc<Meter>,
    _shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Nowhere,
    Bar(#[expect(dead_code, reason = "removes the bar when it is dropped")] bars::Bar),
    Log(#[expect(dead_code, reason = "removes the entry when it is dropped")] log::LoggedTask),
}

impl Observer for ProgressTask {
    fn bytes(&self, count: u64) {
        self.meter.advance(count);
    }

    fn is_cancelled(&self) -> bool {
        // The signal itself ends a command that only reads files.
        false
    }
}

/// A task that a signal stops.
pub(crate) struct CancellableTask {
    pub(crate) task: Arc<ProgressTask>,
    pub(crate) cancel: CancellationToken,
}

impl Observer for CancellableTask {
    fn bytes(&self, count: u64) {
        self.task.bytes(count);
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
