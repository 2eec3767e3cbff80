//! Moves outputs aside while a command makes them anew.
//!
//! If the command succeeds, the previous versions are removed, or kept in `.larder/replaced` if no run made them. If it fails,
//! they come back, and what the command left goes to `.larder/failed`. The journal names the outputs, so that the next command brings them back if this process dies.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_hashing::OutputPath;
use larder_tree::FAILED_PREFIX;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::changes::count_changes;
use super::directory::{FAILED, REPLACED, STATE, StateDirectory};
use super::identity::{identity, lasting_identity};
use super::journal::ProcessJournal;
use super::placement::check_one_mount;
use super::record::{AsideOutput, JournalRecord};
use super::removal::remove;
use super::rename::{exists, move_tree, rename};
use super::staging::Staging;
use super::steps::step;
use crate::error::{Error, Result};

/// Outputs that were moved aside. Dropping it without a decision leaves the decision to the next command, which brings the
/// outputs back.
#[derive(Debug)]
pub(crate) struct OutputsAside {
    root: PathBuf,
    journal: Arc<ProcessJournal>,
    placing: u64,
    outputs: Vec<AsideOutput>,
    /// They hold the previous versions.
    stagings: Vec<Staging>,
    is_decided: bool,
}

/// An output that came back after its command had failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroughtBack {
    /// The output.
    pub output: String,
    /// Where the product of the failed command is kept, if it left one.
    pub failed: Option<PathBuf>,
    /// Whether a previous version is at the output again.
    pub has_previous: bool,
}

impl OutputsAside {
    /// Moves the existing versions of `outputs` aside, and creates the directories above `outputs` and `kept`. If that
    /// fails, everything is as before.
    pub(super) fn begin(
        journal: Arc<ProcessJournal>,
        root: &Path,
        outputs: &[OutputPath],
        kept: &[OutputPath],
    ) -> Result<Self> {
        let mut asides = Vec::new();
        let mut stagings = Vec::new();
        for output in outputs {
            let destination = output.below(root);
            check_one_mount(&destination)?;
            let previous = lasting_identity(&destination).map_err(Error::io("look at", &destination))?;
            let staging = previous
                .is_some()
                .then(|| Staging::create(Arc::clone(&journal), root, &destination))
                .transpose()?;
            let aside = staging.as_ref().map_or_else(PathBuf::new, Staging::backup);
            stagings.extend(staging);
            asides.push(AsideOutput { output: output.as_str().to_owned(), destination, aside, previous });
        }
        let all: Vec<PathBuf> = outputs.iter().chain(kept).map(|output| output.below(root)).collect();
        let aside = Self {
            root: root.to_owned(),
            placing: journal.next_placing(),
            journal,
            outputs: asides,
            stagings,
            is_decided: false,
        };
        match aside.move_away().and_then(|()| create_parents(&all)) {
            Ok(()) => Ok(aside),
            Err(error) => {
                // The first error says why. If the undo fails too, the next command tries it again.
                aside.put_back().ok();
                Err(error)
            }
        }
    }

    fn move_away(&self) -> Result<()> {
        self.journal
            .append(&JournalRecord::Aside { placing: self.placing, outputs: self.outputs.clone() })?;
        self.journal.sync()?;
        count(&self.root, &self.outputs);
        for output in self.outputs.iter().filter(|output| output.previous.is_some()) {
            move_tree(&output.destination, &output.aside)
                .map_err(Error::io("move aside", &output.destination))?;
        }
        Ok(())
    }

    /// Removes the previous versions, because the command has succeeded. Moves those of `kept` to `.larder/replaced`, and
    /// returns where they are.
    ///
    /// # Errors
    ///
    /// A previous version could not be moved. The next command brings it back.
    pub(crate) fn discard(mut self, kept: &[OutputPath]) -> Result<Vec<PathBuf>> {
        let is_kept = |aside: &&AsideOutput| {
            aside.previous.is_some() && kept.iter().any(|output| output.as_str() == aside.output)
        };
        let kept = self
            .outputs
            .iter()
            .filter(is_kept)
            .map(|aside| keep(&self.root, REPLACED, &aside.output, &aside.aside));
        let kept = kept.collect::<Result<_>>()?;
        self.settle();
        Ok(kept)
    }

    /// The same for all previous versions.
    pub(crate) fn keep_replaced(self) -> Result<Vec<PathBuf>> {
        let all: Vec<OutputPath> =
            self.outputs.iter().filter_map(|aside| OutputPath::new(&aside.output).ok()).collect();
        self.discard(&all)
    }

