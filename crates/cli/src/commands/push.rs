//! `larder push`

use larder_storage::{CommandHash, PushOptions, PushOutcome, Pushed};

use crate::args::PushArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, ResultEntry, TransferEntry};
use crate::output::text::{duration, printable, size};
use crate::session::RemoteSession;

pub(super) fn run(args: &PushArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    output.set_dry_run(args.dry_run);
    if args.paths.len() > 1 && args.content_hash.is_some() {
        return Err(Failure::Usage("--content-hash is for one output: push several without it".to_owned()));
    }
    let outputs = context.outputs(&args.paths)?;
    let command = match &args.command_hash {
        Some(hash) => hash.clone(),
        None => CommandHash::of_no_command(context.scheme),
    };
    let mut options = PushOptions::default();
    options.content_hash.clone_from(&args.content_hash);
    options.compression = args.compression.or(context.compression);
    options.force = args.force;
    options.dereference = args.dereference;
    options.dry_run = args.dry_run;
    options.details = context.run_details();

    let session = context.open(output.console())?;
    let mut entries = session.run_saying(output, async |output| {
        let mut entries: Vec<(usize, ResultEntry)> = Vec::new();
        let each = |index: usize, result| {
            let entry = match result {
                Ok(pushed) => {
                    say(&pushed, args.dry_run, &session, output);
                    TransferEntry::pushed(&pushed).into()
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
        let recorded = session.storage.push_all(&outputs, &command, &options, each).await;
        if let Err(error) = recorded {
            output.fail(error);
        }
        entries
    })?;
    // The document follows the order of the arguments.
    entries.sort_by_key(|(index, _)| *index);
    for (_, entry) in entries {
        output.entry(entry);
    }
    Ok(())
}

fn say(pushed: &Pushed, dry_run: bool, session: &RemoteSession, output: &mut CommandOutput) {
    let Pushed { output: path, url, bytes, content_bytes, elapsed, .. } = pushed;
    let place = session.place(url, output);
    let content = size(*content_bytes);
    let done = match pushed.outcome {
        PushOutcome::AlreadyPresent => {
            output.count("already present", None);
            format!("already present: {path} → {place}")
        }
        PushOutcome::Uploaded if dry_run => format!("would upload {path} → {place}  {content}"),
        PushOutcome::Uploaded => {
            output.count("uploaded", Some(*content_bytes));
            let archive = output.console().archive_size(*bytes);
            format!("uploaded {path} → {place}  {content}{archive} in {}", duration(*elapsed))
        }
    };
    let note = if session.is_embedded { ", kept on this machine only" } else { "" };
    output.summary(&printable(&format!("{done}{note}")));
}
