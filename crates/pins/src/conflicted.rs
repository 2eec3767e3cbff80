//! Reads a `larder.lock` with the conflict markers of git.

use std::path::{Path, PathBuf};

use crate::clash::PinClash;
use crate::error::{Error, Result};
use crate::larder_lock::LarderLock;
use crate::markers;
use crate::merge::{LockMerge, SidePins};
use crate::parse::parse_pins;

/// A `larder.lock` with the conflict markers of git.
///
/// Git merges lines, and the lines of pins are alike. So the sides between the markers may have pins that no version has.
/// Where git has the versions before the merge, [`LockContents`] merges those instead.
///
/// [`LockContents`]: crate::LockContents
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictedLock {
    ours: SidePins,
    theirs: SidePins,
    /// The common ancestor, if the markers show it.
    base: Option<SidePins>,
    path: PathBuf,
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
            ours: side_pins(&sides.ours, path)?,
            theirs: side_pins(&sides.theirs, path)?,
            // A base may itself be the result of a merge with conflicts. It is then no base.
            base: sides.base.and_then(|base| side_pins(&base, path).ok()),
            path: path.to_owned(),
        })
    }

    /// Merges both sides, with the version that both come from. Without one, the markers may show it.
    pub fn merge(&self, base: Option<&LarderLock>) -> LockMerge {
        let base = base.map(|base| base.iter().map(|pin| (pin.path.to_string(), pin.clone())).collect());
        LockMerge::of_sides(&self.path, &self.ours, &self.theirs, base.as_ref().or(self.base.as_ref()))
    }
}

fn side_pins(text: &str, path: &Path) -> Result<SidePins> {
    let mut pins = SidePins::new();
    for (line, pin) in parse_pins(text, path)? {
        if let Some(twice) = pins.insert(pin.path.to_string(), pin) {
            let clash = PinClash::Twice { path: twice.path.to_string() };
            return Err(Error::Clash { path: path.to_owned(), line, clash });
        }
    }
    Ok(pins)
}

#[cfg(test)]
mod tests;
