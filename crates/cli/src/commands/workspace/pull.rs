//! `larder pull` of pinned outputs.

use std::ops::ControlFlow;

use larder_pins::{Git, LarderLock, Pin, PinState};
use larder_storage::{Error, ErrorKind, OutputPath, PullOptions, PullOutcome, Pulled};

use super::pinned::{PinnedOutput, both_changed, compare, version_of};
use super::remotes::{by_remote, check_kind_of_project};
use super::versions::{NewPin, remember, remove_markers, say_updated, write_pins};
use crate::args::PullArgs;
use crate::commands::transfer::{pull_options, say_pulled};
use crate::context::CommandContext;
use crate::failure::{Failure, PinnedFailure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, PinEntry, TransferEntry};
use crate::output::text::printable;
use crate::runtime::run_blocking;
use crate::session::RemoteSession;

/// How many failures name the commit that set the pin. Each asks git for the history of larder.lock.
const MAX_COMMITS: usize = 5;

/// Pulls all pinned outputs.
pub(in crate::commands) fn all(
    args: &PullArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    if args.force && !args.all {
        return Err(Failure::Usage(
            "`--force` without PATH replaces every pinned output that differs: add `--all`, or name outputs"
                .to_owned(),
        ));
    }
    let lock = LarderLock::read(&context.root)?;
    if lock.is_empty() {
        return Err(Failure::NoPins { does: "pull restores the pinned outputs" });
    }
    pinned(lock.iter().cloned().collect(), args, context, output)
}

/// Pulls these pinned outputs, each for itself.
pub(in crate::commands) fn pinned(
    pins: Vec<Pin>,
    args: &PullArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    if args.latest {
        check_kind_of_project(context)?;
    }
    let mut pull = PinnedPull { args, context, kept: 0, asked: 0, done: Vec::new(), new: Vec::new() };
    for (remote, pins) in by_remote(pins) {
        let session = match context.open_pinned(remote.as_deref(), output.console()) {
            Ok(session) => session,
            Err(failure) => {
                output.fail(failure);
                continue;
            }
        };
        let pulled =
            session.run_saying(output, async |output| pull.pull_from(pins, &session, output).await)?;
        if let Err(failure) = pulled {
            output.fail(failure);
        }
        if output.is_stopped() {
            break;
        }
    }
    if !args.dry_run && args.to.is_none() {
        remove_markers(context, output)?;
        if !pull.new.is_empty() {
            say_updated(write_pins(&pull.new, context)?, output);
        }
        remember(pull.done.iter(), context)?;
    }
    if pull.kept > 0 {
        output.fail(Failure::NotAsPinned { count: pull.kept });
    }
    Ok(())
}

/// Remembers the versions of pinned outputs that were pulled by their hashes. They are not the user's own, so a pull of the pin
/// may replace them.
pub(in crate::commands) fn remember_pulled(
    pulled: &[Pulled],
    lock: &LarderLock,
    context: &CommandContext,
) -> Result<()> {
    let pins = pulled.iter().filter(|pulled| pulled.outcome != PullOutcome::Kept).filter_map(|pulled| {
        let pin = lock.get(&pulled.output)?.clone();
        Some(Pin { content: pulled.content_hash.clone(), command: pulled.command_hash.clone(), ..pin })
    });
    remember(pins.collect::<Vec<_>>().iter(), context)
}

struct PinnedPull<'a> {
    args: &'a PullArgs,
    context: &'a CommandContext,
    /// The number of outputs that stay although they are not as pinned.
    kept: usize,
    /// How often git was asked for the commit of a pin.
    asked: usize,
    /// The pins whose outputs are in place.
    done: Vec<Pin>,
    /// The pins of newer versions.
    new: Vec<NewPin>,
}

