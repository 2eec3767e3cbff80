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
    match &args.dir {
        Some(dir) => {
            write_pages(command, dir).map_err(|source| Failure::ManPages { path: dir.clone(), source })
        }
        None => render(&command, &mut output.raw()).map_err(Failure::Stdout),
    }
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
