//! `larder man`

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::args::{Cli, ManPages};
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;

pub(super) fn run(args: &ManPages, output: &mut CommandOutput) -> Result<()> {
    output.no_document()?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let command = with_short_synopsis(command);
    match &args.dir {
        Some(dir) => {
            write_pages(command, dir).map_err(|source| Failure::ManPages { path: dir.clone(), source })
        }
        None => render(&command, &mut output.raw()).map_err(Failure::Stdout),
    }
}

/// Sets the synopsis of every page to the usage line of the help. The default synopsis of `clap_mangen` lists
/// all options without their values.
fn with_short_synopsis(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.iter().fold(command.override_usage(usage), |command, name| {
        command.mut_subcommand(name, with_short_synopsis)
    })
}

/// Writes one page per command, under the names that `man` looks for.
fn write_pages(command: Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command, dir)
}

/// Writes the page of a command and those of its subcommands into one stream, which `man -l -` shows.
fn render(command: &Command, sink: &mut dyn Write) -> io::Result<()> {
    Man::new(command.clone()).render(sink)?;
    command.get_subcommands().try_for_each(|subcommand| render(subcommand, sink))
}
