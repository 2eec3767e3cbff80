//! The output of a command: results on standard output, everything else on standard error.

pub(crate) mod console;
pub(crate) mod document;
pub(crate) mod tally;
pub(crate) mod text;

use std::io::{self, BufWriter, ErrorKind, IsTerminal as _, Stdout, Write};
use std::path::Path;

use console::Console;
use document::{ErrorEntry, ResultDocument, ResultEntry};
use tally::Tally;

use crate::exit::{Exit, RUN};
use crate::failure::{Failure, Result};

/// The results of one command, as lines for people or as one document for programs.
///
/// Lines are written immediately, and the document is written at the end.
pub(crate) struct CommandOutput {
    command: &'static str,
    json: bool,
    dry_run: bool,
    console: Console,
    is_terminal: bool,
    stdout: BufWriter<Stdout>,
    write_error: Option<io::Error>,
    entries: Vec<ResultEntry>,
    failures: Vec<Failure>,
    tally: Tally,
    /// The path that the user typed, for hints.
    typed: Option<String>,
    /// Names in the remote, for hints.
    near: Vec<String>,
    /// Pinned outputs, for hints.
    near_pins: Vec<String>,
    stopped: Exit,
    /// The exit code of the command that `larder run` ran.
    of_run: Option<u8>,
}

impl CommandOutput {
    pub(crate) fn new(command: &'static str, json: bool, console: Console) -> Self {
        Self {
            command,
            json,
            dry_run: false,
            console,
            is_terminal: io::stdout().is_terminal(),
            stdout: BufWriter::new(io::stdout()),
            write_error: None,
            entries: Vec::new(),
            failures: Vec::new(),
            tally: Tally::start(),
            typed: None,
            near: Vec::new(),
            near_pins: Vec::new(),
            stopped: Exit::Done,
            of_run: None,
        }
    }

    /// Passes on the exit code of a command that larder ran. A failure of larder itself overrides it.
    pub(crate) fn set_exit_of_run(&mut self, code: u8) {
        self.of_run = Some(code);
    }

    /// Marks the command as a dry run.
    pub(crate) fn set_dry_run(&mut self, dry_run: bool) {
        self.dry_run = dry_run;
    }

    /// Keeps the path that the user typed, for hints.
    pub(crate) fn set_typed(&mut self, path: &Path) {
        self.typed = Some(path.display().to_string());
    }

    /// Keeps the names in the remote that are near one that it lacks, for hints.
    pub(crate) fn set_near(&mut self, names: Vec<String>) {
        self.near = names;
    }

    /// Keeps the pinned outputs that are near one without a pin, for hints.
    pub(crate) fn set_near_pins(&mut self, names: Vec<String>) {
        self.near_pins = names;
    }

    /// Returns what the user can do about a failure.
    fn hint(&self, failure: &Failure) -> Option<String> {
        let quoted = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        if let Failure::NotPinned { near, .. } = failure {
            return (!near.is_empty()).then(|| format!("larder.lock has {}", quoted(near)));
        }
        if failure.is_miss() && !self.near_pins.is_empty() {
            return Some(format!("larder.lock has {}", quoted(&self.near_pins)));
        }
        if failure.is_miss() && !self.near.is_empty() {
            return Some(format!("the remote has {}", quoted(&self.near)));
        }
        // `larder run` does not have the option that the usual hint names.
        if failure.is_of_link() && self.command == RUN {
            return Some("let the command copy the target of the link into the output".to_owned());
        }
        let hint = failure.hint()?;
        Some(self.typed.as_ref().map_or_else(|| hint.to_owned(), |typed| hint.replace("PATH", typed)))
    }

    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// Refuses `--json` for commands that print only text.
    pub(crate) fn no_document(&self) -> Result<()> {
        if self.json {
            return Err(Failure::Usage(format!("`larder {}` prints text: leave out --json", self.command)));
        }
        Ok(())
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether a user sees the lines that come before a question.
    pub(crate) fn is_read(&self) -> bool {
        self.is_terminal && !self.json
    }

    /// Counts an output for the summary line.
    pub(crate) fn count(&mut self, outcome: &'static str, transferred: Option<u64>) {
        self.tally.count(outcome, transferred);
    }

    /// Adds a result for programs.
    pub(crate) fn entry(&mut self, entry: impl Into<ResultEntry>) {
        if self.json {
            self.entries.push(entry.into());
        }
    }

    /// Prints a result for people and scripts. `--quiet` keeps it.
    pub(crate) fn line(&mut self, line: &str) {
        self.write(&[line.as_bytes(), b"\n"]);
    }

    /// Prints what was done, for people. `--quiet` drops it.
    pub(crate) fn summary(&mut self, line: &str) {
        if !self.console.is_quiet() {
            self.line(line);
        }
    }

    /// Returns a writer for text that is written as it is.
    pub(crate) fn raw(&mut self) -> impl Write {
        RawOutput(self)
    }

    /// Records the failure of a part of the command. The other parts continue.
    pub(crate) fn fail(&mut self, failure: impl Into<Failure>) {
        let failure = failure.into();
        // A signal makes several parts fail, but is reported only once.
        if !(failure.is_cancelled() && self.failures.iter().any(Failure::is_cancelled)) {
            self.failures.push(failure);
        }
    }

    /// Records that a signal asked the command to stop.
    pub(crate) fn stop(&mut self, exit: Exit) {
        self.stopped = exit;
    }

    /// Returns whether a signal asked the command to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped != Exit::Done
    }

