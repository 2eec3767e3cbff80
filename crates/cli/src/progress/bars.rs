//! Progress bars on a terminal.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::line::line;
use super::meter::Meter;
use super::ticker::Ticker;

/// The time between two drawings of the bars on a terminal.
const PERIOD: Duration = Duration::from_millis(200);
/// The same time for a pipe or a file, where each drawing stays.
const FORCED_PERIOD: Duration = Duration::from_millis(500);

/// The width without a terminal.
const DEFAULT_WIDTH: u16 = 100;

/// The bars of all tasks.
#[derive(Debug)]
pub(crate) struct Bars {
    drawn: MultiProgress,
    open: Arc<Mutex<Vec<ProgressBar>>>,
    is_forced: bool,
    ticker: OnceLock<Ticker>,
}

impl Bars {
    pub(super) fn on_terminal() -> Self {
        Self::new(ProgressDrawTarget::stderr(), false)
    }

    /// Draws on standard error even if it is not a terminal.
    pub(super) fn forced() -> Self {
        Self::new(ProgressDrawTarget::term_like(Box::new(ForcedTerminal)), true)
    }

    fn new(target: ProgressDrawTarget, is_forced: bool) -> Self {
        Self {
            drawn: MultiProgress::with_draw_target(target),
            open: Arc::default(),
            is_forced,
            ticker: OnceLock::new(),
        }
    }

    pub(super) fn add(&self, label: String, meter: &Arc<Meter>) -> Bar {
        let bar = self.drawn.add(ProgressBar::no_length());
        let meter = Arc::clone(meter);
        let write = move |_: &ProgressState, sink: &mut dyn std::fmt::Write| {
            // Writing to a string does not fail.
            let _ = sink.write_str(&line(&label, &meter, width().into(), Instant::now()));
        };
        let style = ProgressStyle::with_template("{line}").expect("the template is well-formed");
        bar.set_style(style.with_key("line", write));
        if self.is_forced {
            bar.tick();
        }
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(bar.clone());
        let open = Arc::clone(&self.open);
        let period = if self.is_forced { FORCED_PERIOD } else { PERIOD };
        self.ticker.get_or_init(|| {
            Ticker::start(period, move || {
                let bars = open.lock().unwrap_or_else(PoisonError::into_inner).clone();
                bars.iter().for_each(ProgressBar::tick);
            })
        });
        Bar { bar, open: Arc::clone(&self.open) }
    }

    pub(super) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.drawn.suspend(work)
    }

    pub(super) fn clear(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // Without a terminal there is nothing to clear.
        self.drawn.clear().ok();
        self.drawn.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Returns the width of the terminal, in columns. It is not cached, because a window can be resized.
fn width() -> u16 {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col,
        _ => DEFAULT_WIDTH,
    }
}

/// A bar that is on the screen until it is dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    open: Arc<Mutex<Vec<ProgressBar>>>,
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|bar| !bar.is_finished());
    }
}

/// Standard error, treated as a terminal even if it is not one.
#[derive(Debug)]
struct ForcedTerminal;

impl ForcedTerminal {
    /// Writes an ANSI sequence that moves the cursor. A count of 0 writes nothing, because terminals would
    /// move it by 1.
    fn step(count: usize, direction: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { write!(io::stderr(), "\x1b[{count}{direction}") }
    }
}

impl TermLike for ForcedTerminal {
    fn width(&self) -> u16 {
        width()
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        Self::step(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        Self::step(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        Self::step(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        Self::step(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{text}")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        write!(io::stderr(), "{text}")
    }

    fn clear_line(&self) -> io::Result<()> {
        write!(io::stderr(), "\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}
