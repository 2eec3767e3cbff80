//! The commands.

mod completions;
mod config;
mod find;
mod hash;
mod ls;
mod man;
mod project;
mod pull;
mod push;
mod url;

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Runs the command. What it returns as an error is one more failure, besides those that it reported to `output`.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> Result<()> {
    match &cli.command {
        Command::Config => config::run(output),
        Command::Completions(args) => completions::run(args, output),
        Command::Man(args) => man::run(args, output),
        Command::Project(command) => project::run(command, cli, output),
        command => {
            if let Some(argument) = cli.overrides.first() {
                return Err(Failure::Usage(format!(
                    "unexpected argument `{argument}`: only `larder project` overrides variables"
                )));
            }
            let needs_remote = !matches!(command, Command::Hash(_));
            run_in_project(command, &Context::new(&cli.global, needs_remote, output.console())?, output)
        }
    }
}

fn run_in_project(command: &Command, context: &Context, output: &mut Output) -> Result<()> {
    match command {
        Command::Push(args) => push::run(args, context, output),
        Command::Pull(args) => pull::run(args, context, output),
        Command::Find(args) => find::run(args, context, output),
        Command::Url(args) => url::run(args, context, output),
        Command::Ls(args) => ls::run(args, context, output),
        Command::Hash(args) => hash::run(args, context, output),
        Command::Project(_) | Command::Config | Command::Completions(_) | Command::Man(_) => {
            unreachable!("these are run above")
        }
    }
}
