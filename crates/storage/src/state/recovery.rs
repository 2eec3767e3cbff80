//! What the next command does about a process that died.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::{DeadJournal, Opened, Record};
use super::{ProjectState, lock, placement};
use crate::error::{Error, Result};
use crate::report::Warning;

impl ProjectState {
    /// Completes or undoes what dead processes were putting into place, and removes their stagings. Their uploads are
    /// kept for [`ProjectState::orphans`].
    ///
    /// Only what could leave a wrong tree behind is an error; what cannot be cleaned up is a warning.
    pub(crate) fn recover(&self) -> Result<Vec<Warning>> {
        let mut warnings = Vec::new();
        for path in names(&self.journal_dir())? {
            match DeadJournal::open(&path)? {
                Opened::InUse => {}
                Opened::Unknown => {
                    let reason = format!("{} was written by another version of larder", path.display());
                    warnings.push(Warning::Sweep { reason });
                }
                Opened::Dead(journal) => {
                    warnings.extend(settle(&journal)?);
                    for staging in journal.outside_stagings() {
                        warnings.extend(remove_tree(staging));
                    }
                    warnings.extend(self.remove_stagings_of(&path)?);
                    if journal.has_uploads() {
                        lock(&self.dead).push(journal);
                    } else {
                        journal.remove();
                    }
                }
            }
        }
        // Stagings whose journal is gone.
        for staging in names(&self.staging_dir())? {
            if owner(&staging).is_none_or(|id| !self.journal_dir().join(id).exists()) {
                warnings.extend(remove_tree(&staging));
            }
        }
        Ok(warnings)
    }

    fn remove_stagings_of(&self, journal: &Path) -> Result<Vec<Warning>> {
        let id = journal.file_name().and_then(|name| name.to_str());
        let stagings = names(&self.staging_dir())?;
        let its_own = stagings.iter().filter(|staging| owner(staging) == id);
        Ok(its_own.filter_map(|staging| remove_tree(staging)).collect())
    }
}

/// The journal to which a staging in `.larder/tmp` belongs: see [`super::Session::staging_name`].
fn owner(staging: &Path) -> Option<&str> {
    staging.file_name()?.to_str()?.rsplit_once('.').map(|(id, _)| id)
}

fn settle(journal: &DeadJournal) -> Result<Option<Warning>> {
    let mut warning = None;
    for record in journal.unsettled() {
        if let Record::Placing { moves } = record
            && let Some(outcome) = placement::settle(moves)?
        {
            let names: Vec<_> =
                moves.iter().map(|planned| planned.destination.display().to_string()).collect();
            warning = Some(Warning::Recovered { action: format!("{}: {outcome}", names.join(", ")) });
        }
    }
    for record in journal.unsettled() {
        if let Record::Parents { paths } = record {
            placement::remove_empty(paths);
        }
    }
    Ok(warning)
}

fn remove_tree(path: &Path) -> Option<Warning> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Some(Warning::Sweep { reason: format!("failed to remove {}: {error}", path.display()) })
        }
        _ => None,
    }
}

/// What is in a directory, which may be absent.
fn names(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>();
    paths.map_err(Error::io("list", dir))
}
