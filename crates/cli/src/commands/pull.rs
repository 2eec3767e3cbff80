//! `larder pull`

use larder_storage::{Error, OutputPath, PullOptions, PullOutcome, Pulled, RemoteStorage};

use crate::args::Pull;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::document::{Failed, Transfer};
use crate::output::text::{compressed, printable};
use crate::paths::Named;

pub(super) fn run(args: &Pull, context: &Context, output: &mut Output) -> Result<()> {
    output.set_dry_run(args.dry_run);
    let named: Vec<Named> = args.paths.iter().map(|path| context.named(path)).collect::<Result<_>>()?;
    let mut options = PullOptions::default();
    options.command_hash.clone_from(&args.command_hash);
    options.content_hash.clone_from(&args.content_hash);
    options.force = args.force;
    options.to = args.to.as_ref().map(|to| context.working_dir.join(to));
    options.verify = !args.no_verify;
    options.dry_run = args.dry_run;

    let session = context.open(output.console())?;
    match session.run(output, pull(&session.storage, &named, &options))? {
        Ok(pulled) => {
            for pulled in &pulled {
                output.entry(Transfer::pulled(pulled, args.dry_run));
                if pulled.outcome == PullOutcome::Kept {
                    let (destination, url) = (pulled.destination.display(), &pulled.url);
                    match pulled.incomparable {
                        None => output.console().warn(&format_args!(
                            "{destination} differs from {url} and was kept; `--force` replaces it"
                        )),
                        Some(reason) => output
                            .console()
                            .warn(&format_args!("{destination} was kept: {}", reason.sentence(url))),
                    }
                }
                output.summary(&summary(pulled, args));
            }
            Ok(())
        }
        Err(error) => {
            if let Error::NotFound { outputs, .. } = &error {
                for path in outputs {
                    output.entry(Failed::not_found(path.key_text()));
                }
            }
            Err(Failure::from(error))
        }
    }
}

/// Pulls the outputs; those of which the remote has nothing, under the literal texts that were typed for them.
async fn pull(
    storage: &RemoteStorage,
    named: &[Named],
    options: &PullOptions,
) -> larder_storage::Result<Vec<Pulled>> {
    let outputs: Vec<OutputPath> = named.iter().map(|named| named.output.clone()).collect();
    let error = match storage.pull(&outputs, options).await {
        Err(error @ Error::NotFound { .. }) => error,
        outcome => return outcome,
    };
    let Error::NotFound { outputs: missing, .. } = &error else { return Err(error) };
    let mut changed = false;
    let literal: Vec<OutputPath> = named
        .iter()
        .map(|named| match &named.literal {
            Some(literal) if missing.contains(&named.output) => {
                changed = true;
                literal.clone()
            }
            _ => named.output.clone(),
        })
        .collect();
    if !changed {
        return Err(error);
    }
    match storage.pull(&literal, options).await {
        // Nor is there anything of these names: what was meant first is what the user should read.
        Err(Error::NotFound { .. }) => Err(error),
        outcome => outcome,
    }
}

fn summary(pulled: &Pulled, args: &Pull) -> String {
    let Pulled { output, url, bytes, .. } = pulled;
    let verified = if pulled.verified { "verified" } else { "not verified" };
    let place = match &args.to {
        Some(to) => to.join(output.as_str()).display().to_string(),
        None => output.to_string(),
    };
    printable(&match pulled.outcome {
        PullOutcome::Restored if args.dry_run => {
            format!("would restore {place} ← {url} ({})", compressed(*bytes))
        }
        PullOutcome::Restored => format!("restored {place} ← {url} ({}, {verified})", compressed(*bytes)),
        PullOutcome::UpToDate => format!("up to date: {place} = {url}"),
        PullOutcome::Kept if pulled.incomparable.is_some() => {
            format!("kept {place}, not compared with {url}")
        }
        PullOutcome::Kept => format!("kept {place} ≠ {url}"),
    })
}
