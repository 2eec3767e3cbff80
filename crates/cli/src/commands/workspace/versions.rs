//! New pins: what the project has, and where a remote has it.

use larder_pins::{Base, Bases, LarderLock, LockContents, LockUpdate, Pin};
use larder_storage::{CommandHash, Error, FindOptions, OutputPath, PushOptions, Pushed};

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

/// Publishes what the remote lacks of some outputs. Returns a pin for each output that the remote has in the end, in no order.
pub(super) async fn publish(
    outputs: &[OutputPath],
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
    let command = CommandHash::of_no_command(context.scheme);
    for path in outputs {
        match find_published(path, &command, session).await {
            Ok(Some(pin)) => {
                output.count("already present", None);
                output.summary(&printable(&format!("already present: {path} → {}", session.label)));
                pins.push(Pin { remote: remote.cloned(), ..pin });
            }
            Ok(None) => to_push.push(path.clone()),
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
    if let Err(error) = session.storage.push_all(&to_push, &command, options, each).await {
        output.fail(error);
    }
    pins
}

/// Returns a pin of the newest object that has the content of an output, without a remote. An object that a push left without
/// a record does not count: the next push records it.
async fn find_published(
    path: &OutputPath,
    no_command: &CommandHash,
    session: &RemoteSession,
) -> larder_storage::Result<Option<Pin>> {
    let found = session.storage.describe(path).await?;
    let mut options = FindOptions::default();
    options.content_hash = Some(found.content_hash.clone());
    match session.storage.find(path, &options).await {
        Ok(found) if found.newest.recorded.is_none() && found.newest.command_hash == *no_command => Ok(None),
        Ok(object) => Ok(Some(Pin {
            path: path.clone(),
            content: found.content_hash,
            command: object.newest.command_hash,
            bytes: found.bytes,
            files: found.files,
            remote: None,
        })),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
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
