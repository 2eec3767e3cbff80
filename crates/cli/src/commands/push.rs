//! `larder push`

use larder_hashing::{CommandInputs, command_hash};
use larder_storage::{OutputPath, PushOptions, PushOutcome, Pushed};

use crate::args::Push;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::document::{Failed, Transfer};
use crate::output::text::{compressed, printable, size};

pub(super) fn run(args: &Push, context: &Context, output: &mut Output) -> Result<()> {
    output.set_dry_run(args.dry_run);
    if args.paths.len() > 1 && args.content_hash.is_some() {
        return Err(Failure::Usage("--content-hash names one output: push several without it".to_owned()));
    }
    let mut outputs: Vec<OutputPath> = Vec::new();
    for path in context.outputs(&args.paths)? {
        if !outputs.contains(&path) {
            outputs.push(path);
        }
    }
    let command = match &args.command_hash {
        Some(hash) => hash.clone(),
        None => command_hash(&context.root, &CommandInputs::default(), &context.hash_options())?,
    };
    let mut options = PushOptions::default();
    options.content_hash.clone_from(&args.content_hash);
    options.compression = args.compression.or(context.compression);
    options.force = args.force;
    options.dereference = args.dereference;
    options.dry_run = args.dry_run;

    let session = context.open(output.console())?;
    let results = session.run(output, session.storage.push_all(&outputs, &command, &options))?;
    for (path, result) in outputs.iter().zip(results) {
        match result {
            Ok(pushed) => {
                output.entry(Transfer::pushed(&pushed));
                output.summary(&summary(&pushed, args.dry_run, session.is_embedded));
            }
            Err(error) => {
                let failure = Failure::from(error);
                output.entry(Failed::new(path.as_str(), &failure));
                output.fail(failure);
            }
        }
    }
    Ok(())
}

fn summary(pushed: &Pushed, dry_run: bool, is_embedded: bool) -> String {
    let Pushed { output, url, bytes, content_bytes, .. } = pushed;
    let done = match pushed.outcome {
        PushOutcome::AlreadyPresent => format!("already present: {output} → {url} ({})", compressed(*bytes)),
        PushOutcome::Uploaded if dry_run => {
            format!("would upload {output} → {url} ({})", size(*content_bytes))
        }
        PushOutcome::Uploaded => {
            format!("uploaded {output} → {url} ({}, {})", size(*content_bytes), compressed(*bytes))
        }
    };
    let note = if is_embedded { ", kept on this machine only" } else { "" };
    printable(&format!("{done}{note}"))
}
