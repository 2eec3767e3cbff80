//! The merge of two versions of `larder.lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder_hashing::OutputPath;

use crate::error::{Error, Result};
use crate::larder_lock::LarderLock;
use crate::markers;
use crate::pin::Pin;

/// A side of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side above the `=======`: the branch that was checked out.
    Ours,
    /// The side below the `=======`: the branch that is merged.
    Theirs,
}

/// A pin that both sides of a merge changed, and differently. `None` means that the side has no such pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinConflict {
    /// The output.
    pub path: OutputPath,
    /// The pin of the branch that was checked out.
    pub ours: Option<Pin>,
    /// The pin of the branch that is merged.
    pub theirs: Option<Pin>,
}

/// A `larder.lock` with the conflict markers of git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictedLock {
    /// The pins of the branch that was checked out.
    pub ours: LarderLock,
    /// The pins of the branch that is merged.
    pub theirs: LarderLock,
    /// The pins of the common ancestor, if the markers show it.
    pub base: Option<LarderLock>,
    path: PathBuf,
}

/// The result of a merge: the pins that are settled, and the conflicts that are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockMerge {
    path: PathBuf,
    settled: BTreeMap<String, Pin>,
    conflicts: Vec<PinConflict>,
}

impl ConflictedLock {
    /// Returns whether a text has conflict markers.
    pub fn has_markers(text: &str) -> bool {
        markers::has_markers(text)
    }

    /// Parses the text of the file at `path`. The path only appears in errors.
    ///
    /// # Errors
    ///
    /// The markers are not in order, or the text of one side is not a `larder.lock`. The error names the line.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let sides = markers::split(text, path)?;
        Ok(Self {
            ours: LarderLock::parse(&sides.ours, path)?,
            theirs: LarderLock::parse(&sides.theirs, path)?,
            // A base may itself be the result of a merge with conflicts. It is then no base.
            base: sides.base.and_then(|base| LarderLock::parse(&base, path).ok()),
            path: path.to_owned(),
        })
    }

    /// Replaces pins by those of the versions before the merge, where they have the same content. Git may merge one line of
    /// a pin without a conflict, and then the markers show a pin that no side has.
    pub fn restore_sides(&mut self, ours: Option<&LarderLock>, theirs: Option<&LarderLock>) {
        for (side, version) in [(&mut self.ours, ours), (&mut self.theirs, theirs)] {
            let Some(version) = version else { continue };
            for pin in version.iter() {
                if let Some(shown) = side.get_mut(&pin.path)
                    && shown.content == pin.content
                {
                    *shown = pin.clone();
                }
            }
        }
    }

    /// Merges both sides, with the version that both come from. Without one, the markers may show it.
    ///
    /// A pin that only one side changed is taken, also if the change is a removal. Without any base, pins that both sides
    /// have alike are taken, and pins that only one side has.
    pub fn merge(&self, base: Option<&LarderLock>) -> LockMerge {
        let base = base.or(self.base.as_ref());
        let mut merge =
            LockMerge { path: self.path.clone(), settled: BTreeMap::new(), conflicts: Vec::new() };
        let paths: BTreeSet<&str> =
            self.ours.iter().chain(self.theirs.iter()).map(|pin| pin.path.as_str()).collect();
        for path in paths {
            let of = |lock: &LarderLock| lock.named(path).cloned();
            let (ours, theirs) = (of(&self.ours), of(&self.theirs));
            let Some(path) = ours.as_ref().or(theirs.as_ref()).map(|pin| pin.path.clone()) else { continue };
            let before = base.map(of);
            let taken = match before {
                _ if ours == theirs => Some(ours),
                Some(before) if ours == before => Some(theirs),
                Some(before) if theirs == before => Some(ours),
                None if ours.is_none() => Some(theirs),
                None if theirs.is_none() => Some(ours),
                _ => {
                    merge.conflicts.push(PinConflict { path, ours, theirs });
                    None
                }
            };
            if let Some(pin) = taken.flatten() {
                merge.settled.insert(pin.path.as_str().to_owned(), pin);
            }
        }
        merge
    }
}

impl LockMerge {
    /// Returns the conflicts that are left, in the order of their paths.
    pub fn conflicts(&self) -> &[PinConflict] {
        &self.conflicts
    }

    /// Returns the pins that are settled, in the order of their paths.
    pub fn settled(&self) -> impl Iterator<Item = &Pin> {
        self.settled.values()
    }

    /// Settles the conflict of an output with one side. Returns whether there was one.
    pub fn settle(&mut self, path: &OutputPath, side: Side) -> bool {
        let Some(at) = self.position(path) else { return false };
        let conflict = self.conflicts.remove(at);
        self.take(conflict, side);
        true
    }

    /// Settles all conflicts with one side. Returns how many there were.
    pub fn settle_all(&mut self, side: Side) -> usize {
        let conflicts = std::mem::take(&mut self.conflicts);
        let count = conflicts.len();
        for conflict in conflicts {
            self.take(conflict, side);
        }
        count
    }

    /// Settles an output with a new pin, whether it has a conflict or not.
    pub fn settle_with(&mut self, pin: Pin) {
        if let Some(at) = self.position(&pin.path) {
            self.conflicts.remove(at);
        }
        self.settled.insert(pin.path.as_str().to_owned(), pin);
    }

    /// Removes the pin of an output, whether it has a conflict or not. Returns whether a side or the merge had one.
    pub fn settle_without(&mut self, path: &OutputPath) -> bool {
        let conflict = self.position(path).map(|at| self.conflicts.remove(at));
        self.settled.remove(path.as_str()).is_some() || conflict.is_some()
    }

    /// Returns the merged pins.
    ///
    /// # Errors
    ///
    /// [`Error::Conflicts`]: conflicts are left. [`Error::MergedClash`]: pins of both sides cannot be in one file.
    pub fn finish(&self) -> Result<LarderLock> {
        if !self.conflicts.is_empty() {
            let conflicts = self.conflicts.iter().map(|conflict| conflict.path.to_string()).collect();
            return Err(Error::Conflicts { path: self.path.clone(), conflicts });
        }
        let mut lock = LarderLock::default();
        for pin in self.settled.values() {
            let inserted = lock.insert(pin.clone());
            inserted.map_err(|clash| Error::MergedClash { path: self.path.clone(), clash })?;
        }
        Ok(lock)
    }

    fn position(&self, path: &OutputPath) -> Option<usize> {
        self.conflicts.iter().position(|conflict| conflict.path.as_str() == path.as_str())
    }

    fn take(&mut self, conflict: PinConflict, side: Side) {
        let pin = match side {
            Side::Ours => conflict.ours,
            Side::Theirs => conflict.theirs,
        };
        if let Some(pin) = pin {
            self.settled.insert(pin.path.as_str().to_owned(), pin);
        }
    }
}

#[cfg(test)]
mod tests;
