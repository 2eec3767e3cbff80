//! `larder completions`

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::failure::{Failure, Result};
use crate::output::Output;

pub(super) fn run(args: &Completions, output: &mut Output) -> Result<()> {
    output.no_document()?;
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "larder", &mut script);
    std::io::Write::write_all(&mut output.raw(), &script).map_err(Failure::Stdout)
}
