//! What the next command does about a process that died.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::{DeadJournal, Opened, Record};
use super::placement::Settled;
use super::removal::remove;
use super::{ProjectState, lock, placement};
use crate::error::{Error, Result};
use crate::report::Warning;

impl ProjectState {
    /// Completes or undoes what dead processes were putting into place, and removes their stagings. Their uploads are
    /// kept for [`ProjectState::orphans`].
    ///
    /// Only what could leave a wrong tree behind is an error; what cannot be cleaned up is a warning. So is everything
    /// to a command that only reads, where the file system of the project is read-only.
    pub(crate) fn recover(&self, only_reads: bool) -> Result<Vec<Warning>> {
        let mut warnings = Vec::new();
        for dir in [self.journal_dir(), self.staging_dir()] {
            if fs::symlink_metadata(&dir).is_ok_and(|found| found.is_symlink()) {
                let action = "use a link for larder's own state: remove it at";
                return Err(Error::io(action, &dir)(io::ErrorKind::InvalidInput.into()));
            }
        }
        for path in names(&self.journal_dir())? {
            match DeadJournal::open(&path)? {
                Opened::InUse => {}
                Opened::Unknown => {
                    let reason = format!(
                        "{} is not of this project, or of another version of larder: remove it",
                        path.display()
                    );
                    warnings.push(Warning::Sweep { reason });
                }
                Opened::Dead(journal) => {
                    let settled = match settle(&journal) {
                        Err(error) if only_reads && error.is_read_only_file_system() => {
                            Err(Warning::Sweep { reason: error.to_string() })
                        }
                        settled => settled?,
                    };
                    match settled {
                        Ok(warning) => warnings.extend(warning),
                        Err(stuck) => {
                            // Its staging may hold the only copy of something.
                            warnings.push(stuck);
                            continue;
                        }
                    }
                    for staging in journal.outside_stagings() {
                        warnings.extend(remove_staging(staging));
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
            // Other names are not ours to remove.
            if owner(&staging).is_some_and(|id| !self.journal_dir().join(id).exists()) {
                warnings.extend(remove_staging(&staging));
            }
        }
        Ok(warnings)
    }

    fn remove_stagings_of(&self, journal: &Path) -> Result<Vec<Warning>> {
        let id = journal.file_name().and_then(|name| name.to_str());
        let stagings = names(&self.staging_dir())?;
        let its_own = stagings.iter().filter(|staging| owner(staging) == id);
        Ok(its_own.filter_map(|staging| remove_staging(staging)).collect())
    }
}

/// The journal to which a staging in `.larder/tmp` belongs: see [`super::Session::staging_name`].
fn owner(staging: &Path) -> Option<&str> {
    let (id, number) = staging.file_name()?.to_str()?.rsplit_once('.')?;
    let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_id = id.split('-').count() == 3 && id.split('-').all(is_hex);
    (is_id && number.parse::<u64>().is_ok()).then_some(id)
}

/// Completes or undoes what the journal says was being placed. Inner `Err`: neither is possible.
fn settle(journal: &DeadJournal) -> Result<Result<Option<Warning>, Warning>> {
    let mut warning = None;
    for record in journal.unsettled() {
        let Record::Placing { moves } = record else { continue };
        let names: Vec<_> = moves.iter().map(|planned| planned.destination.display().to_string()).collect();
        let names = names.join(", ");
        match placement::settle(moves)? {
            Settled::Nothing => {}
            Settled::As(outcome) => {
                warning = Some(Warning::Recovered { action: format!("{names}: {outcome}") });
            }
            Settled::Stuck { destination, backup } => {
                let reason = format!(
                    "{} has changed since; what was there before is in {}: move it to where it belongs",
                    destination.display(),
                    backup.display()
                );
                return Ok(Err(Warning::Sweep { reason }));
            }
        }
    }
    for record in journal.unsettled() {
        if let Record::Parents { paths } = record {
            placement::remove_empty(paths);
        }
    }
    Ok(Ok(warning))
}

fn remove_staging(path: &Path) -> Option<Warning> {
    match remove(path) {
        Ok(()) => None,
        // It harms nobody there, and the next command that can write removes it.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => None,
        Err(error) => {
            Some(Warning::Sweep { reason: format!("failed to remove {}: {error}", path.display()) })
        }
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
