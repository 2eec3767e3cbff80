//! New pins: what the project has, and where a remote has it.

use larder_pins::{Base, Bases, LarderLock, LockContents, LockUpdate, Pin};
use larder_storage::{CommandHash, OutputPath, PublishedContent, PushOptions, Pushed};

use crate::commands::transfer::say_pushed;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, TransferEntry};
use crate::output::text::printable;
use crate::session::RemoteSession;

/// A pin to write.
#[derive(Debug)]
pub(crate) struct NewPin {
    pub(super) pin: Pin,
    /// The pin that it replaces. If another process changed that in the meantime, nothing is written.
    pub(super) replaces: Option<Pin>,
}

impl NewPin {
    /// Names what a push published.
    pub(super) fn of_pushed(pushed: &Pushed, remote: Option<String>, replaces: Option<Pin>) -> Self {
        let pin = Pin {
            path: pushed.output.clone(),
            content: pushed.content_hash.clone(),
            command: pushed.command_hash.clone(),
            bytes: pushed.content_bytes,
            files: pushed.files,
            remote,
        };
        Self { pin, replaces }
    }
}

/// Which outputs are pushed although the remote has their contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// None: a version stays as new as it is.
    Stay,
    /// Older ones: a push makes its version the newest.
    BecomeNewest,
}

/// How many outputs are locked at once. Each lock is an open file.
const LOCKED: usize = 128;

/// Publishes what the remote lacks of some outputs. Waits for commands that make them. Returns a pin for each output that the
/// remote has in the end, in no order.
pub(super) async fn publish(
    outputs: &[OutputPath],
    present: Present,
    remote: Option<&String>,
    options: &PushOptions,
    session: &RemoteSession,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Vec<Pin> {
    let mut pins = Vec::new();
    for outputs in outputs.chunks(LOCKED) {
        let _guard = match session.storage.lock(outputs).await {
            Ok(guard) => guard,
            Err(error) => {
                output.fail(error);
                break;
            }
        };
        pins.extend(publish_locked(outputs, present, remote, options, session, context, output).await);
    }
    pins
}

async fn publish_locked(
    outputs: &[OutputPath],
    present: Present,
    remote: Option<&String>,
    options: &PushOptions,
    session: &RemoteSession,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Vec<Pin> {
    let (mut pins, mut to_push) = (Vec::new(), Vec::new());
    if outputs.is_empty() {
        return pins;
    }
    if !options.dry_run
        && let Err(error) = session.storage.sweep().await
    {
        output.fail(error);
        return pins;
    }
    for (path, found) in outputs.iter().zip(session.storage.find_published(outputs).await) {
        match found {
            Ok(PublishedContent { content, object: Some(object), is_newest, .. })
                if is_newest || present == Present::Stay =>
            {
                output.count("already present", None);
                output.summary(&printable(&format!("already present: {path} → {}", session.label)));
                output.entry(TransferEntry::present(path.as_str(), &object));
                pins.push(Pin {
                    path: path.clone(),
                    content: content.content_hash,
                    command: object.command_hash,
                    bytes: content.bytes,
                    files: content.files,
                    remote: remote.cloned(),
                });
            }
            Ok(_) => to_push.push(path.clone()),
            Err(error) => {
                let failure = Failure::from(error);
                output.entry(FailedEntry::new(path.as_str(), &failure));
                output.fail(failure);
            }
        }
    }
    if to_push.is_empty() {
        return pins;
    }
    let each = |index: usize, result: larder_storage::Result<Pushed>| match result {
        Ok(pushed) => {
            say_pushed(&pushed, options.dry_run, session, output);
            output.entry(TransferEntry::pushed(&pushed));
            pins.push(NewPin::of_pushed(&pushed, remote.cloned(), None).pin);
        }
        Err(error) => {
            let failure = Failure::from(error);
            output.entry(FailedEntry::new(to_push[index].as_str(), &failure));
            output.fail(failure);
        }
    };
    let command = CommandHash::of_no_command(context.scheme);
    if let Err(error) = session.storage.push_all(&to_push, &command, options, each).await {
        output.fail(error);
    }
    pins
}

/// Warns of pins that replace one that was changed since the output was synchronized.
pub(super) fn warn_of_older(pins: &[NewPin], context: &CommandContext, output: &CommandOutput) -> Result<()> {
    let bases = Bases::of(&context.root);
    for NewPin { pin, replaces } in pins {
        let Some(before) = replaces.as_ref().filter(|before| before.content != pin.content) else { continue };
        let base = bases.get(&pin.path)?.map(|base| base.content);
        if base.as_ref() == Some(&before.content) {
            continue;
        }
        let path = printable(pin.path.as_str());
        let version = if base.as_ref() == Some(&pin.content) {
            "the older version on disk"
        } else {
            "the version on disk"
        };
        output.console().warn(&format_args!(
            "the pin of {path} was changed since it was pulled here, and now {version} is pinned: `git diff larder.lock` shows both"
        ));
    }
    Ok(())
}

/// Writes pins into `larder.lock`, and remembers that their outputs are synchronized. Returns how many it changed.
pub(super) fn write_pins(pins: &[NewPin], context: &CommandContext) -> Result<usize> {
    let mut update = LockUpdate::begin(&context.root)?;
    let changed = insert(pins, &mut update)?;
    // Until then, the outputs count as modified. That loses nothing.
    remember(pins.iter().map(|new| &new.pin), context)?;
    Ok(changed)
}

/// Writes pins into a file that is open for an update. In a merge, they settle their conflicts. Returns how many pins changed.
pub(super) fn insert(pins: &[NewPin], update: &mut LockUpdate) -> Result<usize> {
    if let LockContents::Conflicted(merge) = update.found() {
        let mut merge = merge.clone();
        for new in pins {
            merge.settle_with(new.pin.clone());
        }
        update.write_merge(&merge)?;
        return Ok(pins.len());
    }
    let mut lock: LarderLock = update.pins()?;
    let mut changed = 0;
    for NewPin { pin, replaces } in pins {
        let current = lock.get(&pin.path);
        if current == Some(pin) {
            continue;
        }
        if current != replaces.as_ref() {
            return Err(Failure::PinChanged { path: pin.path.to_string() });
        }
        lock.insert(pin.clone()).map_err(Failure::PinClash)?;
        changed += 1;
    }
    update.write(&lock)?;
    Ok(changed)
}

/// Remembers that the outputs are as these pins say.
pub(super) fn remember<'p>(pins: impl Iterator<Item = &'p Pin>, context: &CommandContext) -> Result<()> {
    let bases = Bases::of(&context.root);
    for pin in pins {
        bases.set(&pin.path, &Base { content: pin.content.clone(), command: pin.command.clone() })?;
    }
    Ok(())
}

/// Says how many pins were changed.
pub(super) fn say_updated(changed: usize, output: &CommandOutput) {
    match changed {
        0 => {}
        1 => output.console().note(&"larder.lock: 1 pin updated; commit it"),
        count => output.console().note(&format_args!("larder.lock: {count} pins updated; commit it")),
    }
}

/// Removes the conflict markers of a merge that is settled, so that nobody commits them.
pub(super) fn remove_markers(context: &CommandContext, output: &CommandOutput) -> Result<()> {
    if !matches!(LockContents::read(&context.root)?, LockContents::Conflicted(_)) {
        return Ok(());
    }
    let mut update = LockUpdate::begin(&context.root)?;
    let merged = update.pins()?;
    if update.write(&merged)? {
        output
            .console()
            .note(&"larder.lock: the conflict of the merge is settled; `git add larder.lock` says so to git");
    }
    Ok(())
}