impl PinnedPull<'_> {
    async fn pull_from(
        &mut self,
        pins: Vec<Pin>,
        session: &RemoteSession,
        output: &mut CommandOutput,
    ) -> Result<()> {
        if self.args.to.is_some() {
            let found = pins.into_iter().map(|pin| PinnedOutput {
                pin,
                base: None,
                disk: None,
                state: PinState::Missing,
            });
            return self.restore(found.collect(), session, output).await;
        }
        // An interrupted command may have left outputs half made.
        session.storage.recover().await?;
        let (context, cancel, console) =
            (self.context.clone(), session.cancel.clone(), output.console().clone());
        let compared = run_blocking(move || compare(pins, &context, &cancel, &console)).await?;
        let mut found = Vec::new();
        for (path, compared) in compared {
            match compared {
                Ok(pinned) if pinned.state == PinState::Clean && !self.args.latest => {
                    output.entry(PinEntry::new(&pinned.pin, pinned.state, pinned.disk.as_ref()));
                    output.count("clean", None);
                    if !self.args.paths.is_empty() {
                        output.summary(&printable(&format!("clean: {path} is as pinned")));
                    }
                }
                Ok(pinned) => found.push(pinned),
                Err(failure) => {
                    output.entry(FailedEntry::new(path.as_str(), &failure));
                    output.fail(failure);
                }
            }
        }
        self.restore(found, session, output).await
    }

    /// Restores outputs that are not clean.
    async fn restore(
        &mut self,
        found: Vec<PinnedOutput>,
        session: &RemoteSession,
        output: &mut CommandOutput,
    ) -> Result<()> {
        let wanted: Vec<(OutputPath, PullOptions)> =
            found.iter().map(|pinned| (pinned.pin.path.clone(), self.options(pinned))).collect();
        let (mut restored, mut tried) = (Vec::new(), 0);
        let each = |index: usize, result: larder_storage::Result<Pulled>| {
            let pinned = &found[index];
            tried += 1;
            match result {
                Ok(pulled) => {
                    self.report(pinned, &pulled, session, output);
                    if pulled.outcome != PullOutcome::Kept {
                        restored.push((index, pulled));
                    }
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    // The others would wait as long for the same answer.
                    let is_over = matches!(error.kind(), ErrorKind::Remote | ErrorKind::Cancelled);
                    let failure = self.failure(pinned, error, session);
                    output.entry(FailedEntry::new(pinned.pin.path.as_str(), &failure));
                    output.fail(failure);
                    if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }
            }
        };
        session.storage.pull_each(&wanted, each).await;
        if tried < wanted.len() && !output.is_stopped() {
            let left = wanted.len() - tried;
            output.console().note(&format_args!("{left} more pinned outputs were not tried"));
        }
        for (index, pulled) in restored {
            self.finish(&found[index], &pulled, session).await?;
        }
        Ok(())
    }

    fn options(&self, pinned: &PinnedOutput) -> PullOptions {
        let mut options = pull_options(self.args, self.context);
        let version = version_of(&pinned.pin);
        options.replaces = pinned.synchronized().into_iter().collect();
        if self.args.latest {
            options.replaces.push(version);
        } else {
            options.command_hash = Some(version.command_hash);
            options.content_hash = Some(version.content_hash);
        }
        options
    }

    /// Notes that an output is in place.
    async fn finish(
        &mut self,
        pinned: &PinnedOutput,
        pulled: &Pulled,
        session: &RemoteSession,
    ) -> Result<()> {
        let pin = &pinned.pin;
        if pulled.content_hash == pin.content || self.args.dry_run || self.args.to.is_some() {
            self.done.push(pin.clone());
            return Ok(());
        }
        let content = session.storage.describe(&pin.path).await?;
        let newer = Pin {
            content: pulled.content_hash.clone(),
            command: pulled.command_hash.clone(),
            bytes: content.bytes,
            files: content.files,
            ..pin.clone()
        };
        self.new.push(NewPin { pin: newer, replaces: Some(pin.clone()) });
        Ok(())
    }

    fn report(
        &mut self,
        pinned: &PinnedOutput,
        pulled: &Pulled,
        session: &RemoteSession,
        output: &mut CommandOutput,
    ) {
        if pulled.outcome != PullOutcome::Kept || self.args.to.is_some() {
            output.entry(TransferEntry::pulled(pulled, self.args.dry_run));
            say_pulled(pulled, self.args, session, output);
            self.kept += usize::from(pulled.outcome == PullOutcome::Kept);
            return;
        }
        self.kept += 1;
        output.entry(PinEntry::new(&pinned.pin, pinned.state, pinned.disk.as_ref()).with_outcome("kept"));
        output.count("kept", None);
        let path = &pinned.pin.path;
        let reason = if pulled.is_only_copy {
            format!("{} has lost the version on disk, so this may be the only copy", session.label)
        } else {
            match pinned.state {
                PinState::Modified => format!(
                    "it was changed; `larder push {path}` publishes the change, `larder pull {path} --force` discards it"
                ),
                PinState::Diverged => both_changed(path),
                _ => "it was changed in the meantime".to_owned(),
            }
        };
        let kept = if self.args.dry_run { "would keep" } else { "kept" };
        output.summary(&printable(&format!("{kept} {path}: {reason}")));
    }

    fn failure(&mut self, pinned: &PinnedOutput, source: Error, session: &RemoteSession) -> Failure {
        if self.args.latest || !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::Remote) {
            return source.into();
        }
        self.asked += 1;
        let by = (self.asked <= MAX_COMMITS)
            .then(|| Git::at(&self.context.root).last_change_of(&pinned.pin))
            .flatten()
            .map(|commit| commit.to_string());
        Failure::Pinned(Box::new(PinnedFailure {
            path: pinned.pin.path.to_string(),
            remote: session.label.clone(),
            by,
            source,
        }))
    }
}
