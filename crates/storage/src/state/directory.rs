//! The directories of larder's own state.

pub(super) use larder_tree::StateDirectory;

/// The name of the directory in the project root.
pub(super) const STATE: &str = StateDirectory::NAME;
/// The path of the directory with the journals of processes.
pub(super) const JOURNALS: [&str; 2] = [STATE, "journal"];
/// The path of the directory with the locks of outputs.
pub(super) const LOCKS: [&str; 2] = [STATE, "locks"];
/// The name of the directory with the products of failed commands.
pub(super) const FAILED: &str = "failed";
/// The name of the directory with previous versions that no run made.
pub(super) const REPLACED: &str = "replaced";
/// The path of the directory with the runs of commands.
pub(super) const RUNS: [&str; 2] = [STATE, "runs"];
/// The path of the directory with the notes of processes that wait for an output.
pub(super) const WAITING: [&str; 2] = [STATE, "waiting"];
/// The path of the directory with the staging directories.
pub(super) const STAGINGS: [&str; 2] = [STATE, "tmp"];
