//! What is to be restored, and where.

use std::path::PathBuf;

use larder_hashing::OutputPath;

/// An output, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) output: OutputPath,
    pub(crate) destination: PathBuf,
}
