//! The commands.

mod completions;
mod config;
mod find;
mod hash;
mod init;
mod key;
mod log;
mod ls;
mod man;
mod near;
mod project;
mod pull;
mod push;
mod run;
mod transfer;
mod url;
mod why;
mod workspace;

use crate::args::{Cli, Command};
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;

/// Runs the command. A returned error comes in addition to the failures that the command reported to
/// `output`.
pub(crate) fn run(cli: &Cli, output: &mut CommandOutput) -> Result<()> {
    match &cli.command {
        Command::Config => config::run(output),
        Command::Completions(args) => completions::run(args, output),
        Command::Man(args) => man::run(args, output),
        Command::Project(command) => project::run(command, cli, output),
        Command::Init(args) => init::run(args, &cli.global, output),
        command => {
            if let Some(argument) = cli.overrides.first() {
                return Err(Failure::Usage(format!(
                    "unexpected argument `{argument}`: only `larder project` overrides variables"
                )));
            }
            let needs_remote = !matches!(command, Command::Hash(_) | Command::Status(_) | Command::Unpin(_));
            run_in_project(
                command,
                &CommandContext::new(&cli.global, needs_remote, output.console())?,
                output,
            )
        }
    }
}

fn run_in_project(command: &Command, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    match command {
        Command::Push(args) => push::run(args, context, output),
        Command::Pull(args) => pull::run(args, context, output),
        Command::Run(args) => run::run(args, context, output),
        Command::Find(args) => find::run(args, context, output),
        Command::Url(args) => url::run(args, context, output),
        Command::Ls(args) => ls::run(args, context, output),
        Command::Log(args) => log::run(args, context, output),
        Command::Why(args) => why::run(args, context, output),
        Command::Pin(args) => workspace::pin::run(args, context, output),
        Command::Status(args) => workspace::status::run(args, context, output),
        Command::Hash(args) => hash::run(args, context, output),
        Command::Unpin(args) => workspace::unpin::run(args, context, output),
        Command::Init(_)
        | Command::Project(_)
        | Command::Config
        | Command::Completions(_)
        | Command::Man(_) => {
            unreachable!("these are run above")
        }
    }
}
