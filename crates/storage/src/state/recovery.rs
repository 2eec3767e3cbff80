//! Recovers from processes that died. The next command does this.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::dead_journal::{DeadJournal, OpenedJournal};
use super::directory::{JOURNALS, STAGINGS, StateDirectory};
use super::placement::{Settled, remove_empty, settle};
use super::removal::remove;
use super::staging::journal_of;
use crate::error::Result;
use crate::report::Warning;

/// The maximum number of files that a warning names because they are not journals.
const NAMED_FOREIGN: usize = 3;

/// The result of a recovery.
pub(super) struct Recovered {
    pub(super) warnings: Vec<Warning>,
    /// Journals with uploads that are still open on a remote.
    pub(super) with_uploads: Vec<DeadJournal>,
}

/// See [`super::ProjectState::recover`].
pub(super) fn recover(root: &Path, only_reads: bool) -> Result<Recovered> {
    let journals = StateDirectory::open(root, &JOURNALS)?.map(Arc::new);
    let stagings = StateDirectory::open(root, &STAGINGS)?;
    let mut recovered = Recovered { warnings: Vec::new(), with_uploads: Vec::new() };
    let mut foreign: Vec<OsString> = Vec::new();
    if let Some(directory) = &journals {
        for name in directory.names()? {
            match DeadJournal::open(directory, root, &name)? {
                OpenedJournal::InUse => {}
                OpenedJournal::Foreign => foreign.push(name),
                OpenedJournal::Dead(journal) => {
                    recover_from(journal, stagings.as_ref(), only_reads, &mut recovered)?;
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

fn recover_from(
    journal: DeadJournal,
    stagings: Option<&StateDirectory>,
    only_reads: bool,
    recovered: &mut Recovered,
) -> Result<()> {
    let is_settled = match settle_all(&journal, &mut recovered.warnings) {
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
