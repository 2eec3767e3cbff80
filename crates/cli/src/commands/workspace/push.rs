//! `larder push` of pinned outputs.

use larder_pins::{Bases, LarderLock, Pin, PinState};
use larder_storage::{CancellationToken, OutputPath, PushOptions, Pushed};

use super::pinned::{PinnedOutput, both_changed, compare};
use super::remotes::{by_remote, check_kind_of_project};
use super::versions::{NewPin, Present, publish, remove_markers, say_updated, warn_of_older, write_pins};
use crate::args::PushArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, PinEntry};
use crate::output::text::printable;
use crate::runtime::run_blocking;

/// Pushes the pinned outputs that were modified, and updates their pins.
pub(in crate::commands) fn modified(
    args: &PushArgs,
    options: &PushOptions,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let lock = LarderLock::read(&context.root)?;
    if lock.is_empty() {
        return Err(Failure::NoPins { does: "push uploads the pinned outputs that were modified" });
    }
    check_kind_of_project(context)?;
    check_dereference(args)?;
    let given = context.is_remote_given().then(|| context.remote_of_pins()).transpose()?;
    let (mut new, mut missing, mut diverged) = (Vec::new(), 0, 0);
    for (remote, pins) in by_remote(lock.iter().cloned().collect()) {
        let session = match context.open_pinned(remote.as_deref(), output.console()) {
            Ok(session) => session,
            Err(failure) => {
                output.fail(failure);
                continue;
            }
        };
        let remote = given.as_ref().unwrap_or(&remote).clone();
        let published = session.run_saying(output, async |output| {
            // An interrupted command may have left outputs half made.
            session.storage.recover().await?;
            let (of_context, cancel, console) =
                (context.clone(), session.cancel.clone(), output.console().clone());
            let compared = run_blocking(move || compare(pins, &of_context, &cancel, &console)).await?;
            let mut modified: Vec<PinnedOutput> = Vec::new();
            for (path, compared) in compared {
                match compared {
                    Ok(pinned) if pinned.state == PinState::Modified => modified.push(pinned),
                    Ok(pinned) => {
                        missing += usize::from(pinned.state == PinState::Missing);
                        diverged += usize::from(pinned.state == PinState::Diverged);
                        skip(&pinned, output);
                    }
                    Err(failure) => {
                        output.entry(FailedEntry::new(path.as_str(), &failure));
                        output.fail(failure);
                    }
                }
            }
            let outputs: Vec<OutputPath> = modified.iter().map(|pinned| pinned.pin.path.clone()).collect();
            let pins =
                publish(&outputs, Present::BecomeNewest, remote.as_ref(), options, &session, context, output)
                    .await;
            let new = pins.into_iter().map(|pin| {
                let replaced = modified.iter().find(|pinned| pinned.pin.path == pin.path);
                NewPin { pin, replaces: replaced.map(|pinned| pinned.pin.clone()) }
            });
            Ok::<Vec<NewPin>, Failure>(new.collect())
        })?;
        match published {
            Ok(published) => new.extend(published),
            Err(failure) => output.fail(failure),
        }
    }
    if args.dry_run {
        for new in &new {
            output.summary(&printable(&format!("would update the pin of {}", new.pin.path)));
        }
    } else {
        remove_markers(context, output)?;
        update(&new, context, output)?;
    }
    if diverged > 0 {
        output.fail(Failure::NotAsPinned { count: diverged });
    }
    if args.strict && missing > 0 {
        output.fail(Failure::MissingOutputs { count: missing });
    }
    Ok(())
}

/// Says why a pinned output is not pushed.
fn skip(pinned: &PinnedOutput, output: &mut CommandOutput) {
    let path = &pinned.pin.path;
    let (counted, line) = match pinned.state {
        PinState::Clean | PinState::Modified => {
            output.entry(PinEntry::new(&pinned.pin, pinned.state, pinned.disk.as_ref()));
            output.count("clean", None);
            return;
        }
        PinState::Behind => {
            ("behind", format!("skipped {path}: larder.lock has another version, `larder pull` first"))
        }
        PinState::Diverged => ("diverged", format!("skipped {path}: {}", both_changed(path))),
        PinState::Missing => ("missing", format!("skipped {path}: it is missing, `larder pull` restores it")),
    };
    output.entry(PinEntry::new(&pinned.pin, pinned.state, pinned.disk.as_ref()).with_outcome("skipped"));
    output.count(counted, None);
    output.summary(&printable(&line));
}

