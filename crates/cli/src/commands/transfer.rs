//! What several commands push and pull with: the lines about each output, and the options of a pull.

use larder_storage::{PullOptions, PullOutcome, Pulled, PushOutcome, Pushed};

use crate::args::PullArgs;
use crate::context::CommandContext;
use crate::output::CommandOutput;
use crate::output::text::{compressed, duration, printable, size};
use crate::session::RemoteSession;

/// Returns the options of a pull, without hashes.
pub(super) fn pull_options(args: &PullArgs, context: &CommandContext) -> PullOptions {
    let mut options = PullOptions::default();
    options.force = args.force;
    options.to = args.to.as_ref().map(|to| context.working_dir.join(to));
    options.verify = !args.no_verify;
    options.dry_run = args.dry_run;
    options
}

/// Says what a push did with an output.
pub(super) fn say_pushed(
    pushed: &Pushed,
    dry_run: bool,
    session: &RemoteSession,
    output: &mut CommandOutput,
) {
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

/// Says what a pull did with an output.
pub(super) fn say_pulled(
    pulled: &Pulled,
    args: &PullArgs,
    session: &RemoteSession,
    output: &mut CommandOutput,
) {
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
