//! `larder status`

use std::collections::BTreeMap;

use comfy_table::Table;
use larder_pins::{LarderLock, Pin, PinState};
use larder_storage::{CancellationToken, OutputPath};

use super::pinned::{PinnedOutput, compare, version_of};
use super::remotes::by_remote;
use crate::args::StatusArgs;
use crate::commands::ls::print;
use crate::commands::near::nearest_pins;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, PinEntry};
use crate::output::text::{printable, size};

pub(in crate::commands) fn run(
    args: &StatusArgs,
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<()> {
    let lock = LarderLock::read(&context.root)?;
    if lock.is_empty() {
        output.console().note(&"larder.lock pins no outputs: `larder pin PATH` pins one");
        return Ok(());
    }
    let wanted = context.outputs(&args.paths)?;
    let pins = chosen(&lock, &wanted)?;
    // Nothing is written but caches, so a signal may end this at once.
    let compared = compare(pins, context, &CancellationToken::new(), output.console());
    let mut found = Vec::new();
    for (path, compared) in compared {
        match compared {
            Ok(pinned) => found.push(pinned),
            Err(failure) => {
                output.entry(FailedEntry::new(path.as_str(), &failure));
                output.fail(failure);
            }
        }
    }
    let online = if args.online { ask(&found, context, output)? } else { vec![None; found.len()] };
    show(&found, &online, !wanted.is_empty(), output);
    let unclean = found
        .iter()
        .zip(&online)
        .filter(|(pinned, online)| pinned.state != PinState::Clean || **online == Some(false));
    match unclean.count() {
        0 => Ok(()),
        count if args.check => Err(Failure::NotAsPinned { count }),
        _ => Ok(()),
    }
}

/// Returns the pins of the paths: those of these outputs, below these directories, or above these files. All by default.
fn chosen(lock: &LarderLock, wanted: &[OutputPath]) -> Result<Vec<Pin>> {
    let is_of = |pin: &Pin, path: &OutputPath| {
        pin.path.as_str() == path.as_str() || pin.path.contains(path) || path.contains(&pin.path)
    };
    if let Some(unknown) = wanted.iter().find(|path| !lock.iter().any(|pin| is_of(pin, path))) {
        return Err(Failure::NotPinned {
            paths: vec![unknown.to_string()],
            near: nearest_pins(unknown, lock),
        });
    }
    let is_wanted = |pin: &&Pin| wanted.is_empty() || wanted.iter().any(|path| is_of(pin, path));
    Ok(lock.iter().filter(is_wanted).cloned().collect())
}

/// Asks the remotes whether they have the pinned versions.
fn ask(
    found: &[PinnedOutput],
    context: &CommandContext,
    output: &mut CommandOutput,
) -> Result<Vec<Option<bool>>> {
    let mut online = vec![None; found.len()];
    let pins: Vec<Pin> = found.iter().map(|pinned| pinned.pin.clone()).collect();
    for (remote, pins) in by_remote(pins) {
        let session = context.open_pinned(remote.as_deref(), output.console())?;
        let versions: Vec<_> = pins.iter().map(|pin| (pin.path.clone(), version_of(pin))).collect();
        let has = session.run(output, session.storage.has_each(&versions))??;
        for (pin, has) in pins.iter().zip(has) {
            let at = found.iter().position(|pinned| pinned.pin.path == pin.path);
            if let Some(online) = at.and_then(|at| online.get_mut(at)) {
                *online = Some(has);
            }
        }
    }
    Ok(online)
}

fn show(found: &[PinnedOutput], online: &[Option<bool>], with_clean: bool, output: &mut CommandOutput) {
    let with_clean = with_clean || output.console().is_verbose();
    let mut table = Table::new();
    let mut counts = BTreeMap::new();
    for (pinned, online) in found.iter().zip(online) {
        output.entry(PinEntry::new(&pinned.pin, pinned.state, pinned.disk.as_ref()).with_online(*online));
        *counts.entry(pinned.state.name()).or_insert(0_usize) += 1;
        let is_absent = *online == Some(false);
        if pinned.state == PinState::Clean && !with_clean && !is_absent {
            continue;
        }
        let absent = is_absent.then_some("the remote does not have the pinned version");
        let notes: Vec<&str> = [advice(pinned.state), absent.unwrap_or_default()]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect();
        table.add_row([
            pinned.state.name().to_owned(),
            printable(pinned.pin.path.as_str()),
            size(pinned.pin.bytes),
            notes.join("; "),
        ]);
    }
    print(table, &[2], output);
    let counts: Vec<String> = counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    output.console().note(&format_args!("pinned outputs: {}", counts.join(", ")));
}

/// Says what to do about an output in a state.
const fn advice(state: PinState) -> &'static str {
    match state {
        PinState::Clean => "",
        PinState::Behind => "`larder pull` brings the pinned version",
        PinState::Modified => "`larder push` publishes and pins it",
        PinState::Diverged => {
            "both changed: `larder push PATH --force` or `larder pull PATH --force` decides"
        }
        PinState::Missing => "`larder pull` restores it",
    }
}
