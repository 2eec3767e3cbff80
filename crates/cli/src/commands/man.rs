//! `larder man`

use std::io::Write;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::args::Cli;
use crate::failure::{Failure, Result};
use crate::output::Output;

pub(super) fn run(output: &mut Output) -> Result<()> {
    output.no_document()?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    render(&command, &mut output.raw()).map_err(Failure::Stdout)
}

/// The page of the command, and those of its subcommands after it: `man -l -` shows them as one.
fn render(command: &Command, sink: &mut dyn Write) -> std::io::Result<()> {
    Man::new(command.clone()).render(sink)?;
    command.get_subcommands().try_for_each(|subcommand| render(subcommand, sink))
}
