//! `larder push`

use std::collections::BTreeMap;

use larder_storage::{CommandHash, OutputPath, PushOptions, Pushed};

use super::transfer::say_pushed;
use super::workspace;
use crate::args::PushArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, ResultEntry, TransferEntry};
use crate::session::RemoteSession;

pub(super) fn run(args: &PushArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    output.set_dry_run(args.dry_run);
    if args.paths.len() > 1 && args.content_hash.is_some() {
        return Err(Failure::Usage("--content-hash is for one output: push several without it".to_owned()));
    }
    let mut options = PushOptions::default();
    options.content_hash.clone_from(&args.content_hash);
    options.compression = args.compression.or(context.compression);
    options.force = args.force;
    options.dereference = args.dereference;
    options.dry_run = args.dry_run;
    options.details = context.run_details();
    if args.paths.is_empty() {
        return workspace::push::modified(args, &options, context, output);
    }

    let mut outputs = context.outputs(&args.paths)?;
    let command = match &args.command_hash {
        Some(hash) => hash.clone(),
        None => CommandHash::of_no_command(context.scheme),
    };
    let pins = workspace::push::NamedPins::among(&mut outputs, args, context, output)?;
    let mut by_remote: BTreeMap<Option<&str>, Vec<OutputPath>> = BTreeMap::new();
    for path in outputs {
        by_remote.entry(pins.remote_of(&path)).or_default().push(path);
    }
    let mut pushed = Vec::new();
    for (remote, outputs) in by_remote {
        let session = context.open_pinned(remote, output.console())?;
        pushed.extend(push(&outputs, &command, &options, &session, output)?);
    }
    if args.dry_run { Ok(()) } else { pins.update(&pushed, context, output) }
}

/// Pushes outputs to one remote, and reports each.
fn push(
    outputs: &[OutputPath],
    command: &CommandHash,
    options: &PushOptions,
    session: &RemoteSession,
    output: &mut CommandOutput,
) -> Result<Vec<Pushed>> {
    let (mut entries, pushed) = session.run_saying(output, async |output| {
        let mut entries: Vec<(usize, ResultEntry)> = Vec::new();
        let mut all = Vec::new();
        let each = |index: usize, result| {
            let entry = match result {
                Ok(pushed) => {
                    say_pushed(&pushed, options.dry_run, session, output);
                    let entry = TransferEntry::pushed(&pushed).into();
                    all.push(pushed);
                    entry
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    let entry = FailedEntry::new(outputs[index].as_str(), &failure);
                    output.fail(failure);
                    entry.into()
                }
            };
            entries.push((index, entry));
        };
        let recorded = session.storage.push_all(outputs, command, options, each).await;
        if let Err(error) = recorded {
            output.fail(error);
        }
        (entries, all)
    })?;
    // The document follows the order of the arguments.
    entries.sort_by_key(|(index, _)| *index);
    for (_, entry) in entries {
        output.entry(entry);
    }
    Ok(pushed)
}
