//! `larder unpin`

use larder_pins::{Bases, LarderLock, LockContents, LockUpdate, unignore_outputs};
use larder_storage::OutputPath;

use crate::args::UnpinArgs;
use crate::commands::near::nearest_pins;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::OutcomeEntry;
use crate::output::text::printable;

pub(in crate::commands) fn run(
    args: &UnpinArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let outputs = context.outputs(&args.paths)?;
    // Without the pins, not even a lock file is created.
    check(&LockContents::read(&context.root)?.into_pins()?, &outputs)?;
    let mut update = LockUpdate::begin(&context.root)?;
    let mut pins = update.pins()?;
    check(&pins, &outputs)?;
    for path in &outputs {
        pins.remove(path);
    }
    // The pins go last. If the command stops before, it can be repeated.
    let lines = unignore_outputs(update.write_lock(), &outputs)?;
    update.write(&pins)?;
    let bases = Bases::of(&context.root);
    outputs.iter().try_for_each(|path| bases.remove(path))?;
    for path in &outputs {
        output.summary(&printable(&format!("unpinned {path}")));
        output.entry(OutcomeEntry { path: path.as_str().to_owned(), outcome: "unpinned" });
    }
    for line in lines {
        output.console().note(&format_args!("removed `{line}` from .gitignore"));
    }
    Ok(())
}

/// Refuses outputs without a pin.
fn check(pins: &LarderLock, outputs: &[OutputPath]) -> Result<()> {
    let missing: Vec<&OutputPath> = outputs.iter().filter(|path| pins.get(path).is_none()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let near = if missing.len() == 1 { nearest_pins(first, pins) } else { Vec::new() };
    Err(Failure::NotPinned { paths: missing.iter().map(ToString::to_string).collect(), near })
}
