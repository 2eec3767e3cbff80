//! The merge of two versions of `larder.lock`, pin by pin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder_hashing::OutputPath;

use crate::emit::{append_pin, header};
use crate::error::{Error, Result};
use crate::larder_lock::LarderLock;
use crate::markers::ConflictSection;
use crate::pin::Pin;

/// A side of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side above the `=======`: the branch that was checked out.
    Ours,
    /// The side below the `=======`: the branch that is merged.
    Theirs,
}

/// A pin that both sides of a merge changed, and differently. `None` means that there is no such pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinConflict {
    /// The output.
    pub path: OutputPath,
    /// The pin of the branch that was checked out.
    pub ours: Option<Pin>,
    /// The pin of the branch that is merged.
    pub theirs: Option<Pin>,
    /// The pin from which both come, if it is known.
    pub base: Option<Pin>,
}

/// The pins of one side of a merge. They may clash with each other, because some may be settled with the other side.
pub(crate) type SidePins = BTreeMap<String, Pin>;

/// The result of a merge: the pins that are settled, and the conflicts that are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockMerge {
    path: PathBuf,
    settled: SidePins,
    conflicts: Vec<PinConflict>,
}

impl LockMerge {
    /// Merges two versions of the file at `path`, with the version that both come from. The path only appears in errors.
    ///
    /// A pin that only one side changed is taken, also if the change is a removal. Without a base, pins that both sides have
    /// alike are taken, and pins that only one side has.
    pub fn new(path: &Path, ours: &LarderLock, theirs: &LarderLock, base: Option<&LarderLock>) -> Self {
        let pins = |lock: &LarderLock| -> SidePins {
            lock.iter().map(|pin| (pin.path.to_string(), pin.clone())).collect()
        };
        Self::of_sides(path, &pins(ours), &pins(theirs), base.map(pins).as_ref())
    }

    pub(crate) fn of_sides(path: &Path, ours: &SidePins, theirs: &SidePins, base: Option<&SidePins>) -> Self {
        let mut merge = Self { path: path.to_owned(), settled: SidePins::new(), conflicts: Vec::new() };
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for name in names {
            let [our, their] = [ours, theirs].map(|side| side.get(name));
            let before = base.map(|base| base.get(name));
            let taken = match before {
                _ if our == their => our,
                Some(before) if our == before => their,
                Some(before) if their == before => our,
                None if our.is_none() => their,
                None if their.is_none() => our,
                before => {
                    merge.conflicts.extend(our.or(their).map(|any| PinConflict {
                        path: any.path.clone(),
                        ours: our.cloned(),
                        theirs: their.cloned(),
                        base: before.flatten().cloned(),
                    }));
                    None
                }
            };
            merge.settled.extend(taken.map(|pin| (name.clone(), pin.clone())));
        }
        merge
    }

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

    /// Removes the pin of an output, whether it has a conflict or not. Returns whether there was one.
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

    /// Returns the text of a file with the settled pins, and a conflict in the style `diff3` around each of the other pins.
    pub(crate) fn to_text(&self) -> String {
        let mut blocks = BTreeMap::new();
        for (name, pin) in &self.settled {
            let mut block = String::from("\n");
            append_pin(&mut block, pin);
            blocks.insert(name.as_str(), block);
        }
        for PinConflict { path, ours, theirs, base } in &self.conflicts {
            let text = |pin: &Option<Pin>| {
                let mut text = String::new();
                if let Some(pin) = pin {
                    append_pin(&mut text, pin);
                }
                text
            };
            let section = ConflictSection { ours: text(ours), base: text(base), theirs: text(theirs) };
            blocks.insert(path.as_str(), format!("\n{section}"));
        }
        header() + &blocks.into_values().collect::<String>()
    }

    fn position(&self, path: &OutputPath) -> Option<usize> {
        self.conflicts.iter().position(|conflict| conflict.path.as_str() == path.as_str())
    }

    fn take(&mut self, conflict: PinConflict, side: Side) {
        let pin = match side {
            Side::Ours => conflict.ours,
            Side::Theirs => conflict.theirs,
        };
        self.settled.extend(pin.map(|pin| (pin.path.as_str().to_owned(), pin)));
    }
}

#[cfg(test)]
mod tests;
