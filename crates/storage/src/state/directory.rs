//! The directories of larder's own state.

pub(super) use larder_tree::StateDirectory;

/// The name of the directory in the project root.
pub(super) const STATE: &str = StateDirectory::NAME;
/// The path of the directory with the journals of processes.
pub(super) const JOURNALS: [&str; 2] = [STATE, "journal"];
/// The path of the directory with the staging directories.
pub(super) const STAGINGS: [&str; 2] = [STATE, "tmp"];
