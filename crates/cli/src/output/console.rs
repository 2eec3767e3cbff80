//! Standard error: errors, warnings and notes.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::text::{compressed, printable};
use crate::progress::ProgressDisplay;
use crate::when::When;

/// The style of the word `error` at the beginning of a message.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Writes to standard error, between the progress bars. Write errors are ignored, because there is no other
/// place to report them.
#[derive(Clone)]
pub(crate) struct Console {
    color: ColorChoice,
    verbosity: Verbosity,
    progress: Arc<ProgressDisplay>,
}

/// The amount of printed text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Warnings too.
    #[default]
    Normal,
    /// Everything.
    Verbose,
}

impl Console {
    pub(crate) fn new(color: ColorChoice, verbosity: Verbosity, progress: ProgressDisplay) -> Self {
        Self { color, verbosity, progress: Arc::new(progress) }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// Returns the size of an archive in parentheses with `--verbose`, and an empty text otherwise.
    pub(crate) fn archive_size(&self, bytes: u64) -> String {
        if self.is_verbose() { format!(" ({})", compressed(bytes)) } else { String::new() }
    }

    pub(crate) fn progress(&self) -> &Arc<ProgressDisplay> {
        &self.progress
    }

    /// Prints a failure, its causes and a hint.
    pub(crate) fn error(&self, error: &dyn Error, hint: Option<&str>) {
        let causes = larder_storage::error_causes(error);
        self.print(|stderr| {
            writeln!(stderr, "{ERROR}error:{ERROR:#} {}", printable(&error.to_string()))?;
            for cause in &causes {
                writeln!(stderr, "  caused by: {}", printable(cause))?;
            }
            write_hint(stderr, hint)
        });
    }

    /// Prints that nothing matched. This is an answer, not an error.
    pub(crate) fn miss(&self, error: &dyn Error, hint: Option<&str>) {
        if !self.is_quiet() {
            self.print(|stderr| {
                writeln!(stderr, "{}", printable(&error.to_string()))?;
                write_hint(stderr, hint)
            });
        }
    }

    /// Prints a line for people.
    pub(crate) fn note(&self, text: &dyn fmt::Display) {
        if !self.is_quiet() {
            let text = printable(&text.to_string());
            self.print(|stderr| writeln!(stderr, "{text}"));
        }
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, warning: &dyn fmt::Display) {
        if !self.is_quiet() {
            let text = printable(&warning.to_string());
            self.print(|stderr| writeln!(stderr, "{WARNING}warning:{WARNING:#} {text}"));
        }
    }

    /// Prints a line with `--verbose` only.
    pub(crate) fn verbose(&self, text: &dyn fmt::Display) {
        if self.is_verbose() {
            let text = printable(&text.to_string());
            self.print(|stderr| writeln!(stderr, "{text}"));
        }
    }

    /// Hides the bars while `work` prints.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.progress.suspend(work)
    }

    fn print(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        self.suspend(|| {
            let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
            write(&mut stderr).ok();
        });
    }
}

fn write_hint(stderr: &mut dyn Write, hint: Option<&str>) -> io::Result<()> {
    match hint {
        Some(hint) => writeln!(stderr, "  {NOTE}hint:{NOTE:#} {}", printable(hint)),
        None => Ok(()),
    }
}

impl From<When> for ColorChoice {
    fn from(when: When) -> Self {
        match when {
            // This depends on NO_COLOR, CLICOLOR_FORCE, TERM, and whether the stream is a terminal.
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}
