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
    without(&LockContents::read(&context.root)?, &outputs)?;
    let mut update = LockUpdate::begin(&context.root)?;
    let pins = without(update.found(), &outputs)?;
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

/// Returns the pins without those of the outputs. A merge may have pins that clash, until one of them is removed.
fn without(found: &LockContents, outputs: &[OutputPath]) -> Result<LarderLock> {
    if let LockContents::Conflicted(merge) = found
        && merge.conflicts().is_empty()
    {
        let mut merge = merge.clone();
        let unknown = outputs.iter().filter(|path| !merge.settle_without(path)).map(ToString::to_string);
        let paths: Vec<String> = unknown.collect();
        return if paths.is_empty() {
            Ok(merge.finish()?)
        } else {
            Err(Failure::NotPinned { paths, near: Vec::new() })
        };
    }
    let mut pins = found.clone().into_pins()?;
    check(&pins, outputs)?;
    for path in outputs {
        pins.remove(path);
    }
    Ok(pins)
}

/// Refuses outputs without a pin.
fn check(pins: &LarderLock, outputs: &[OutputPath]) -> Result<()> {
    let missing: Vec<&OutputPath> = outputs.iter().filter(|path| pins.get(path).is_none()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let near = if missing.len() == 1 { nearest_pins(first, pins) } else { Vec::new() };
    Err(Failure::NotPinned { paths: missing.iter().map(ToString::to_string).collect(), near })
}