    /// Returns the exit code of a run that ends with this failure, or without one.
    pub(crate) fn exit_after(&self, failure: Option<&Failure>) -> Exit {
        if failure.is_some() && !self.is_stopped() { Exit::RUN_FAILED } else { self.exit() }
    }

    /// Returns the exit code of the command.
    fn exit(&self) -> Exit {
        let exit = self.failures.iter().map(Failure::exit).fold(self.stopped, Exit::max);
        match self.command {
            RUN if self.is_stopped() => self.stopped,
            RUN if exit != Exit::Done => Exit::RUN_FAILED,
            RUN => self.of_run.map_or(Exit::Done, Exit::OfRun),
            _ => exit,
        }
    }

    fn write(&mut self, pieces: &[&[u8]]) {
        if self.json || self.write_error.is_some() {
            return;
        }
        // If both streams are one terminal, a bar must not be drawn into a line.
        let stdout = &mut self.stdout;
        let flush = self.is_terminal;
        let written = self.console.suspend(|| {
            pieces.iter().try_for_each(|piece| stdout.write_all(piece))?;
            if flush { stdout.flush() } else { Ok(()) }
        });
        self.write_error = written.err();
    }

    /// Prints the failures, and returns the exit code.
    pub(crate) fn finish(mut self) -> Exit {
        if self.stopped != Exit::Done {
            // The work may have finished despite the signal. The exit code, the text and the document must
            // agree.
            self.fail(larder_storage::Error::Cancelled);
        }
        let mut exit = self.exit();
        if self.json {
            let gravest = self.failures.iter().rev().max_by_key(|failure| failure.exit());
            let document = ResultDocument {
                command: Some(self.command),
                ok: self.failures.is_empty(),
                dry_run: self.dry_run,
                results: &self.entries,
                error: gravest.map(|failure| ErrorEntry::new(failure.kind(), failure)),
            };
            self.write_error = document.write_to(&mut self.stdout).err();
        } else {
            // After a write error, writing the rest of the buffer would only fail again.
            if self.write_error.is_none() {
                self.write_error = self.stdout.flush().err();
            }
            for failure in &self.failures {
                if failure.is_miss() {
                    self.console.miss(failure, self.hint(failure).as_deref());
                } else {
                    self.console.error(failure, self.hint(failure).as_deref());
                }
            }
            if let Some(line) = self.tally.line().filter(|_| !self.dry_run) {
                self.console.note(&line);
            }
        }
        // A reader that closed the pipe needs no more output.
        if let Some(error) = self.write_error.take().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
            let failure = Failure::Stdout(error);
            self.console.error(&failure, None);
            exit = exit.max(failure.exit());
        }
        // The destructor must not flush again, because that would only fail again.
        drop(self.stdout.into_parts());
        exit
    }
}

struct RawOutput<'a>(&'a mut CommandOutput);

impl Write for RawOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&[bytes]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
