//! An output to be restored.

use std::path::PathBuf;
use std::sync::Arc;

use larder_hashing::OutputPath;

use crate::state::ProjectState;

/// An output to be restored, and its destination.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) output: OutputPath,
    pub(crate) destination: PathBuf,
    /// Where the object is unpacked, and what is noted for the recovery.
    pub(crate) state: Arc<ProjectState>,
    /// Whether the output becomes executable if it is a file. `None`: as it is in the object.
    pub(crate) executable: Option<bool>,
}

impl Wanted {
    /// Creates the wish for an output as it is in an object.
    pub(crate) fn new(output: &OutputPath, destination: PathBuf, state: &Arc<ProjectState>) -> Self {
        Self { output: output.clone(), destination, state: Arc::clone(state), executable: None }
    }
}