    /// Brings the previous versions back, because the command has failed. Keeps its products in `.larder/failed`.
    ///
    /// # Errors
    ///
    /// An output could not be moved. The next command tries again.
    pub(crate) fn put_back(mut self) -> Result<Vec<BroughtBack>> {
        let back = bring_back(&self.root, &self.outputs)?;
        self.settle();
        Ok(back)
    }

    fn settle(&mut self) {
        // If this fails, the next command finds nothing to bring back, or brings back what is there.
        self.journal.append(&JournalRecord::Settled { placing: self.placing }).ok();
        self.is_decided = true;
        self.stagings.clear();
    }
}

impl Drop for OutputsAside {
    fn drop(&mut self) {
        if !self.is_decided {
            // The stagings are dropped after this, and stay.
            self.journal.leave_unfinished();
        }
    }
}

/// Brings outputs back, also those of a dead process. The command that was making them must have ended.
pub(super) fn bring_back(root: &Path, outputs: &[AsideOutput]) -> Result<Vec<BroughtBack>> {
    count(root, outputs);
    outputs.iter().map(|output| output.bring_back(root)).collect()
}

fn count(root: &Path, outputs: &[AsideOutput]) {
    let changed: Vec<OutputPath> =
        outputs.iter().filter_map(|output| OutputPath::new(&output.output).ok()).collect();
    count_changes(root, &changed);
}

/// Creates the directories above outputs. They stay, also if the command fails: another command may have begun to use them.
fn create_parents(outputs: &[PathBuf]) -> Result<()> {
    for parent in outputs.iter().filter_map(|output| output.parent()) {
        step();
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    Ok(())
}

impl AsideOutput {
    fn bring_back(&self, root: &Path) -> Result<BroughtBack> {
        let found = identity(&self.destination).map_err(Error::io("look at", &self.destination))?;
        let has_aside = self.previous.is_some() && exists(&self.aside);
        let is_previous = found.is_some() && found == self.previous;
        let mut failed = None;
        if found.is_some() && !is_previous && (has_aside || self.previous.is_none()) {
            failed = Some(keep(root, FAILED, &self.output, &self.destination)?);
        }
        if has_aside {
            // If the previous version was moved only in part, this moves the part back.
            move_tree(&self.aside, &self.destination)
                .map_err(Error::io("bring back the previous version of", &self.destination))?;
        }
        Ok(BroughtBack { output: self.output.clone(), failed, has_previous: has_aside || is_previous })
    }
}

/// Moves a version of an output to `.larder/failed/<output>` or `.larder/replaced/<output>`, and replaces an earlier one there.
pub(super) fn keep(root: &Path, place: &str, output: &str, version: &Path) -> Result<PathBuf> {
    let (parent, name) = output.rsplit_once('/').unwrap_or(("", output));
    let names = [STATE, place].into_iter().chain(parent.split('/').filter(|name| !name.is_empty()));
    let directory = kept_directory(root, &names.collect::<Vec<_>>())?;
    let kept = directory.path().join(name);
    match move_over(version, &kept) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            // It stays on its file system, beside the output.
            let beside = OsStr::from_bytes(&[FAILED_PREFIX, name.as_bytes()].concat()).to_owned();
            let beside = root.join(output).with_file_name(beside);
            move_over(version, &beside).map_err(Error::io("move aside", version))?;
            Ok(beside)
        }
        moved => moved.map(|()| kept).map_err(Error::io("move aside", version)),
    }
}

/// Creates a directory below `.larder/failed` or `.larder/replaced`. A file in the place of a directory was kept earlier.
fn kept_directory(root: &Path, names: &[&str]) -> Result<StateDirectory> {
    for len in 3..=names.len() {
        let Some(above) = StateDirectory::open(root, &names[..len - 1])? else { break };
        let name = names[len - 1];
        match rustix::fs::statat(&above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !FileType::from_raw_mode(stat.st_mode).is_dir() => {
                above.remove_file(name).map_err(Error::io("remove", above.path().join(name)))?;
            }
            Ok(_) => {}
            Err(Errno::NOENT) => break,
            Err(error) => return Err(Error::io("look at", above.path().join(name))(error.into())),
        }
    }
    Ok(StateDirectory::create(root, names)?)
}

fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    step();
    remove(to)?;
    rename(from, to)
}

#[cfg(test)]
mod tests;
