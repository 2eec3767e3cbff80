//! The command of a run, and its exit code.

use std::process::{Command, Stdio};

use super::report::{Outcome, RunReport};
use crate::args::RunArgs;
use crate::commands::key::Key;
use crate::failure::Failure;
use crate::output::CommandOutput;

/// The command with its environment. Everything else is as larder's caller set it.
pub(super) fn command(args: &RunArgs, key: &Key) -> Command {
    let mut words = args.command.iter();
    // Clap demands at least one word.
    let mut command = Command::new(words.next().map_or_else(Default::default, Clone::clone));
    command.args(words).stdin(Stdio::null());
    for (name, value) in key.environment() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

pub(super) fn exit_with(code: u8, output: &mut CommandOutput, report: &mut RunReport) {
    report.set_exit_code(code);
    output.set_exit_of_run(code);
}

/// Reports that the command could not be started, as `env` does.
pub(super) fn not_started(
    args: &RunArgs,
    error: &std::io::Error,
    output: &mut CommandOutput,
    report: &mut RunReport,
) {
    let program = args.command.first().map_or_else(Default::default, |word| word.display().to_string());
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    let source = std::io::Error::new(error.kind(), error.to_string());
    output.console().error(&Failure::StartCommand { program, source }, None);
    report.set_outcome(Outcome::Failed);
    exit_with(code, output, report);
}