/// Refuses to store pinned outputs otherwise than as they are compared.
fn check_dereference(args: &PushArgs) -> Result<()> {
    if args.dereference {
        return Err(Failure::Usage(
            "a pinned output is stored as it is: replace its links by their targets, and leave out --dereference".to_owned(),
        ));
    }
    Ok(())
}

/// Warns of outputs that contain pinned ones, or lie in one: a push does not change those pins.
fn warn_of_nested(outputs: &[OutputPath], lock: &LarderLock, output: &CommandOutput) {
    for path in outputs.iter().filter(|path| lock.get(path).is_none()) {
        if let Some(pin) = lock.iter().find(|pin| path.contains(&pin.path) || pin.path.contains(path)) {
            output.console().warn(&format_args!(
                "{} is pushed without a pin, because {} is pinned: `larder push {}` pushes that",
                printable(path.as_str()),
                printable(pin.path.as_str()),
                printable(pin.path.as_str())
            ));
        }
    }
}

/// How a pin names its remote: not at all if it is the default one.
#[derive(Debug)]
struct GivenRemote(Option<String>);

/// The pinned ones among outputs that are pushed by name.
#[derive(Debug, Default)]
pub(in crate::commands) struct NamedPins {
    pins: Vec<Pin>,
    /// What new pins name as their remote, if the user chose it with `-r`.
    given: Option<GivenRemote>,
}

impl NamedPins {
    /// Compares them. Refuses those that diverged, unless the push is forced: they are removed from `outputs`.
    pub(in crate::commands) fn among(
        outputs: &mut Vec<OutputPath>,
        args: &PushArgs,
        context: &CommandContext,
        output: &mut CommandOutput,
    ) -> Result<Self> {
        let lock = LarderLock::read(&context.root)?;
        let pins: Vec<_> = outputs.iter().filter_map(|path| lock.get(path)).cloned().collect();
        if !pins.is_empty() {
            check_kind_of_project(context)?;
            check_dereference(args)?;
        }
        warn_of_nested(outputs, &lock, output);
        if let (Some(pin), Some(hash)) = (pins.first(), &args.content_hash)
            && hash.verifiable_under(context.scheme).is_none()
        {
            return Err(Failure::Usage(format!(
                "{} is pinned, and a pin needs the hash of its content: leave out --content-hash",
                pin.path
            )));
        }
        let bases = Bases::of(&context.root);
        let is_given = context.is_remote_given();
        let (mut allowed, mut to_compare) = (Vec::new(), Vec::new());
        for pin in pins {
            let base = bases.get(&pin.path)?;
            let may_diverge = base.is_none_or(|base| base.content != pin.content);
            if may_diverge || is_given { to_compare.push(pin) } else { allowed.push(pin) }
        }
        let mut is_unclean = false;
        for (path, compared) in compare(to_compare, context, &CancellationToken::default(), output.console())
        {
            match compared {
                Ok(found) if found.state == PinState::Diverged && !args.force => {
                    skip(&found, output);
                    output.fail(Failure::Diverged { path: path.to_string() });
                    outputs.retain(|other| *other != path);
                }
                // The push reports that it is missing.
                Ok(found) => {
                    is_unclean |= found.state != PinState::Clean;
                    allowed.push(found.pin);
                }
                Err(failure) => {
                    output.entry(FailedEntry::new(path.as_str(), &failure));
                    output.fail(failure);
                    outputs.retain(|other| *other != path);
                }
            }
        }
        let given =
            (is_given && is_unclean).then(|| context.remote_of_pins().map(GivenRemote)).transpose()?;
        Ok(Self { pins: allowed, given })
    }

    /// Returns the remote that the pin of an output names.
    pub(in crate::commands) fn remote_of(&self, path: &OutputPath) -> Option<&str> {
        self.pins.iter().find(|pin| pin.path == *path)?.remote.as_deref()
    }

    /// Updates the pins of outputs that were pushed with another content.
    pub(in crate::commands) fn update(
        &self,
        pushed: &[Pushed],
        context: &CommandContext,
        output: &CommandOutput,
    ) -> Result<()> {
        let changed = pushed.iter().filter_map(|pushed| {
            let pin = self.pins.iter().find(|pin| pin.path == pushed.output)?;
            let remote = self.given.as_ref().map_or(&pin.remote, |given| &given.0).clone();
            let is_other = pushed.content_hash != pin.content;
            is_other.then(|| NewPin::of_pushed(pushed, remote, Some(pin.clone())))
        });
        update(&changed.collect::<Vec<_>>(), context, output)
    }
}

fn update(new: &[NewPin], context: &CommandContext, output: &CommandOutput) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    warn_of_older(new, context, output)?;
    say_updated(write_pins(new, context)?, output);
    Ok(())
}
