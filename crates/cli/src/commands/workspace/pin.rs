//! `larder pin`

use std::collections::BTreeMap;

use larder_pins::{
    Git, LarderLock, LockContents, LockMerge, LockUpdate, Pin, ProjectWriteLock, Side, ignore_outputs,
};
use larder_storage::{OutputPath, PushOptions};

use super::remotes::check_kind_of_project;
use super::versions::{NewPin, Present, insert, publish, remember, warn_of_older};
use crate::args::PinArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::OutcomeEntry;
use crate::output::text::printable;

pub(in crate::commands) fn run(
    args: &PinArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let outputs = context.outputs(&args.paths)?;
    if args.ours || args.theirs {
        let side = if args.ours { Side::Ours } else { Side::Theirs };
        return settle(&outputs, side, context, output);
    }
    pin_outputs(&outputs, !args.no_gitignore, context, output)
}

/// Publishes what the remote lacks of outputs, and pins the versions on disk.
pub(in crate::commands) fn pin_outputs(
    outputs: &[OutputPath],
    with_gitignore: bool,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let found = check(outputs, context)?;
    let mut options = PushOptions::default();
    options.compression = context.compression;
    options.details = context.run_details();
    let mut new = Vec::new();
    for (remote, outputs) in by_remote(outputs, &found, context)? {
        let session = context.open_pinned(remote.as_deref(), output.console())?;
        let pins = session.run_saying(output, async |output| {
            // An interrupted command may have left outputs half made.
            session.storage.recover().await?;
            Ok::<_, Failure>(
                publish(&outputs, Present::Stay, remote.as_ref(), &options, &session, context, output).await,
            )
        })??;
        new.extend(pins.into_iter().map(|pin| NewPin { replaces: pin_in(&found, &pin.path).cloned(), pin }));
    }
    new.sort_by(|a, b| a.pin.path.as_str().cmp(b.pin.path.as_str()));
    if new.is_empty() {
        return Ok(());
    }
    warn_of_older(&new, context, output)?;
    let mut update = LockUpdate::begin(&context.root)?;
    if with_gitignore {
        // First, so that an interrupted command never leaves an output that git would add.
        ignore(&new.iter().map(|new| &new.pin).collect::<Vec<_>>(), update.write_lock(), context, output)?;
    }
    insert(&new, &mut update)?;
    for NewPin { pin, replaces } in &new {
        let is_same = replaces.as_ref().is_some_and(|before| before.names_same_object(pin));
        let done = if is_same { "already pinned" } else { "pinned" };
        output.summary(&printable(&format!("{done}: {}", pin.path)));
    }
    tell_conflicts(update.found(), output);
    remember(new.iter().map(|new| &new.pin), context)
}

/// Refuses outputs that cannot be pinned, before anything is uploaded. Returns the present pins.
pub(in crate::commands) fn check(outputs: &[OutputPath], context: &CommandContext) -> Result<LockContents> {
    check_kind_of_project(context)?;
    let found = LockContents::read(&context.root)?;
    match &found {
        LockContents::Pins(lock) => lock.check_paths(outputs),
        LockContents::Absent => LarderLock::default().check_paths(outputs),
        LockContents::Conflicted(_) => Ok(()),
    }
    .map_err(Failure::PinClash)?;
    by_remote(outputs, &found, context)?;
    Ok(found)
}

/// Groups outputs by the remote that their pins will name.
fn by_remote(
    outputs: &[OutputPath],
    found: &LockContents,
    context: &CommandContext,
) -> Result<BTreeMap<Option<String>, Vec<OutputPath>>> {
    let is_given = context.is_remote_given();
    let mut groups: BTreeMap<Option<String>, Vec<OutputPath>> = BTreeMap::new();
    for output in outputs {
        let remote = match pin_in(found, output) {
            Some(pin) if !is_given => pin.remote.clone(),
            _ => context.remote_of_pins()?,
        };
        groups.entry(remote).or_default().push(output.clone());
    }
    Ok(groups)
}

/// Returns the pin of an output, unless there are several.
fn pin_in<'l>(found: &'l LockContents, path: &OutputPath) -> Option<&'l Pin> {
    match found {
        LockContents::Absent => None,
        LockContents::Pins(lock) => lock.get(path),
        LockContents::Conflicted(merge) => merge.settled().find(|pin| pin.path == *path),
    }
}

/// Makes git ignore pinned outputs, and warns of those that it tracks.
fn ignore(
    pins: &[&Pin],
    lock: &ProjectWriteLock,
    context: &CommandContext,
    output: &CommandOutput,
) -> Result<()> {
    let git = Git::at(&context.root);
    if git.top().is_none() {
        return Ok(());
    }
    let added = ignore_outputs(lock, pins.iter().map(|pin| &pin.path))?;
    if !added.is_empty() {
        output.console().note(&format_args!("added to .gitignore: {}", printable(&added.join(", "))));
    }
    for pin in pins {
        if git.tracks(&pin.path) == Some(true) {
            let path = printable(pin.path.as_str());
            output.console().warn(&format_args!(
                "git tracks {path}, so every commit has it too: `git rm -r --cached {path}` ends that"
            ));
        }
    }
    Ok(())
}

/// Settles conflicts of a merge with one side.
fn settle(
    outputs: &[OutputPath],
    side: Side,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let mut update = LockUpdate::begin(&context.root)?;
    let LockContents::Conflicted(merge) = update.found() else {
        output.console().note(&"larder.lock has no conflicts");
        return Ok(());
    };
    let mut merge: LockMerge = merge.clone();
    let all: Vec<OutputPath> = merge.conflicts().iter().map(|conflict| conflict.path.clone()).collect();
    if let Some(unknown) = outputs.iter().find(|path| !all.contains(path)) {
        return Err(Failure::Usage(format!("larder.lock has no conflict in `{unknown}`")));
    }
    let settled = if outputs.is_empty() { all } else { outputs.to_vec() };
    let taken = if side == Side::Ours { "ours" } else { "theirs" };
    for path in &settled {
        merge.settle(path, side);
    }
    let pinned: Vec<&Pin> = merge.settled().filter(|pin| settled.contains(&pin.path)).collect();
    ignore(&pinned, update.write_lock(), context, output)?;
    update.write_merge(&merge)?;
    for path in &settled {
        output.summary(&printable(&format!("took {taken}: {path}")));
        output.entry(OutcomeEntry { path: path.as_str().to_owned(), outcome: taken });
    }
    tell_conflicts(update.found(), output);
    if matches!(update.found(), LockContents::Pins(_)) {
        output.console().note(&"larder.lock is settled: `git add larder.lock`, then `larder pull`");
    }
    Ok(())
}

/// Names the conflicts that are left.
fn tell_conflicts(found: &LockContents, output: &CommandOutput) {
    let LockContents::Conflicted(merge) = found else { return };
    let paths: Vec<&str> = merge.conflicts().iter().map(|conflict| conflict.path.as_str()).collect();
    output
        .console()
        .warn(&format_args!("larder.lock still has conflicts in {}", printable(&paths.join(", "))));
}
