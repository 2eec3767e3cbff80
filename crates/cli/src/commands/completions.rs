//! `larder completions`

use std::io::Write as _;

use crate::args::Completions;
use crate::complete;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;

pub(super) fn run(args: &Completions, output: &mut CommandOutput) -> Result<()> {
    output.no_document()?;
    let script = complete::script(&args.shell.to_string());
    script.and_then(|script| output.raw().write_all(&script)).map_err(Failure::Stdout)
}
