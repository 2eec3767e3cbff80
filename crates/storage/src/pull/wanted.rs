//! An output to be restored.

use std::path::PathBuf;

use larder_hashing::OutputPath;

/// An output to be restored, and its destination.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) output: OutputPath,
    pub(crate) destination: PathBuf,
}
