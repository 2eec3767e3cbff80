//! Reads the `larder.lock` of a project, and changes it under a lock.

use std::io;
use std::path::{Path, PathBuf};

use larder_tree::{Symlinks, read_project_file};

use crate::conflicted::ConflictedLock;
use crate::error::{Error, Result};
use crate::git::Git;
use crate::larder_lock::LarderLock;
use crate::markers::are_of_larder;
use crate::merge::LockMerge;
use crate::write_lock::ProjectWriteLock;

/// The maximum size of the file, in bytes: about 200,000 pins.
const MAX_FILE: u64 = 64 << 20;

/// What a project has as its `larder.lock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockContents {
    /// Nothing.
    Absent,
    /// Pins.
    Pins(LarderLock),
    /// A file with the conflict markers of git, merged as far as possible.
    Conflicted(LockMerge),
}

impl LockContents {
    /// Reads the `larder.lock` of the project at `root`. For a file with conflict markers of git, it merges the versions
    /// before the merge anew. If git does not have them, or if larder wrote the markers, it merges the sides between them.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is a symlink, or is not a `larder.lock`.
    pub fn read(root: &Path) -> Result<Self> {
        let path = path_of(root);
        let bytes = match read_project_file(&path, MAX_FILE, Symlinks::Refuse) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Absent),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().iter().take(valid);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            Error::Syntax { path: path.clone(), line, problem: "it must be UTF-8 text".to_owned() }
        })?;
        if !ConflictedLock::has_markers(&text) {
            return LarderLock::parse(&text, &path).map(Self::Pins);
        }
        let git = Git::at(root);
        let base = git.unmerged_lock(1);
        // Git merges lines, so the sides between its markers may have pins that no version has.
        if !are_of_larder(&text)
            && let (Some(ours), Some(theirs)) = (git.unmerged_lock(2), git.unmerged_lock(3))
        {
            return Ok(Self::Conflicted(LockMerge::new(&path, &ours, &theirs, base.as_ref())));
        }
        ConflictedLock::parse(&text, &path)
            .map(|conflicted| Self::Conflicted(conflicted.merge(base.as_ref())))
    }

    /// Returns the pins. A merge without conflicts counts as pins, and an absent file has none.
    ///
    /// # Errors
    ///
    /// [`Error::Conflicts`] and [`Error::MergedClash`]: the merge is not finished.
    pub fn into_pins(self) -> Result<LarderLock> {
        match self {
            Self::Absent => Ok(LarderLock::default()),
            Self::Pins(pins) => Ok(pins),
            Self::Conflicted(merge) => merge.finish(),
        }
    }
}

impl LarderLock {
    /// Reads the pins of the project at `root`, as [`LockContents::read`] and [`LockContents::into_pins`] do.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn read(root: &Path) -> Result<Self> {
        LockContents::read(root)?.into_pins()
    }
}

/// A change of a project's `larder.lock`, under a lock that other processes respect.
///
/// ```
/// use larder_hashing::OutputPath;
/// use larder_pins::LockUpdate;
///
/// # let root = tempfile::tempdir()?;
/// # let root = root.path();
/// let mut update = LockUpdate::begin(root)?;
/// let mut pins = update.pins()?;
/// pins.remove(&OutputPath::new("models/en")?);
/// assert!(!update.write(&pins)?, "nothing has changed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LockUpdate {
    lock: ProjectWriteLock,
    found: LockContents,
}

impl LockUpdate {
    /// Waits for the lock of the project at `root`, and reads the file under it.
    ///
    /// # Errors
    ///
    /// Those of [`ProjectWriteLock::acquire`] and of [`LockContents::read`].
    pub fn begin(root: &Path) -> Result<Self> {
        let lock = ProjectWriteLock::acquire(root)?;
        let found = LockContents::read(root)?;
        Ok(Self { lock, found })
    }

    /// Returns what was found under the lock.
    pub fn found(&self) -> &LockContents {
        &self.found
    }

    /// Returns the pins that were found.
    ///
    /// # Errors
    ///
    /// Those of [`LockContents::into_pins`].
    pub fn pins(&self) -> Result<LarderLock> {
        self.found.clone().into_pins()
    }

    /// Returns the lock, for changes of `.gitignore`.
    pub fn write_lock(&self) -> &ProjectWriteLock {
        &self.lock
    }

    /// Replaces the file in one step. Writes nothing, and returns false, if it has these pins already.
    ///
    /// # Errors
    ///
    /// It is a symlink, or cannot be written.
    pub fn write(&mut self, pins: &LarderLock) -> Result<bool> {
        let is_same = match &self.found {
            LockContents::Absent => pins.is_empty(),
            LockContents::Pins(found) => found == pins,
            // The markers must go.
            LockContents::Conflicted(_) => false,
        };
        if is_same {
            return Ok(false);
        }
        self.lock.replace(LarderLock::NAME, pins.to_text().as_bytes())?;
        self.found = LockContents::Pins(pins.clone());
        Ok(true)
    }

    /// Replaces the file with the result of a merge, in one step. The conflicts that are left get markers around their pins,
    /// and a later call can settle them.
    ///
    /// # Errors
    ///
    /// Those of [`LockMerge::finish`] except for conflicts, and those of [`Self::write`].
    pub fn write_merge(&mut self, merge: &LockMerge) -> Result<()> {
        if merge.conflicts().is_empty() {
            self.write(&merge.finish()?)?;
            return Ok(());
        }
        self.lock.replace(LarderLock::NAME, merge.to_text().as_bytes())?;
        self.found = LockContents::Conflicted(merge.clone());
        Ok(())
    }
}

fn path_of(root: &Path) -> PathBuf {
    root.join(LarderLock::NAME)
}

#[cfg(test)]
mod tests;
