//! An output to be restored.

use std::path::PathBuf;

use larder_hashing::OutputPath;

/// An output to be restored, and its destination.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) output: OutputPath,
    pub(crate) destination: PathBuf,
    /// Whether the output becomes executable if it is a file. `None`: as it is in the object.
    pub(crate) executable: Option<bool>,
}

impl Wanted {
    /// Creates the wish for an output as it is in an object.
    pub(crate) fn new(output: &OutputPath, destination: PathBuf) -> Self {
        Self { output: output.clone(), destination, executable: None }
    }
}
