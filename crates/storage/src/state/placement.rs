//! Moves staged outputs to their destinations. Each move is atomic, and several moves are one unit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::identity::{identity, lasting_identity};
use super::journal::ProcessJournal;
use super::mounts::mount_within;
use super::record::{JournalRecord, Move};
use super::rename::{
    Stopped, exchange, exists, hard_link, is_dir, is_unsupported, move_tree, rename, rename_file,
    rename_noreplace,
};
use super::steps::step;
use crate::error::{Error, Result};

/// A restored output, and its destination.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The restored output.
    pub(crate) staged: PathBuf,
    /// The path where the output goes.
    pub(crate) destination: PathBuf,
    /// A path on the same file system for the previous version.
    pub(crate) backup: PathBuf,
    /// Whether a previous version may be replaced.
    pub(crate) replace: bool,
}

/// The reason why a placing failed. All moves were undone, unless the undo failed as well.
#[derive(Debug)]
pub(crate) enum Unplaced {
    /// The destination with this index exists and must not be replaced.
    Appeared(usize),
    Failed(Error),
}

impl From<Error> for Unplaced {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Moves all outputs of `planned` into place, or none.
pub(crate) fn place(journal: &ProcessJournal, planned: &[Planned]) -> Result<(), Unplaced> {
    let placing = journal.next_placing();
    let destinations: Vec<&Path> = planned.iter().map(|planned| planned.destination.as_path()).collect();
    let parents = missing_parents(&destinations);
    if !parents.is_empty() {
        journal.append(&JournalRecord::Parents { placing, paths: parents.clone() })?;
    }
    let outcome = create_parents(&parents)
        .map_err(NotPlaced::undone)
        .and_then(|()| place_all(journal, placing, planned));
    if outcome.is_err() {
        remove_empty(&parents);
    }
    if outcome.as_ref().err().is_none_or(|failure| failure.is_undone) {
        // If this fails, the next command finds all outputs in place, or all moved back.
        journal.append(&JournalRecord::Settled { placing }).ok();
    } else {
        journal.leave_unfinished();
    }
    outcome.map_err(|failure| failure.reason)
}

/// The reason why a placing failed, and whether it was undone completely.
struct NotPlaced {
    reason: Unplaced,
    is_undone: bool,
}

impl NotPlaced {
    fn undone(reason: impl Into<Unplaced>) -> Self {
        Self { reason: reason.into(), is_undone: true }
    }
}

fn place_all(journal: &ProcessJournal, placing: u64, planned: &[Planned]) -> Result<(), NotPlaced> {
    let moves = planned.iter().map(Move::plan).collect::<Result<Vec<_>>>().map_err(NotPlaced::undone)?;
    let record = JournalRecord::Placing { placing, moves: moves.clone() };
    journal.append(&record).map_err(NotPlaced::undone)?;
    if moves.iter().any(|planned| planned.previous.is_some()) {
        journal.sync().map_err(NotPlaced::undone)?;
    }
    for (index, planned) in moves.iter().enumerate() {
        let reason = match planned.carry_out() {
            Ok(()) => continue,
            Err(Stopped::Appeared) => Unplaced::Appeared(index),
            Err(Stopped::Io(error)) => Error::io("put into place", &planned.destination)(error).into(),
        };
        return Err(match undo_all(&moves[..=index]) {
            Ok(()) => NotPlaced { reason, is_undone: true },
            Err(error) => NotPlaced { reason: error.into(), is_undone: false },
        });
    }
    Ok(())
}

/// The outcome of the recovery of a placing.
pub(super) enum Settled {
    /// Nothing had been moved.
    Nothing,
    /// It was completed or undone, as the text says.
    As(&'static str),
    /// A destination holds neither the old nor the new version. It stays, and so does the backup.
    Stuck { destination: PathBuf, backup: PathBuf },
}

/// Completes the placing of a dead process, or undoes it if it can no longer be completed.
pub(super) fn settle(moves: &[Move]) -> Result<Settled> {
    if !moves.iter().any(|planned| planned.is_over() || planned.has_begun()) {
        return Ok(Settled::Nothing);
    }
    let completed = moves.iter().all(|planned| planned.is_over() || planned.can_go_on())
        && moves.iter().all(|planned| planned.is_over() || planned.carry_out().is_ok());
    if completed {
        return Ok(Settled::As("it was completed"));
    }
    if let Some(stuck) = moves.iter().find(|planned| planned.has_begun() && !planned.is_known()) {
        return Ok(Settled::Stuck { destination: stuck.destination.clone(), backup: stuck.backup.clone() });
    }
    undo_all(moves)?;
    Ok(Settled::As("it was undone"))
}

fn undo_all(moves: &[Move]) -> Result<()> {
    // Each move is tried, even after another one has failed.
    let undone: Vec<_> = moves.iter().rev().map(|planned| (planned, planned.undo())).collect();
    for (planned, outcome) in undone {
        outcome.map_err(Error::io(
            "put back (the next larder command in this project tries again)",
            &planned.destination,
        ))?;
    }
    Ok(())
}

impl Move {
    fn plan(planned: &Planned) -> Result<Self> {
        let Planned { staged, destination, backup, replace } = planned;
        let new = identity(staged)
            .and_then(|found| found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
            .map_err(Error::io("look at", staged))?;
        let previous = if *replace {
            check_one_mount(destination)?;
            lasting_identity(destination).map_err(Error::io("look at", destination))?
        } else {
            None
        };
        Ok(Self {
            staged: staged.clone(),
            destination: destination.clone(),
            backup: backup.clone(),
            new,
            previous,
        })
    }

    fn is_done(&self) -> bool {
        matches!(identity(&self.destination), Ok(Some(found)) if found == self.new)
    }

    /// Returns whether the new tree has left the staging. It does not matter whether something has replaced
    /// it at the destination since.
    fn is_over(&self) -> bool {
        self.is_done() || !exists(&self.staged)
    }

    /// Returns whether the move of the old tree to the backup has begun.
    fn has_begun(&self) -> bool {
        exists(&self.backup)
    }

    /// Returns whether the destination is free, or holds the old or the new tree.
    fn is_known(&self) -> bool {
        let Ok(found) = identity(&self.destination) else { return false };
        // On an overlay, creating a hard link copies an old file, which gives it a new identity.
        let is_in_backup = || matches!(identity(&self.backup), Ok(backup) if backup == found);
        found.is_none() || found == self.previous || found == Some(self.new) || is_in_backup()
    }

    /// Returns whether this move can continue: its paths are as it left them, and nothing was mounted since.
    fn can_go_on(&self) -> bool {
        self.is_known()
            && matches!(mount_within(&self.destination), Ok(None))
            && matches!(identity(&self.staged), Ok(Some(found)) if found == self.new)
    }

    fn carry_out(&self) -> Result<(), Stopped> {
        if self.previous.is_none() {
            return rename_noreplace(&self.staged, &self.destination);
        }
        if !self.has_begun() {
            match exchange(&self.staged, &self.destination) {
                Ok(()) => return Ok(()),
                // Another process has removed the previous version.
                Err(Errno::NOENT) => return rename_noreplace(&self.staged, &self.destination),
                Err(error) if is_unsupported(error) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if !is_dir(&self.staged)
                && !is_dir(&self.destination)
                && hard_link(&self.destination, &self.backup).is_ok()
            {
                // Replacing a file by a rename is atomic everywhere. The hard link keeps the old file for an
                // undo.
                return Ok(rename_file(&self.staged, &self.destination)?);
            }
        }
        if is_dir(&self.backup) || is_dir(&self.destination) || !exists(&self.backup) {
            move_tree(&self.destination, &self.backup)?;
        } else {
            return Ok(rename_file(&self.staged, &self.destination)?);
        }
        rename_noreplace(&self.staged, &self.destination)
    }

    /// Moves the previous version back to the destination. Does nothing if the move has not begun.
    fn undo(&self) -> io::Result<()> {
        let done = self.is_done();
        if !done && !exists(&self.staged) {
            return Ok(());
        }
        if self.has_begun() {
            if !done && !self.is_known() {
                // Another process has created something there. The old tree stays in the backup, so that the
                // two do not mix.
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            // For two files, the rename below is enough.
            if done && (is_dir(&self.destination) || is_dir(&self.backup)) {
                rename(&self.destination, &self.staged)?;
            }
            if is_dir(&self.backup) {
                return move_tree(&self.backup, &self.destination);
            }
            return rename_file(&self.backup, &self.destination);
        }
        if !done {
            return Ok(());
        }
        if exists(&self.staged) {
            return Ok(exchange(&self.staged, &self.destination)?);
        }
        match identity(&self.destination)? {
            Some(found) if found == self.new => rename(&self.destination, &self.staged),
            // Another process has replaced it since, so it stays.
            _ => Ok(()),
        }
    }
}

/// Refuses to move a tree that contains a mount point. The mount would move with the tree, and the removal
/// would delete its files.
pub(crate) fn check_one_mount(destination: &Path) -> Result<()> {
    match mount_within(destination).map_err(Error::io("look at", destination))? {
        Some(mount) => Err(Error::MountWithin { destination: destination.to_owned(), mount }),
        None => Ok(()),
    }
}

/// Returns the missing parent directories of the destinations, outermost first.
fn missing_parents(destinations: &[&Path]) -> Vec<PathBuf> {
    let mut missing = Vec::new();
    for destination in destinations {
        let above = destination.ancestors().skip(1);
        let absent: Vec<_> = above.take_while(|parent| !parent.exists()).map(Path::to_owned).collect();
        missing.extend(absent.into_iter().rev());
    }
    missing.sort();
    missing.dedup();
    missing
}

fn create_parents(parents: &[PathBuf]) -> Result<()> {
    for parent in parents {
        step();
        match fs::create_dir(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create", parent)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes the directories that are empty, innermost first.
pub(super) fn remove_empty(parents: &[PathBuf]) {
    for parent in parents.iter().rev() {
        fs::remove_dir(parent).ok();
    }
}

#[cfg(test)]
mod tests;
