//! The command `larder` shares the outputs of pipelines through existing storage.

#[cfg(not(unix))]
compile_error!(
    "larder runs on Unix only: what it promises rests on how Unix file systems rename, lock and link"
);

mod args;
mod commands;
mod complete;
mod context;
mod details;
mod early;
mod exit;
mod failure;
mod foreground;
mod output;
mod paths;
mod progress;
mod reporter;
mod runtime;
mod session;
mod signals;
mod suggestion;
mod when;

use std::env;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Global};
use early::Early;
use failure::{Failure, Result};
use output::CommandOutput;
use output::console::{Console, Verbosity};
use progress::ProgressDisplay;

fn main() -> ExitCode {
    if let Some(exit) = complete::answer() {
        return exit.into();
    }
    signals::survive_file_size_limit();
    signals::turn_aborts_into_failures();
    let (arguments, overrides) = args::take_overrides(env::args_os().collect());
    let exit = match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(&Cli { overrides, ..cli }),
        Err(error) => Early::scan(&arguments).report(&error),
    };
    exit.into()
}

fn run(cli: &Cli) -> exit::Exit {
    let global = &cli.global;
    let verbosity = match global {
        Global { quiet: true, .. } => Verbosity::Quiet,
        Global { verbose: true, .. } => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let progress = ProgressDisplay::new(global.progress, global.quiet);
    let console = Console::new(global.color.into(), verbosity, progress);
    let mut output = CommandOutput::new(cli.command.name(), global.json, console);
    if let Err(failure) = change_directory(global).and_then(|()| commands::run(cli, &mut output)) {
        output.fail(failure);
    }
    output.finish()
}

/// Makes `-C DIR` the working directory of this process and of the programs that it starts.
fn change_directory(global: &Global) -> Result<()> {
    match &global.directory {
        Some(path) => env::set_current_dir(path)
            .map_err(|source| Failure::ChangeDirectory { path: path.clone(), source }),
        None => Ok(()),
    }
}
