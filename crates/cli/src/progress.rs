//! Progress bars, on standard error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use larder_hashing::Observer;
use larder_storage::{Event, OutputPath, Phase, Reporter};

use crate::args::When;
use crate::output::console::Console;
use crate::output::text::printable;

/// The bars on the screen, if there is one.
#[derive(Debug)]
pub(crate) struct Bars(Option<MultiProgress>);

impl Bars {
    /// Shows bars `when` they should be, on a terminal that can move its cursor.
    pub(crate) fn new(when: When, quiet: bool) -> Self {
        let is_screen =
            || io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = match when {
            When::Never => return Self(None),
            When::Auto if quiet || !is_screen() => return Self(None),
            When::Auto => ProgressDrawTarget::stderr(),
            // What is no terminal is a log, or a program that draws what it reads.
            When::Always => ProgressDrawTarget::term_like_with_hz(Box::new(Forced), FORCED_HZ),
        };
        Self(Some(MultiProgress::with_draw_target(target)))
    }

    /// Begins a bar, or a mere counter where the total is not known. Without a screen it does nothing.
    pub(crate) fn begin(&self, label: &str, total: Option<u64>) -> Bar {
        Bar(self.0.as_ref().map(|bars| {
            let bar = bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
            bar.set_style(style(total.is_some()));
            bar.set_message(printable(label));
            bar
        }))
    }

    /// Takes the bars from the screen while `work` prints.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bars) => bars.suspend(work),
            None => work(),
        }
    }
}

fn style(is_bounded: bool) -> ProgressStyle {
    let template = if is_bounded {
        "{msg} [{bar:25}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta}"
    } else {
        "{msg} {spinner} {binary_bytes}, {binary_bytes_per_sec}"
    };
    ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("=> ")
}

/// One bar. It goes away when it is dropped.
#[derive(Debug)]
pub(crate) struct Bar(Option<ProgressBar>);

impl Observer for Bar {
    fn bytes(&self, count: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(count);
        }
    }

    fn is_cancelled(&self) -> bool {
        // Who only looks at files is ended by the signal itself.
        false
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Shows what a storage does: bars while it works, and its warnings between them.
pub(crate) struct ConsoleReporter {
    console: Console,
    /// A handful at most: a list is searched faster than a table is hashed.
    open: Mutex<Vec<(OutputPath, Phase, Bar)>>,
}

impl ConsoleReporter {
    pub(crate) fn new(console: Console) -> Self {
        Self { console, open: Mutex::new(Vec::new()) }
    }

    fn open(&self) -> MutexGuard<'_, Vec<(OutputPath, Phase, Bar)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for ConsoleReporter {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Started { output, phase, total } => {
                let verb = match phase {
                    Phase::Hash => "hashing",
                    Phase::Upload => "uploading",
                    Phase::Download => "downloading",
                    _ => "working on",
                };
                let bar = self.console.bars().begin(&format!("{verb} {output}"), total);
                self.open().push((output.clone(), phase, bar));
            }
            Event::Advanced { output, phase, bytes } => {
                if let Some((.., bar)) =
                    self.open().iter().find(|(of, what, _)| *what == phase && of == output)
                {
                    bar.bytes(bytes);
                }
            }
            Event::Finished { output, phase } => {
                self.open().retain(|(of, what, _)| *what != phase || of != output);
            }
            Event::Warning(warning) => self.console.warn(warning),
            _ => {}
        }
    }
}

impl fmt::Debug for ConsoleReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleReporter").finish_non_exhaustive()
    }
}

/// How often bars are drawn where nobody said that there is a screen, in a second: each one is a line in a log.
const FORCED_HZ: u8 = 2;

/// Standard error as a terminal, whatever it is.
#[derive(Debug)]
struct Forced;

impl Forced {
    /// An ANSI sequence that moves the cursor; a count of 0 would move it by 1.
    fn step(count: usize, direction: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { write!(io::stderr(), "\x1b[{count}{direction}") }
    }
}

impl TermLike for Forced {
    fn width(&self) -> u16 {
        100
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
