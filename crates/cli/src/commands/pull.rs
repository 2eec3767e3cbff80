//! `larder pull`

use larder_storage::{Error, PullOptions, PullOutcome, Pulled};

use super::near::with_near_names;
use crate::args::PullArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, TransferEntry};
use crate::output::text::{compressed, duration, printable, size};
use crate::session::RemoteSession;

pub(super) fn run(args: &PullArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    output.set_dry_run(args.dry_run);
    let outputs = context.outputs(&args.paths)?;
    if let Some(path) = args.paths.first() {
        output.set_typed(path);
    }
    let mut options = PullOptions::default();
    options.force = args.force;
    options.to = args.to.as_ref().map(|to| context.working_dir.join(to));
    options.verify = !args.no_verify;
    options.dry_run = args.dry_run;

    let session = context.open(output.console())?;
    let pull = async {
        let hashes =
            session.storage.resolve(&outputs, args.command_hash.as_ref(), args.content_hash.as_ref()).await?;
        options.command_hash = hashes.command_hash;
        options.content_hash = hashes.content_hash;
        session.storage.pull(&outputs, &options).await
    };
    let (pulled, near) =
        session.run(output, async { with_near_names(&session.storage, pull.await).await })?;
    output.set_near(near);
    match pulled {
        Ok(pulled) => {
            for pulled in &pulled {
                output.entry(TransferEntry::pulled(pulled, args.dry_run));
                say(pulled, args, &session, output);
            }
            Ok(())
        }
        Err(error) => {
            let missing = match &error {
                Error::NotFound { outputs, .. } => outputs.clone(),
                _ => Vec::new(),
            };
            let failure = Failure::from(error);
            for path in &outputs {
                // The paths are one unit: if one fails, none is restored.
                output.entry(if missing.contains(path) {
                    FailedEntry::not_found(path.as_str())
                } else {
                    FailedEntry::new(path.as_str(), &failure)
                });
            }
            Err(failure)
        }
    }
}

fn say(pulled: &Pulled, args: &PullArgs, session: &RemoteSession, output: &mut CommandOutput) {
    let Pulled { output: path, destination, url, content_bytes, .. } = pulled;
    let place = session.place(url, output);
    let path = match &args.to {
        Some(to) => to.join(path.as_str()).display().to_string(),
        None => path.to_string(),
    };
    let (outcome, line) = match pulled.outcome {
        PullOutcome::Restored if args.dry_run => {
            ("restored", format!("would restore {path} ← {place}  {}", compressed(pulled.bytes)))
        }
        PullOutcome::Restored => {
            let content = size(content_bytes.unwrap_or_default());
            let archive = output.console().archive_size(pulled.bytes);
            let verified = if pulled.verified { "" } else { ", not verified" };
            let took = duration(pulled.elapsed);
            ("restored", format!("restored {path} ← {place}  {content}{archive} in {took}{verified}"))
        }
        PullOutcome::UpToDate => ("up to date", format!("up to date: {path} = {place}")),
        PullOutcome::Kept => {
            let console = output.console();
            let destination = destination.display();
            match pulled.incomparable {
                None => {
                    console.warn(&format_args!("{destination} differs from {url}; `--force` replaces it"));
                }
                Some(reason) => {
                    console.warn(&format_args!("{destination} may differ: {}", reason.sentence(url)));
                }
            }
            let kept = if args.dry_run { "would keep" } else { "kept" };
            let line = match pulled.incomparable {
                None => format!("{kept} {path} ≠ {place}"),
                Some(_) => format!("{kept} {path}, not compared with {place}"),
            };
            ("kept", line)
        }
    };
    output.count(outcome, *content_bytes);
    output.summary(&printable(&line));
}
