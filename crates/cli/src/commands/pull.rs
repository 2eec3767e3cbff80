//! `larder pull`

use larder_pins::LarderLock;
use larder_storage::{Error, OutputPath, PullOutcome, Pulled};

use super::near::{nearest_pins, with_near_names};
use super::transfer::{pull_options, say_pulled};
use super::workspace;
use crate::args::PullArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, TransferEntry};

pub(super) fn run(args: &PullArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    output.set_dry_run(args.dry_run);
    if args.paths.is_empty() {
        return workspace::pull::all(args, context, output);
    }
    let outputs = context.outputs(&args.paths)?;
    if let Some(path) = args.paths.first() {
        output.set_typed(path);
    }
    let lock = LarderLock::read(&context.root)?;
    let is_by_hash = args.command_hash.is_some() || args.content_hash.is_some();
    let (pinned, unpinned): (Vec<_>, Vec<_>) =
        outputs.into_iter().partition(|path| !is_by_hash && lock.get(path).is_some());
    if args.latest
        && let Some(path) = unpinned.first()
    {
        return Err(Failure::NotPinned { paths: vec![path.to_string()], near: nearest_pins(path, &lock) });
    }
    if !pinned.is_empty() {
        let pins = pinned.iter().filter_map(|path| lock.get(path)).cloned().collect();
        workspace::pull::pinned(pins, args, context, output)?;
    }
    if unpinned.is_empty() { Ok(()) } else { pull_as_unit(&unpinned, &lock, args, context, output) }
}

/// Pulls outputs all or none, the newest or those of the given hashes.
fn pull_as_unit(
    outputs: &[OutputPath],
    lock: &LarderLock,
    args: &PullArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let mut options = pull_options(args, context);
    let session = context.open(output.console())?;
    let pull = async {
        let hashes =
            session.storage.resolve(outputs, args.command_hash.as_ref(), args.content_hash.as_ref()).await?;
        options.command_hash = hashes.command_hash;
        options.content_hash = hashes.content_hash;
        session.storage.pull(outputs, &options).await
    };
    let (pulled, near) =
        session.run(output, async { with_near_names(&session.storage, pull.await).await })?;
    output.set_near(near);
    if let (Err(Error::NotFound { narrowed: false, .. }), [only]) = (&pulled, outputs) {
        output.set_near_pins(nearest_pins(only, lock));
    }
    match pulled {
        Ok(pulled) => {
            for pulled in &pulled {
                output.entry(TransferEntry::pulled(pulled, args.dry_run));
                say_pulled(pulled, args, &session, output);
            }
            let is_kept = |pulled: &&Pulled| pulled.outcome == PullOutcome::Kept;
            let kept = pulled.iter().filter(is_kept).count();
            if args.strict && kept > 0 {
                return Err(Failure::Kept { count: kept });
            }
            if args.dry_run || args.to.is_some() {
                return Ok(());
            }
            workspace::pull::remember_pulled(&pulled, lock, context)
        }
        Err(error) => {
            let missing = match &error {
                Error::NotFound { outputs, .. } => outputs.clone(),
                _ => Vec::new(),
            };
            let failure = Failure::from(error);
            for path in outputs {
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
