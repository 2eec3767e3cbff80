//! `larder config`

use std::io::Write as _;

use crate::args::CONFIGURATION;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;

pub(super) fn run(output: &mut CommandOutput) -> Result<()> {
    output.no_document()?;
    output.raw().write_all(CONFIGURATION.as_bytes()).map_err(Failure::Stdout)
}
