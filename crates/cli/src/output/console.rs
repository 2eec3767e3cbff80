//! Standard error: errors, warnings, and what people want to know besides.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::text::printable;
use crate::args::When;
use crate::progress::Bars;

/// How the word looks that begins an error.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Writes to standard error, between the progress bars. What cannot be written there has nobody to read it.
#[derive(Clone)]
pub(crate) struct Console {
    color: ColorChoice,
    verbosity: Verbosity,
    bars: Arc<Bars>,
}

/// How much people want to know.
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
    pub(crate) fn new(color: ColorChoice, verbosity: Verbosity, bars: Arc<Bars>) -> Self {
        Self { color, verbosity, bars }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    pub(crate) fn bars(&self) -> &Arc<Bars> {
        &self.bars
    }

    /// Says what failed, why where that adds something, and what to do.
    pub(crate) fn error(&self, error: &dyn Error, hint: Option<&str>) {
        let causes = larder_storage::error_causes(error);
        self.print(|stderr| {
            writeln!(stderr, "{ERROR}error:{ERROR:#} {}", printable(&error.to_string()))?;
            for cause in &causes {
                writeln!(stderr, "  caused by: {}", printable(cause))?;
            }
            if let Some(hint) = hint {
                writeln!(stderr, "  {NOTE}hint:{NOTE:#} {hint}")?;
            }
            Ok(())
        });
    }

    /// Says something that is no failure, and that people should know.
    pub(crate) fn warn(&self, warning: &dyn fmt::Display) {
        if !self.is_quiet() {
            let text = printable(&warning.to_string());
            self.print(|stderr| writeln!(stderr, "{WARNING}warning:{WARNING:#} {text}"));
        }
    }

    /// Says something that people want to know only when they ask for it.
    pub(crate) fn verbose(&self, text: &dyn fmt::Display) {
        if self.verbosity == Verbosity::Verbose {
            let text = printable(&text.to_string());
            self.print(|stderr| writeln!(stderr, "{text}"));
        }
    }

    /// Takes the bars from the screen while `work` prints.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bars.suspend(work)
    }

    fn print(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        self.suspend(|| {
            let mut stderr = AutoStream::new(io::stderr(), self.color).lock();
            write(&mut stderr).ok();
        });
    }
}

impl From<When> for ColorChoice {
    fn from(when: When) -> Self {
        match when {
            // NO_COLOR, CLICOLOR_FORCE, TERM and whether it is a terminal.
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}
