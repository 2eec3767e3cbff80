//! Recovers from processes that died. The next command does this.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use larder_hashing::OutputPath;

use super::aside::bring_back;
use super::dead_journal::{DeadJournal, OpenedJournal};
use super::directory::{JOURNALS, STAGINGS, StateDirectory};
use super::output_locks::{LockAttempt, LockRequest, OutputLocks};
use super::placement::{Settled, remove_empty, settle};
use super::removal::remove;
use super::staging::journal_of;
use crate::error::{Error, Result};
use crate::report::Warning;

/// The maximum number of files that a warning names because they are not journals.
const NAMED_FOREIGN: usize = 3;

/// The result of a recovery.
pub(super) struct Recovered {
    pub(super) warnings: Vec<Warning>,
    /// Whether a dead process had begun to make an output that `held` protects, and it could not be brought back, because
    /// another lock is needed as well. The caller must release its locks and try again.
    pub(super) is_blocked: bool,
    /// Journals with uploads that are still open on a remote.
    pub(super) with_uploads: Vec<DeadJournal>,
}

/// See [`super::ProjectState::recover`].
///
/// `held` are locks of the caller.
pub(super) fn recover(root: &Path, only_reads: bool, held: Option<&OutputLocks>) -> Result<Recovered> {
    let journals = StateDirectory::open(root, &JOURNALS)?.map(Arc::new);
    let stagings = StateDirectory::open(root, &STAGINGS)?;
    let mut recovered = Recovered { warnings: Vec::new(), is_blocked: false, with_uploads: Vec::new() };
    let mut foreign: Vec<OsString> = Vec::new();
    if let Some(directory) = &journals {
        for name in directory.names()? {
            match DeadJournal::open(directory, root, &name)? {
                OpenedJournal::InUse => {}
                OpenedJournal::Foreign => foreign.push(name),
                OpenedJournal::Dead(journal) => {
                    // A command may outlive the larder that started it. It still writes its outputs.
                    let Some(_locks) = lock_commands(&journal, root, held)? else {
                        let outputs = journal.locks_of_commands(root);
                        let outputs = outputs.iter().map(OutputPath::as_str);
                        recovered.is_blocked |= held.is_some_and(|held| held.overlap(outputs));
                        continue;
                    };
                    recover_from(journal, root, stagings.as_ref(), only_reads, &mut recovered)?;
                }
            }
        }
        recovered.warnings.extend(foreign_warning(directory.path(), foreign));
    }
    // Remove the stagings whose journal is gone.
    if let Some(stagings) = &stagings {
        for name in stagings.names()? {
            // Files with other names do not belong to larder.
            let Some(id) = journal_of(&name) else { continue };
            if !journals.as_ref().is_some_and(|journals| journals.has(id)) {
                let warning = remove_staging(&stagings.path().join(&name));
                // It may have failed above, with its journal.
                recovered.warnings.extend(warning.filter(|warning| !recovered.warnings.contains(warning)));
            }
        }
    }
    Ok(recovered)
}

/// Locks the outputs of the journal's commands, unless the caller holds them. Returns `None` if a command still runs.
fn lock_commands(
    journal: &DeadJournal,
    root: &Path,
    held: Option<&OutputLocks>,
) -> Result<Option<OutputLocks>> {
    let outputs = journal.locks_of_commands(root);
    if outputs.is_empty() || held.is_some_and(|held| held.cover(outputs.iter().map(OutputPath::as_str))) {
        return Ok(Some(OutputLocks::default()));
    }
    match LockRequest::new(root, &outputs)?.attempt() {
        Ok(LockAttempt::Locked(locks)) => Ok(Some(locks)),
        Ok(LockAttempt::Busy(_)) | Err(Error::HeldByAncestor { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn recover_from(
    journal: DeadJournal,
    root: &Path,
    stagings: Option<&StateDirectory>,
    only_reads: bool,
    recovered: &mut Recovered,
) -> Result<()> {
    let settled = bring_all_back(&journal, root, &mut recovered.warnings)
        .and_then(|()| settle_all(&journal, &mut recovered.warnings));
    let is_settled = match settled {
        Err(error) if only_reads && error.is_read_only_file_system() => {
            recovered.warnings.push(Warning::Sweep { reason: error.to_string() });
            false
        }
        settled => settled?,
    };
    if !is_settled {
        // The staging may hold the only copy of an output.
        return Ok(());
    }
    for staging in journal.outside_stagings() {
        recovered.warnings.extend(remove_staging(staging));
    }
    if let Some(stagings) = stagings {
        for name in stagings.names()? {
            if journal_of(&name) == Some(journal.id()) {
                recovered.warnings.extend(remove_staging(&stagings.path().join(&name)));
            }
        }
    }
    if journal.has_uploads() {
        recovered.with_uploads.push(journal);
    } else {
        journal.remove();
    }
    Ok(())
}

/// Brings back the previous versions of the outputs that commands were making.
fn bring_all_back(journal: &DeadJournal, root: &Path, warnings: &mut Vec<Warning>) -> Result<()> {
    for outputs in journal.unsettled_commands() {
        for back in bring_back(root, outputs)? {
            let previous =
                if back.has_previous { "its previous version is back" } else { "it is incomplete" };
            if let Some(failed) = back.failed {
                let action =
                    format!("{}: {previous}, and its command left {}", back.output, failed.display());
                warnings.push(Warning::Recovered { action });
            } else if back.has_previous {
                warnings.push(Warning::Recovered { action: format!("{}: {previous}", back.output) });
            }
        }
    }
    Ok(())
}

/// Completes or undoes each placing of the journal. Returns whether that succeeded for all of them.
fn settle_all(journal: &DeadJournal, warnings: &mut Vec<Warning>) -> Result<bool> {
    let mut is_settled = true;
    for unsettled in journal.unsettled() {
        match settle(unsettled.moves)? {
            Settled::Nothing => {}
            Settled::As(outcome) => {
                let names: Vec<_> =
                    unsettled.moves.iter().map(|moved| moved.destination.display().to_string()).collect();
                let action = format!("{}: {outcome}", names.join(", "));
                warnings.push(Warning::Recovered { action });
            }
            Settled::Stuck { destination, backup } => {
                let reason = format!(
                    "{} has changed since; the previous version is in {}: move it to where it belongs",
                    destination.display(),
                    backup.display()
                );
                warnings.push(Warning::Sweep { reason });
                is_settled = false;
                continue;
            }
        }
        remove_empty(unsettled.parents);
    }
    Ok(is_settled)
}

fn foreign_warning(directory: &Path, mut names: Vec<OsString>) -> Option<Warning> {
    names.sort();
    let first: Vec<String> =
        names.iter().take(NAMED_FOREIGN).map(|name| format!("`{}`", name.display())).collect();
    let more = names.len() - first.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!names.is_empty()).then(|| Warning::ForeignJournals {
        names: format!("{}{more}", first.join(", ")),
        directory: directory.display().to_string(),
    })
}

fn remove_staging(path: &Path) -> Option<Warning> {
    match remove(path) {
        Ok(()) => None,
        // The next command that can write removes it.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => None,
        Err(error) => {
            Some(Warning::Sweep { reason: format!("failed to remove {}: {error}", path.display()) })
        }
    }
}

#[cfg(test)]
mod tests;
