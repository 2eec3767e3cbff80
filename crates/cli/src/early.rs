//! Prints errors in the arguments, in the chosen colors or as JSON.
//!
//! Clap stops at the first error, even with `ignore_errors`. So it may not have seen `--json` and `--color`.

use std::ffi::OsString;
use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Error, ValueEnum as _};

use crate::args::Cli;
use crate::exit::{Exit, RUN};
use crate::output::console::ERROR;
use crate::output::document::{ErrorEntry, ResultDocument};
use crate::output::text::{printable, printable_lines};
use crate::suggestion;
use crate::when::When;

/// The output options in arguments that clap cannot parse.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Early {
    json: bool,
    color: When,
    command: Option<String>,
}

impl Early {
    /// Reads the output options before a `--`.
    pub(crate) fn scan(arguments: &[OsString]) -> Self {
        let mut early = Self::default();
        let mut arguments = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
        let is_command =
            |word: &str| Cli::command().get_subcommands().any(|command| command.get_name() == word);
        while let Some(argument) = arguments.next().filter(|argument| *argument != "--") {
            match argument {
                "--json" => early.json = true,
                "--color" => early.color = color(arguments.next()),
                _ => match argument.strip_prefix("--color=") {
                    Some(when) => early.color = color(Some(when)),
                    None if early.command.is_none() && is_command(argument) => {
                        early.command = Some(argument.to_owned());
                    }
                    None => {}
                },
            }
        }
        early
    }

    /// Returns what to use instead of a command of another tool.
    fn instead(&self, error: &Error) -> Option<&'static str> {
        match error.get(ContextKind::InvalidSubcommand) {
            Some(ContextValue::String(command)) if self.command.is_none() => suggestion::instead_of(command),
            _ => None,
        }
    }

    /// Returns whether a command follows `larder run` or `larder hash command` without a `--` before it.
    fn is_command_without_dashes(error: &Error) -> bool {
        let is_word = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(word)) => !word.starts_with('-'),
            _ => false,
        };
        let usage = error.render().to_string();
        let takes_command = |command: &str| usage.contains(&format!("Usage: larder {command}"));
        error.kind() == ErrorKind::UnknownArgument
            && is_word
            && ["run", "hash command"].into_iter().any(takes_command)
    }

    /// Prints the requested help or version, or the error in the arguments. Returns the exit code.
    pub(crate) fn report(&self, error: &Error) -> Exit {
        match self.print(error) {
            Exit::Done => Exit::Done,
            _ if self.command.as_deref() == Some(RUN) => Exit::RUN_FAILED,
            exit => exit,
        }
    }

    fn print(&self, error: &Error) -> Exit {
        let color = ColorChoice::from(self.color);
        let text = error.render();
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let mut stdout = AutoStream::new(io::stdout(), color).lock();
            return match write!(stdout, "{}", text.ansi()).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Exit::Failed,
                _ => Exit::Done,
            };
        }
        let message = message(error);
        let instead = self.instead(error);
        let message = match instead {
            Some(instead) => format!("{message}: {instead}"),
            None if Self::is_command_without_dashes(error) => {
                format!("{message}: write `--` before the command")
            }
            None => message,
        };
        if self.json {
            let error = ErrorEntry { kind: "usage", message, causes: Vec::new() };
            let command = self.command.as_deref();
            let document =
                ResultDocument { command, ok: false, dry_run: false, results: &[], error: Some(error) };
            // If the reader has closed the pipe, it still gets the exit code.
            document.write_to(&mut io::stdout().lock()).ok();
            return Exit::Usage;
        }
        let mut stderr = AutoStream::new(io::stderr(), color).lock();
        let written = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            writeln!(stderr, "{}\n{ERROR}error:{ERROR:#} {}", text.ansi(), printable(&message))
        } else {
            let text = text.to_string();
            let mut advice = text.split_once("\n\n").map_or("", |(_, advice)| advice);
            // Clap's tip would be a command that only has a similar name.
            if instead.is_some() && advice.trim_start().starts_with("tip:") {
                advice = advice.split_once("\n\n").map_or("", |(_, advice)| advice);
            }
            write!(stderr, "{ERROR}error:{ERROR:#} {}\n\n{}", printable(&message), printable_lines(advice))
        };
        // Without standard error, the failure cannot be reported.
        written.ok();
        Exit::Usage
    }
}

fn color(when: Option<&str>) -> When {
    when.and_then(|when| When::from_str(when, false).ok()).unwrap_or_default()
}

/// Returns the first paragraph of clap's message, in one line.
fn message(error: &Error) -> String {
    let text = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing".to_owned();
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let words: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(arguments: &str) -> Early {
        let words: Vec<OsString> = arguments.split(' ').map(OsString::from).collect();
        Early::scan(&words)
    }

    #[test]
    fn options_for_output_are_found_anywhere() {
        let early = scan("larder --color=never -x push --json");
        assert_eq!(early, Early { json: true, color: When::Never, command: Some("push".to_owned()) });
        assert_eq!(scan("larder find --color always a").color, When::Always);
    }

    #[test]
    fn options_behind_two_dashes_are_ignored() {
        let early = scan("larder hash command -- tool --json --color=never");
        assert_eq!(early, Early { command: Some("hash".to_owned()), ..Early::default() });
    }
}
